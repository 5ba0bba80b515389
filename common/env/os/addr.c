/* addr.c: host names and numeric addresses of both families. */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

bool os_addr_numeric(const char *host, uint16_t port, struct os_addr *ret_a)
{
	struct os_addr a;

	memset(&a, 0, sizeof(a));
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons(port);
		a.len = sizeof(a.in);
	} else if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
		a.len = sizeof(a.in6);
	} else {
		return false;
	}
	*ret_a = a;
	return true;
}

size_t os_addr_resolve(const char *host, uint16_t port, struct os_addr *ret_as, size_t max)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
	char service[8];
	size_t count = 0;

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return 0;
	for (struct addrinfo *ai = list; ai && count < max; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(ret_as->any))
			continue;
		memset(&ret_as[count], 0, sizeof(ret_as[count]));
		memcpy(&ret_as[count].any, ai->ai_addr, ai->ai_addrlen);
		ret_as[count++].len = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return count;
}

void os_addr_text(const struct os_addr *a, char *out, size_t out_bytes, uint16_t *ret_port)
{
	out[0] = '\0';
	*ret_port = 0;
	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, out, (socklen_t)out_bytes);
		*ret_port = ntohs(a->in.sin_port);
	} else if (a->sa.sa_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
			inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], out, (socklen_t)out_bytes);
		else
			inet_ntop(AF_INET6, &a->in6.sin6_addr, out, (socklen_t)out_bytes);
		*ret_port = ntohs(a->in6.sin6_port);
	}
}

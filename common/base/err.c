/* err.c: texts of the error codes, and errno to code. Pure tables; any thread. */
#include "common/base/err.h"

#include <errno.h>

const char *err_str(int err)
{
	switch ((enum err)err) {
	case ERR_OK: return "ok";
	case ERR_INVAL: return "invalid argument";
	case ERR_CORRUPT: return "corrupt data";
	case ERR_IO: return "input/output error";
	case ERR_NOSPACE: return "no space left";
	case ERR_NOENT: return "no such entry";
	case ERR_EXIST: return "already exists";
	case ERR_CLOSED: return "closed";
	case ERR_TIMEOUT: return "timed out";
	case ERR_LIMIT: return "limit exceeded";
	case ERR_REFUSED: return "connection refused";
	case ERR_RESET: return "connection reset";
	case ERR_AGAIN: return "not now";
	case ERR_BADVERSION: return "version changed";
	case ERR_NOTEMPTY: return "not empty";
	case ERR_UNKNOWN: return "outcome unknown";
	case ERR_EXPIRED: return "session expired";
	case ERR_STALE: return "stale epoch";
	case ERR_UNSUPPORTED: return "not supported";
	case ERR_CANCELLED: return "cancelled";
	case ERR_UNREACHABLE: return "unreachable";
	case ERR_LOCKED: return "locked by another process";
	case ERR_RANGE: return "out of range";
	case ERR_ABORTED: return "aborted with its group";
	}
	return "unknown error";
}

int err_from_errno(int e)
{
	switch (e) {
	case 0: return ERR_OK;
	case EINVAL:
	case ENAMETOOLONG:
	case EISDIR:
	case ENOTDIR:
	case ELOOP: return ERR_INVAL;
	case ENOSPC:
	case EDQUOT: return ERR_NOSPACE;
	case ENOENT: return ERR_NOENT;
	case EEXIST:
	case EADDRINUSE: return ERR_EXIST;
	case EPIPE:
	case ECONNRESET:
	case ECONNABORTED: return ERR_RESET;
	case ECONNREFUSED: return ERR_REFUSED;
	case ETIMEDOUT: return ERR_TIMEOUT;
	case EAGAIN:
	case EINTR:
	case EINPROGRESS: return ERR_AGAIN;
	case ENOTEMPTY: return ERR_NOTEMPTY;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL: return ERR_UNREACHABLE;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EFBIG: return ERR_LIMIT;
	case ENOSYS:
	case EOPNOTSUPP: return ERR_UNSUPPORTED;
	case ECANCELED: return ERR_CANCELLED;
	default: return ERR_IO;
	}
}

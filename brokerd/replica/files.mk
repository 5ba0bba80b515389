# brokerd/replica, brokerd/fetch: partition replicas, their loops' shards, follower fetchers, fetch sessions
noinst_LIBRARIES += libkreplica.a
libkreplica_a_SOURCES = \
	brokerd/fetch/answer.c \
	brokerd/fetch/fetch.h brokerd/fetch/fetch_priv.h \
	brokerd/fetch/home.c \
	brokerd/fetch/convert.c \
	brokerd/fetch/part.c \
	brokerd/replica/delete.c \
	brokerd/replica/describe.c \
	brokerd/replica/fetcher.c brokerd/replica/fetcher.h brokerd/replica/fetcher_priv.h \
	brokerd/replica/follow.c \
	brokerd/replica/offsets.c \
	brokerd/replica/partition.c brokerd/replica/partition.h \
	brokerd/replica/peer.c brokerd/replica/peer.h \
	brokerd/replica/produce.c \
	brokerd/replica/replica.c brokerd/replica/replica.h \
	brokerd/replica/shard.c brokerd/replica/shard.h brokerd/replica/shard_priv.h \
	brokerd/replica/shard_apply.c \
	brokerd/replica/starts.c

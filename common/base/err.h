/* err.h: the expected failures of Klamm, as negative codes.
 *
 * Errors are of three kinds (docs/ARCHITECTURE.md, "Errors"):
 *   a bug                        -> ASSERT (base/check.h), kept on in release builds
 *   an environment that we cannot go on in -> env_fatal (env/env.h)
 *   something expected           -> one of these codes, returned
 * Functions return 0 or one of these; outputs are named ret_x and are written only on success.
 * Codes become Kafka error codes in one function per API family, never here.
 */
#pragma once

enum err {
	ERR_OK = 0,
	ERR_INVAL = -1,     /* an argument or a text that makes no sense */
	ERR_CORRUPT = -2,   /* bytes that do not check out (CRC, structure, truncation) */
	ERR_IO = -3,        /* the disk said no (EIO and everything without a code of its own) */
	ERR_NOSPACE = -4,   /* disk full or below its reserve */
	ERR_NOENT = -5,     /* no such file, node, topic, ... */
	ERR_EXIST = -6,     /* already there */
	ERR_CLOSED = -7,    /* the peer or the object is gone in good order */
	ERR_TIMEOUT = -8,   /* no answer in time */
	ERR_LIMIT = -9,     /* larger than a bound of ours */
	ERR_REFUSED = -10,  /* connection refused: a live kernel says that nobody listens */
	ERR_RESET = -11,    /* connection broken */
	ERR_AGAIN = -12,    /* not now */
	ERR_BADVERSION = -13, /* conditional write lost (ZooKeeper BADVERSION) */
	ERR_NOTEMPTY = -14, /* node or directory has children */
	ERR_UNKNOWN = -15,  /* outcome unknown: it may have happened (lost reply) */
	ERR_EXPIRED = -16,  /* ZooKeeper session expired */
	ERR_STALE = -17,    /* epoch too old: deposed, fenced */
	ERR_UNSUPPORTED = -18, /* not built, or not in this version */
	ERR_CANCELLED = -19, /* taken back before it was done */
	ERR_UNREACHABLE = -20, /* host or network unreachable, name not resolved */
	ERR_LOCKED = -21,   /* lock held by someone else */
	ERR_RANGE = -22,    /* offset or position outside of what there is */
	ERR_ABORTED = -23,  /* op of a multi not executed because another one failed */
};

/* A short lower-case text for logs, e.g. "no such entry". Never NULL. */
const char *err_str(int err);

/* errno -> enum err. */
int err_from_errno(int e);

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* log_err.h: why the log refuses a batch or a read. Continues enum err; the API layer maps these to Kafka error codes. */
#pragma once

#include "common/base/err.h"

enum log_err {
	LOG_ERR_TOO_LARGE = -101,          /* batch over max.message.bytes */
	LOG_ERR_OVER_SEGMENT = -102,       /* batch over segment.bytes */
	LOG_ERR_BAD_CRC = -103,
	LOG_ERR_INVALID_RECORD = -104,     /* structure or content that Kafka refuses with INVALID_RECORD */
	LOG_ERR_BAD_TIMESTAMP = -105,
	LOG_ERR_BAD_MAGIC = -106,          /* magic 0/1 (not served yet) or unknown */
	LOG_ERR_BAD_CODEC = -107,          /* codec unknown, or not allowed for this request version */
	LOG_ERR_OUT_OF_ORDER_SEQUENCE = -108,
	LOG_ERR_STALE_PRODUCER_EPOCH = -109,
	LOG_ERR_TXN_STATE = -110,
	LOG_ERR_COORDINATOR_FENCED = -111,
	LOG_ERR_OFFSET_OUT_OF_RANGE = -112,
	LOG_ERR_OFFLINE = -113,            /* the log directory failed */
	LOG_ERR_OLD_FORMAT = -114,         /* stored record format that is not served yet */
	LOG_ERR_NOT_CONTIGUOUS = -115,     /* replica append that does not start at the end of the log */
};

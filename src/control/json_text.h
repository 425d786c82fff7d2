/* control/json_text.h: values of mail as JSON: octets that may be anything, times, addresses. */
#ifndef CONTROL_JSON_TEXT_H
#define CONTROL_JSON_TEXT_H

#include <jansson.h>

#include "barid/types.h"

/* A string; what is not UTF-8 becomes U+FFFD, as JSON knows no octets. New reference; NULL = no memory. */
json_t *json_text(barid_slice s);
/* "2026-11-20T11:21:39.123456Z"; null for INT64_MAX (never). */
json_t *json_time(int64_t wall_us);

#endif

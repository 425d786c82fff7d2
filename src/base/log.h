/*
 * base/log.h: structured log records handed to a sink. Who writes them (stderr, JSON lines)
 * is the daemon's business; libraries only hold a struct log pointer. NULL log = silent.
 *
 *   log_record(log, LOG_LEVEL_WARN, "spool", "segment set aside",
 *              LOG_STR("file", name), LOG_INT("offset", off));
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "barid/types.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
    const char *key; /* NULL ends the array */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL, LOG_FIELD_NUM } type;
    barid_slice str; /* any bytes: the sink escapes control characters */
    int64_t num;
    double real;
};

struct log {
    /* Called from any thread; must not block for long. fields is never NULL. */
    void (*write)(void *user, enum log_level level, const char *area, const char *what,
                  const struct log_field *fields);
    void *user;
    enum log_level level; /* records above it are not made */
};

static inline bool log_wants(const struct log *log, enum log_level level)
{
    /* The sink's owner may change the level while workers log. */
    return log != NULL && level <= __atomic_load_n(&log->level, __ATOMIC_RELAXED);
}

/* fields: array ended by a NULL key, or NULL. */
void log_write(const struct log *log, enum log_level level, const char *area, const char *what,
               const struct log_field *fields);

#define LOG_STR(k, s)   {.key = (k), .type = LOG_FIELD_STR, .str = (s)}
#define LOG_CSTR(k, s)  {.key = (k), .type = LOG_FIELD_STR, .str = slice_str(s)}
#define LOG_INT(k, v)   {.key = (k), .type = LOG_FIELD_INT, .num = (int64_t)(v)}
#define LOG_BOOL(k, v)  {.key = (k), .type = LOG_FIELD_BOOL, .num = (v)}
#define LOG_NUM(k, v)   {.key = (k), .type = LOG_FIELD_NUM, .real = (v)}

/* log_record(log, level, area, what, LOG_STR(...), ...): fields are evaluated only when wanted.
 * At least one field; without any call log_write with NULL. */
#define log_record(log, level, area, what, ...)                                            \
    do {                                                                                   \
        if (log_wants(log, level))                                                         \
            log_write(log, level, area, what,                                              \
                      (const struct log_field[]){__VA_ARGS__, {.key = NULL}});             \
    } while (0)

#endif

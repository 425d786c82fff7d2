/* base/log.c: hands a record to the sink, if there is one and it wants the level. */
#include "base/log.h"

static const struct log_field no_fields[] = {{.key = NULL}};

void log_write(const struct log *log, enum log_level level, const char *area, const char *what,
               const struct log_field *fields)
{
    if (!log_wants(log, level))
        return;
    /* A sink never sees NULL: it walks to the end mark without asking. */
    log->write(log->user, level, area, what, fields != NULL ? fields : no_fields);
}

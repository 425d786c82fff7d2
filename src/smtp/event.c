/* smtp/event.c: the rows of events.def as tables, and the names around events. */
#include "barid/event.h"

#include "base/slice.h"
#include "barid/verdict.h"
#include "smtp/event_row.h"

struct event_row {
    barid_event_info info;
    enum barid_reply_id refusal;
};

static const struct event_row rows[BARID_EVENTS] = {
#define X(NAME, name, KIND, SCOPE, VERDICTS, REPLY, DOC)                                       \
    [BARID_EVENT_##NAME] = {{#name, BARID_KIND_##KIND, BARID_SCOPE_##SCOPE, VERDICTS, DOC},    \
                            BARID_REPLY_##REPLY},
#include "barid/events.def"
};

const barid_event_info *barid_event_info_get(enum barid_event_id id)
{
    return id > BARID_EVENT_NONE && id < BARID_EVENTS ? &rows[id].info : NULL;
}

enum barid_event_id barid_event_by_name(barid_slice name)
{
    for (unsigned id = BARID_EVENT_NONE + 1; id < BARID_EVENTS; id++) {
        if (slice_eq(slice_str(rows[id].info.name), name))
            return (enum barid_event_id)id;
    }
    return BARID_EVENT_NONE;
}

enum barid_reply_id event_refusal_row(enum barid_event_id id)
{
    return rows[id].refusal;
}

const char *barid_auth_mechanism_name(enum barid_auth_mechanism mechanism)
{
    static const char *const names[] = {
        [BARID_AUTH_NONE] = "",
        [BARID_AUTH_PLAIN] = "PLAIN",
        [BARID_AUTH_LOGIN] = "LOGIN",
        [BARID_AUTH_CRAM_MD5] = "CRAM-MD5",
        [BARID_AUTH_SCRAM_SHA_1] = "SCRAM-SHA-1",
        [BARID_AUTH_SCRAM_SHA_256] = "SCRAM-SHA-256",
    };

    return (size_t)mechanism < sizeof(names) / sizeof(names[0]) ? names[mechanism] : "";
}

const char *barid_close_reason_name(enum barid_close_reason reason)
{
    static const char *const names[] = {
        [BARID_CLOSE_NONE] = "none",         [BARID_CLOSE_QUIT] = "quit",
        [BARID_CLOSE_PEER] = "peer",         [BARID_CLOSE_TIMEOUT] = "timeout",
        [BARID_CLOSE_ERRORS] = "errors",     [BARID_CLOSE_POLICY] = "policy",
        [BARID_CLOSE_TLS] = "tls",           [BARID_CLOSE_PROXY] = "proxy",
        [BARID_CLOSE_SHUTDOWN] = "shutdown", [BARID_CLOSE_NOMEM] = "nomem",
    };

    return (size_t)reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "?";
}

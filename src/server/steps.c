/*
 * server/steps.c: the table of steps, and those that need nothing but the policy's answer.
 */
#include "server/steps.h"

#include <string.h>

#include "server/ask.h"

static void answer(struct connection *c, const barid_verdict *verdict)
{
    connection_answer(c, verdict);
}

static void step_plain(struct connection *c, const barid_event *ev)
{
    ask(c, ev->id, ev, NULL, answer);
}

/* The real client is known only now where a PROXY header told it: the per-client count moves
 * there. */
static enum admission_result recount(struct connection *c, const barid_endpoint *client)
{
    struct admission *a = c->server->o.admission;
    size_t max = connection_client_limit(c, client);
    enum admission_result r = admission_enter(a, client, 0, max);
    if (r != ADMISSION_OK)
        return r;
    admission_leave(a, &c->facts.client, c->counted_per_client);
    c->facts.client = *client;
    c->counted_per_client = max > 0;
    return ADMISSION_OK;
}

static bool same_client(const barid_endpoint *a, const barid_endpoint *b)
{
    return a->family == b->family && memcmp(a->addr, b->addr, sizeof a->addr) == 0;
}

static void step_connect(struct connection *c, const barid_event *ev)
{
    const barid_endpoint *client = barid_session_peer(c->driver.session),
                         *dest = barid_session_proxy_dest(c->driver.session);
    if (!same_client(client, &c->facts.client) && recount(c, client) != ADMISSION_OK) {
        server_count(&c->server->count.refused, 1);
        barid_verdict v = {
            .kind = BARID_TEMPFAIL,
            .code = 421,
            .enhanced = BARID_S("4.7.0"),
            .text = BARID_S("too many connections from your address, try again later")};
        connection_answer(c, &v);
        return;
    }
    c->facts.client.port = client->port;
    if (dest->family != BARID_FAMILY_NONE)
        c->facts.local = *dest;
    c->facts.trusted = network_contains(&c->version->config->trusted, &c->facts.client);
    ask(c, ev->id, ev, NULL, answer);
}

static void after_disconnect(struct connection *c, const barid_verdict *verdict)
{
    (void)verdict; /* observed: nothing to answer */
    connection_settle(c);
}

static void step_disconnect(struct connection *c, const barid_event *ev)
{
    c->reason = ev->reason;
    ask(c, ev->id, ev, NULL, after_disconnect);
}

typedef void (*step)(struct connection *c, const barid_event *ev);

static const step steps[BARID_EVENTS] = {
    [BARID_EVENT_CONNECT] = step_connect,     [BARID_EVENT_TLS] = step_plain,
    [BARID_EVENT_HELO] = step_plain,          [BARID_EVENT_AUTH] = server_step_auth,
    [BARID_EVENT_MAIL] = server_step_mail,           [BARID_EVENT_RCPT] = server_step_rcpt,
    [BARID_EVENT_DATA] = server_step_data,           [BARID_EVENT_HEADERS] = server_step_headers,
    [BARID_EVENT_BODY] = server_step_body,           [BARID_EVENT_MESSAGE] = server_step_message,
    [BARID_EVENT_RECIPIENT] = server_step_recipient, [BARID_EVENT_COMMIT] = server_step_commit,
    [BARID_EVENT_NOOP] = step_plain,          [BARID_EVENT_RSET] = step_plain,
    [BARID_EVENT_VRFY] = step_plain,          [BARID_EVENT_EXPN] = step_plain,
    [BARID_EVENT_HELP] = step_plain,          [BARID_EVENT_QUIT] = step_plain,
    [BARID_EVENT_UNKNOWN] = step_plain,       [BARID_EVENT_DISCONNECT] = step_disconnect,
};

void steps_run(struct connection *c, const barid_event *ev)
{
    steps[ev->id](c, ev);
}

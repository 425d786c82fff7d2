/*
 * server/ask.c: the bridge from session events to policy calls.
 */
#include "server/ask.h"

#include "base/mem.h"
#include "server/server_int.h"
#include "server/transaction.h"

struct ask {
    struct policy_call call;
    struct policy_credentials credentials;
    struct connection *c;
    ask_then then;
};

static struct ask *take(struct server *s)
{
    struct ask *a = s->spare_ask;

    s->spare_ask = NULL;
    if (!a)
        return mem_alloc(NULL, sizeof *a);
    return a;
}

static void drop(struct server *s, struct ask *a)
{
    if (a->call.event == BARID_EVENT_AUTH) /* it named a password */
        mem_wipe(&a->credentials, sizeof a->credentials);
    if (s->spare_ask)
        mem_free(NULL, a);
    else
        s->spare_ask = a;
}

void ask_forget_spare(struct server *s)
{
    mem_free(NULL, s->spare_ask);
    s->spare_ask = NULL;
}

static void finish(struct ask *a)
{
    struct connection *c = a->c;
    ask_then then = a->then;
    barid_verdict verdict =
        a->call.verdict; /* its slices live until the session's next question */
    c->ask = NULL;
    drop(c->server, a);
    then(c, &verdict);
}

static void on_done(struct policy_call *call)
{
    finish(call->user);
}

static void fill(struct ask *a, const barid_event *ev)
{
    if (!ev)
        return;
    a->call.verb = ev->verb;
    a->call.argument = ev->argument;
    a->call.data = ev->data;
    a->call.reason = ev->reason;
    if (ev->id == BARID_EVENT_AUTH) {
        a->credentials = (struct policy_credentials){.mechanism = ev->mechanism,
                                                     .authcid = ev->authcid,
                                                     .authzid = ev->authzid,
                                                     .password = ev->password};
        a->call.credentials = &a->credentials;
    }
}

/* AUTH, STARTTLS and XCLIENT end a transaction or are refused in one, and so does HELO, of which
 * a refusal is looked at apart (facts_stale): from MAIL on, where server_step_mail looks, the
 * facts stay. */
static bool may_have_news(enum barid_event_id event)
{
    return barid_event_info_get(event)->scope == BARID_SCOPE_SESSION;
}

static struct ask *make(struct connection *c, enum barid_event_id event)
{
    if (may_have_news(event) && connection_refresh_facts(c) < 0)
        return NULL;
    if (!c->policy && !(c->policy = policy_session_new(c->version->policy, &c->facts)))
        return NULL;
    struct ask *a = take(c->server);
    if (a)
        *a = (struct ask){.c = c};
    return a;
}

void ask(struct connection *c, enum barid_event_id event, const barid_event *ev,
         struct rcpt *rcpt, ask_then then)
{
    if (!(policy_events(c->version->policy) & BARID_EVENT_BIT(event))) {
        barid_verdict none = {.kind = BARID_CONTINUE};
        then(c, &none);
        return;
    }
    struct ask *a = make(c, event);
    if (!a) {
        barid_verdict failed = connection_verdict(c, BARID_REPLY_POLICY_FAILED);
        then(c, &failed);
        return;
    }
    fill(a, ev);
    a->then = then;
    a->call.event = event;
    a->call.session = c->policy;
    /* When a transaction that is over goes away depends on how the client pipelines: what a
     * hook of the session sees may not. */
    if (c->tx && barid_event_info_get(event)->scope != BARID_SCOPE_SESSION)
        a->call.mail = &c->tx->mail;
    a->call.rcpt = rcpt;
    a->call.done = on_done;
    a->call.user = a;
    c->ask = a;
    if (policy_ask(c->version->policy, &a->call) == POLICY_ANSWERED)
        finish(a);
}

void ask_cancel(struct connection *c)
{
    if (!c->ask)
        return;
    policy_cancel(c->version->policy, &c->ask->call);
    drop(c->server, c->ask);
    c->ask = NULL;
}

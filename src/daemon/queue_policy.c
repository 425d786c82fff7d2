/*
 * daemon/queue_policy.c: see queue_policy.h.
 *
 * The last reference may be dropped from within an answer of the DNS client that goes with it,
 * so what the policy stands on is freed at the end of the turn. When the daemon stops there
 * are no turns any more, and no answers either: then at once.
 */
#include "daemon/queue_policy.h"

#include "base/mem.h"
#include "io/dns.h"
#include "policy/dispatch.h"
#include "policy/policy_lua.h"

struct queue_policy {
    struct daemon *d;
    struct generation *v;
    struct dns *dns;
    struct loop_task task;
};

static void queue_policy_free(struct queue_policy *q)
{
    dns_del(&q->dns);
    generation_unref(&q->v);
    mem_free(NULL, q);
}

static void run_free(struct loop_task *task)
{
    queue_policy_free(LIST_ENTRY(task, struct queue_policy, task));
}

static void on_release(void *user)
{
    struct queue_policy *q = user;

    if (q->d->stopping) {
        queue_policy_free(q);
        return;
    }
    q->task.run = run_free;
    loop_defer(q->d->loop, &q->task);
}

int queue_policy_new(struct policy **p_r, struct daemon *d, struct generation *v,
                     struct err *err)
{
    const struct config *c = v->config;
    struct queue_policy *q = xalloc(sizeof(*q));
    struct dns_options dns = {
        .servers = c->dns_servers, .n_servers = c->n_dns_servers, .trust_ad = c->dns_trust_ad};
    int rc = dns_new(&q->dns, d->loop, &dns, err);

    q->d = d;
    q->v = generation_ref(v);
    if (rc == 0) {
        struct policy_services ps = {.loop = d->loop,
                                     .dns = q->dns,
                                     .pool = d->deliveries,
                                     .shared = d->shared,
                                     .log = d->log,
                                     .config = c};
        rc = policy_lua_new(p_r, &ps, c->text, v->number, err);
    }
    if (rc < 0)
        queue_policy_free(q);
    else
        policy_on_release(*p_r, on_release, q);
    return rc;
}

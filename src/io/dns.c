/*
 * io/dns.c: queries. c-ares carries the octets (retries, servers, TCP after truncation,
 * matching of answers to questions); what they say is read by dns_wire.c.
 *
 * A query is ASKED (c-ares holds it), then FINISHED (its answer waits for the end of the turn),
 * then delivered and freed. Delivery is always deferred: done is never called from within
 * dns_ask or from within c-ares, so it may do anything. A cancelled query loses its done and is
 * freed when c-ares lets it go.
 *
 * Names are sent as given, without mixed case (DNS 0x20): the configured servers are meant to
 * be near, and small ones exist that do not echo the case.
 */
#include "io/dns_int.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "io/endpoint.h"

#define DNS_TIMEOUT_MS  3000
#define DNS_TRIES       2
#define DNS_MAX_QUERIES 1000

struct dns_query {
    struct dns *dns;
    struct list node; /* in finished; alone while asked */
    struct dns_channel *channel;
    struct dns_question q;
    unsigned hops;      /* CNAMEs followed over all answers so far */
    bool authenticated; /* every answer so far was */
    void (*done)(void *user, const struct dns_answer *answer); /* NULL = cancelled */
    void *user;
    enum dns_status status;
    struct dns_record *records;
    size_t n;
    uint32_t negative_ttl;
};

struct dns {
    struct loop *loop;
    struct dns_config config;
    struct dns_channel *channels[DNS_CHANNELS]; /* made when first needed */
    struct list retired;                        /* channels that wait for their last answer */
    struct list finished;
    struct list batch;     /* of finished, being delivered */
    struct loop_task task; /* delivers finished */
    bool task_queued;
    bool deleted, closed; /* deleted by the owner; the tick is closed */
    bool delivering;
    bool trust_ad;
    size_t outstanding, max_queries;
    uv_timer_t tick; /* runs while queries are asked; c-ares goes by the real clock */
};

const char *dns_status_name(enum dns_status status)
{
    static const char *const names[] = {"ok",       "nodata",     "nxdomain",
                                        "servfail", "timeout",    "refused",
                                        "bad name", "bad answer", "cancelled"};

    return (size_t)status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}

static enum dns_status status_of_ares(int status)
{
    switch (status) {
    case ARES_ETIMEOUT:
        return DNS_TIMEOUT;
    case ARES_EREFUSED:
        return DNS_REFUSED;
    case ARES_EBADRESP:
        return DNS_BAD_ANSWER;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return DNS_CANCELLED;
    default: /* no server reachable, out of memory, SERVFAIL of all */
        return DNS_SERVFAIL;
    }
}

static void query_free(struct dns_query *q)
{
    mem_free(NULL, q->records);
    mem_free(NULL, q);
}

/* The memory goes when nothing of the loop can come back to it. */
static void free_if_over(struct dns *dns)
{
    if (dns->closed && !dns->task_queued && !dns->delivering)
        mem_free(NULL, dns);
}

static void deliver(struct dns *dns)
{
    while (!list_empty(&dns->finished)) { /* what done finishes waits for the next turn */
        struct list *node = dns->finished.next;

        list_remove(node);
        list_append(&dns->batch, node);
    }
    while (!list_empty(&dns->batch)) {
        struct dns_query *q = LIST_ENTRY(dns->batch.next, struct dns_query, node);
        struct dns_answer answer = {q->status, q->authenticated && q->status != DNS_CANCELLED,
                                    q->records, q->n, q->negative_ttl};

        list_remove(&q->node);
        dns->outstanding--;
        if (q->done != NULL)
            q->done(q->user, &answer);
        query_free(q);
    }
}

/* Channels that were replaced go once their last answer came. */
static void sweep(struct dns *dns)
{
    LIST_EACH_SAFE(it, next, &dns->retired)
    {
        struct dns_channel *c = LIST_ENTRY(it, struct dns_channel, node);

        if (c->outstanding == 0)
            dns_channel_del(&c);
    }
    if (dns->outstanding == 0)
        uv_timer_stop(&dns->tick);
}

static void on_task(struct loop_task *task)
{
    struct dns *dns = LIST_ENTRY(task, struct dns, task);

    dns->task_queued = false;
    dns->delivering = true;
    deliver(dns);
    dns->delivering = false;
    if (!dns->deleted)
        sweep(dns);
    free_if_over(dns);
}

/* The answer, or that there is none, is known. */
static void finish(struct dns_query *q, enum dns_status status)
{
    struct dns *dns = q->dns;

    q->status = status;
    list_append(&dns->finished, &q->node);
    if (!dns->task_queued && !dns->deleted) {
        dns->task_queued = true;
        dns->task.run = on_task;
        loop_defer(dns->loop, &dns->task);
    }
}

/* A channel to ask over, chosen by random; or NULL. */
static struct dns_channel *pick(struct dns *dns, uint64_t random)
{
    struct dns_channel **slot = &dns->channels[random % DNS_CHANNELS];
    struct dns_channel *fresh;
    int status;

    if (*slot != NULL && (*slot)->asked < DNS_CHANNEL_QUERIES)
        return *slot;
    fresh = dns_channel_new(dns->loop, &dns->config, &status);
    if (fresh == NULL)
        return *slot; /* the old one is better than none */
    if (*slot != NULL)
        list_append(&dns->retired, &(*slot)->node);
    *slot = fresh;
    return fresh;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int n);

static void on_tick(uv_timer_t *tick)
{
    struct dns *dns = tick->data;

    for (size_t i = 0; i < DNS_CHANNELS; i++)
        if (dns->channels[i] != NULL)
            dns_channel_tick(dns->channels[i]);
    LIST_EACH(it, &dns->retired)
    dns_channel_tick(LIST_ENTRY(it, struct dns_channel, node));
}

/* on_answer may come at once, when nothing can be sent: finish() defers. */
static void ask(struct dns_query *q)
{
    struct dns *dns = q->dns;
    uint64_t random = rng_u64(&rng_system); /* 16 bits for the id, others for the channel: one system call */
    struct dns_channel *c = pick(dns, random >> 16);
    uint8_t msg[DNS_QUERY_MAX];
    uint64_t every = (uint64_t)dns->config.timeout_ms / 4;
    size_t n;

    if (c == NULL) {
        finish(q, DNS_SERVFAIL);
        return;
    }
    q->channel = c;
    q->q.id = (uint16_t)random;
    n = dns_query_make(&q->q, msg);
    c->asked++;
    c->outstanding++;
    if (!uv_is_active((uv_handle_t *)&dns->tick))
        uv_timer_start(&dns->tick, on_tick,
                       every < 5     ? 5
                       : every > 250 ? 250
                                     : every,
                       every < 5     ? 5
                       : every > 250 ? 250
                                     : every);
    ares_send(c->ares, msg, (int)n, on_answer, q);
}

static void on_reply(struct dns_query *q, const struct dns_reply *reply)
{
    q->authenticated = q->authenticated && reply->ad && q->dns->trust_ad;
    q->hops += reply->hops;
    q->records = reply->records;
    q->n = reply->n;
    q->negative_ttl = reply->negative_ttl;
    if (reply->rcode == 1 && q->q.edns) { /* FORMERR: a server from before EDNS (RFC 6891 7) */
        q->q.edns = false;
        ask(q);
    } else if (reply->incomplete && q->hops <= DNS_CNAME_MAX) {
        q->q.name = reply->target;
        ask(q);
    } else {
        finish(q, q->hops > DNS_CNAME_MAX ? DNS_BAD_ANSWER : reply->status);
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int n)
{
    struct dns_query *q = arg;
    struct dns_reply reply;

    (void)timeouts;
    q->channel->outstanding--;
    /* Its sockets may lead nowhere any more, as when an address of this host is another now: the next question gets new ones. */
    if (status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED)
        q->channel->asked = DNS_CHANNEL_QUERIES;
    if (q->done == NULL || q->dns->deleted)
        finish(q, DNS_CANCELLED);
    else if (status != ARES_SUCCESS)
        finish(q, status_of_ares(status));
    else if (dns_reply_read(msg, n > 0 ? (size_t)n : 0, &q->q, &reply) != 0)
        finish(q, DNS_SERVFAIL);
    else
        on_reply(q, &reply);
}

int dns_ask(struct dns *dns, barid_slice name, enum dns_type type,
            void (*done)(void *user, const struct dns_answer *answer), void *user,
            struct dns_query **query_r)
{
    struct dns_query *q = dns->deleted ? NULL : mem_zalloc(NULL, sizeof(*q));
    bool full = dns->outstanding >= dns->max_queries;

    if (q == NULL)
        return dns->deleted ? BARID_ECLOSED : BARID_ENOMEM;
    q->dns = dns;
    list_init(&q->node);
    q->q.type = type;
    q->q.ad = dns->trust_ad;
    q->q.edns = true;
    q->authenticated = true;
    q->done = done;
    q->user = user;
    dns->outstanding++;
    if (query_r != NULL)
        *query_r = q;
    if (dns_name_parse(name, &q->q.name) != 0)
        finish(q, DNS_BAD_NAME);
    else if (full)
        finish(q, DNS_SERVFAIL);
    else
        ask(q);
    return 0;
}

void dns_cancel(struct dns_query **query)
{
    if (*query != NULL)
        (*query)->done = NULL;
    *query = NULL;
}

static int add_server(struct dns_config *config, const char *text, struct err *err)
{
    struct ares_addr_port_node *s = &config->servers[config->n_servers];
    barid_endpoint e;

    if (endpoint_parse(slice_str(text), &e) != 0) {
        if (endpoint_parse_address(slice_str(text), &e) != 0)
            return err_set(err, BARID_ESYNTAX,
                           "DNS server \"%s\": expected a numeric address such as 127.0.0.1:53 "
                           "or [::1]:53",
                           text);
        e.port = 53;
    }
    s->family = e.family == BARID_FAMILY_IPV6 ? AF_INET6 : AF_INET;
    memcpy(&s->addr, e.addr, e.family == BARID_FAMILY_IPV6 ? 16 : 4);
    s->udp_port = s->tcp_port = e.port;
    if (config->n_servers > 0)
        s[-1].next = s;
    config->n_servers++;
    return 0;
}

static int configure(struct dns *dns, const struct dns_options *o, struct err *err)
{
    int rc = 0, status;

    dns->config.timeout_ms =
        o->timeout_ms != 0 && o->timeout_ms < INT32_MAX ? (int)o->timeout_ms : DNS_TIMEOUT_MS;
    dns->config.tries = o->tries != 0 && o->tries < 100 ? (int)o->tries : DNS_TRIES;
    dns->max_queries = o->max_queries != 0 ? o->max_queries : DNS_MAX_QUERIES;
    dns->trust_ad = o->trust_ad;
    if (o->n_servers > DNS_SERVERS_MAX)
        return err_set(err, BARID_ELIMIT, "DNS: at most %d servers", DNS_SERVERS_MAX);
    for (size_t i = 0; rc == 0 && i < o->n_servers; i++)
        rc = add_server(&dns->config, o->servers[i], err);
    if (rc != 0)
        return rc;
    dns->channels[0] = dns_channel_new(
        dns->loop, &dns->config, &status); /* errors are seen now, not at the first query */
    return dns->channels[0] != NULL ? 0
                                    : err_set(err, BARID_EIO, "DNS: %s", ares_strerror(status));
}

int dns_new(struct dns **dns_r, struct loop *loop, const struct dns_options *o, struct err *err)
{
    struct dns *dns = mem_zalloc(NULL, sizeof(*dns));
    int rc;

    *dns_r = NULL;
    if (dns == NULL)
        return err_set(err, BARID_ENOMEM, "DNS: out of memory");
    dns->loop = loop;
    list_init(&dns->retired);
    list_init(&dns->finished);
    list_init(&dns->batch);
    rc = configure(dns, o, err);
    if (rc != 0) {
        mem_free(NULL, dns);
        return rc;
    }
    uv_timer_init(&loop->uv, &dns->tick);
    dns->tick.data = dns;
    *dns_r = dns;
    return 0;
}

static void on_tick_closed(uv_handle_t *h)
{
    struct dns *dns = h->data;

    dns->closed = true;
    free_if_over(dns);
}

static void cancel_all(struct list *queries)
{
    LIST_EACH(it, queries)
    {
        struct dns_query *q = LIST_ENTRY(it, struct dns_query, node);

        q->status = DNS_CANCELLED;
        q->n = 0;
    }
}

void dns_del(struct dns **dns_r)
{
    struct dns *dns = *dns_r;

    if (dns == NULL)
        return;
    *dns_r = NULL;
    dns->deleted = true;
    for (size_t i = 0; i < DNS_CHANNELS; i++)
        dns_channel_del(&dns->channels[i]);
    LIST_EACH_SAFE(it, next, &dns->retired)
    {
        struct dns_channel *c = LIST_ENTRY(it, struct dns_channel, node);

        dns_channel_del(&c);
    }
    /* Those that were finished but not yet delivered are told the same as the others. */
    cancel_all(&dns->batch);
    cancel_all(&dns->finished);
    deliver(dns); /* also what an outer deliver() was at */
    uv_close((uv_handle_t *)&dns->tick, on_tick_closed);
}

void dns_reverse_name(const uint8_t *addr, bool ipv6, const char *suffix_or_null, char *out)
{
    const char *suffix = suffix_or_null != NULL ? suffix_or_null
                         : ipv6                 ? "ip6.arpa"
                                                : "in-addr.arpa";
    int n = 0;

    if (!ipv6)
        n = snprintf(out, DNS_REVERSE_SIZE, "%u.%u.%u.%u.", addr[3], addr[2], addr[1], addr[0]);
    for (int i = 15; ipv6 && i >= 0; i--) /* RFC 3596 2.5 */
        n += snprintf(out + n, DNS_REVERSE_SIZE - (size_t)n, "%x.%x.", addr[i] & 0x0fu,
                      addr[i] >> 4);
    snprintf(out + n, DNS_REVERSE_SIZE - (size_t)n, "%s", suffix);
}

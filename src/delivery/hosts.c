/*
 * delivery/hosts.c: see hosts.h.
 *
 *   hosts_ask ──literal─────────────────────────────────────────────▶ end
 *             ──is_host──▶ the name alone ─┐
 *             ──else──▶ MX ──▶ exchangers ─┴─▶ A and AAAA of all ──▶ end
 *
 * What is said for good and what for now: a domain that does not exist, a null MX, exchangers
 * of which none has an address, and a way that leads back here are failures. A question without
 * an answer is asked again later, unless another exchanger has an address: then that is used.
 *
 * The end is a deferred task, also after a failure at once: so done is never called from
 * within, and a query that is cancelled waits there for its memory to be freed.
 */
#include "delivery/hosts.h"

#include <idn2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "barid/address.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "delivery/hosts_int.h"
#include "smtp/literal.h"

#define SMTP_PORT 25

struct lookup {
    struct hosts_query *q;
    size_t host;
    size_t family;
    struct dns_query *query; /* NULL: not asked, or answered */
};

struct hosts_query {
    struct hosts_options o;
    void (*done)(void *user, const struct hosts_answer *answer);
    void *user;
    struct loop_task task; /* the end */
    struct arena arena;
    barid_slice name; /* as DNS knows it */
    uint16_t port;
    struct lookup mx;
    /* In the arena, made when it is known how many: a mail that waits for DNS is small. */
    struct host *hosts;
    struct lookup (*lookups)[HOST_FAMILIES];
    size_t n_hosts, max_hosts;
    size_t waiting; /* questions without an answer yet */
    bool is_ending; /* the task is queued */
    bool is_cancelled;
    enum hosts_status status; /* what failed, if anything did */
    char reply[256];
};

/* --- the source --- */

static int ask_dns(void *user, barid_slice name, enum dns_type type,
                   void (*done)(void *user, const struct dns_answer *answer), void *done_user,
                   struct dns_query **query_r)
{
    return dns_ask(user, name, type, done, done_user, query_r);
}

static void cancel_dns(void *user, struct dns_query **query)
{
    (void)user;
    dns_cancel(query);
}

struct hosts_source hosts_source_dns(struct dns *dns)
{
    return (struct hosts_source){.ask = ask_dns, .cancel = cancel_dns, .user = dns};
}

/* --- the end --- */

static void query_free(struct hosts_query *q)
{
    const barid_mem *mem = q->o.mem;

    arena_deinit(&q->arena);
    mem_free(mem, q);
}

static void failed(struct hosts_query *q, enum hosts_status status, const char *fmt, ...)
    BARID_PRINTF(3, 4);
static void failed(struct hosts_query *q, enum hosts_status status, const char *fmt, ...)
{
    va_list ap;

    q->status = status;
    va_start(ap, fmt);
    vsnprintf(q->reply, sizeof(q->reply), fmt, ap);
    va_end(ap);
}

static void finish(struct loop_task *task)
{
    struct hosts_query *q =
        (struct hosts_query *)((char *)task - offsetof(struct hosts_query, task));
    struct host_address addresses[HOSTS_ADDRESSES_MAX];
    struct hosts_answer answer = {.addresses = addresses};
    bool looped = false;

    if (q->is_cancelled) {
        query_free(q);
        return;
    }
    answer.n = hosts_order(q->hosts, q->n_hosts, addresses, HOSTS_ADDRESSES_MAX, &looped);
    if (answer.n == 0 && q->status == HOSTS_OK && looped)
        failed(q, HOSTS_FAILED, "554 5.4.6 %.*s: its mail servers lead back to this one",
               (int)q->name.n, q->name.p);
    else if (answer.n == 0 && q->status == HOSTS_OK)
        failed(q, HOSTS_FAILED, "550 5.4.4 %.*s: no mail server with an address",
               (int)q->name.n, q->name.p);
    if (answer.n == 0) {
        answer.status = q->status;
        memcpy(answer.reply, q->reply, sizeof(answer.reply));
    }
    q->done(q->user, &answer);
    query_free(q);
}

static void end(struct hosts_query *q)
{
    q->is_ending = true;
    q->task.run = finish;
    loop_defer(q->o.loop, &q->task);
}

static void end_when_answered(struct hosts_query *q)
{
    if (q->waiting == 0)
        end(q);
}

/* --- addresses --- */

static const enum dns_type family_types[HOST_FAMILIES] = {DNS_AAAA, DNS_A};

static bool is_self(const struct hosts_query *q, barid_slice name,
                    const barid_endpoint *address)
{
    return q->o.is_self != NULL && q->o.is_self(q->o.user, name, address);
}

static void add_address(struct hosts_query *q, struct host *h, size_t family,
                        const uint8_t *addr)
{
    barid_endpoint *e;

    if (h->family[family].n == HOST_FAMILY_ADDRESSES_MAX)
        return;
    e = &h->family[family].v[h->family[family].n++];
    *e = (barid_endpoint){.family = family_types[family] == DNS_A ? BARID_FAMILY_IPV4
                                                                  : BARID_FAMILY_IPV6,
                          .port = q->port};
    memcpy(e->addr, addr, e->family == BARID_FAMILY_IPV4 ? 4 : 16);
    h->is_self = h->is_self || is_self(q, h->name, e);
}

/* Not an answer: neither an address nor that there is none. */
static bool is_temporary(enum dns_status status)
{
    return status != DNS_OK && status != DNS_NODATA && status != DNS_NXDOMAIN &&
           status != DNS_BAD_NAME;
}

static void on_addresses(void *user, const struct dns_answer *answer)
{
    struct lookup *l = user;
    struct hosts_query *q = l->q;
    struct host *h = &q->hosts[l->host];

    l->query = NULL;
    q->waiting--;
    for (size_t i = 0; answer->status == DNS_OK && i < answer->n; i++)
        add_address(q, h, l->family, answer->records[i].addr);
    if (is_temporary(answer->status))
        failed(q, HOSTS_AGAIN, "451 4.4.3 %.*s: no answer about its address (DNS: %s)",
               (int)h->name.n, h->name.p, dns_status_name(answer->status));
    end_when_answered(q);
}

static void ask_one(struct hosts_query *q, struct lookup *l, barid_slice name,
                    enum dns_type type,
                    void (*done)(void *user, const struct dns_answer *answer))
{
    l->q = q;
    if (q->o.source.ask(q->o.source.user, name, type, done, l, &l->query) == 0)
        q->waiting++;
    else
        failed(q, HOSTS_AGAIN, "451 4.3.0 out of memory");
}

static void ask_addresses(struct hosts_query *q)
{
    const bool off[HOST_FAMILIES] = {q->o.no_ipv6, q->o.no_ipv4};

    for (size_t i = 0; i < q->n_hosts; i++) {
        q->hosts[i].is_self = is_self(q, q->hosts[i].name, NULL);
        for (size_t f = 0; f < HOST_FAMILIES && !q->hosts[i].is_self; f++) {
            q->lookups[i][f].host = i;
            q->lookups[i][f].family = f;
            if (!off[f])
                ask_one(q, &q->lookups[i][f], q->hosts[i].name, family_types[f], on_addresses);
        }
    }
    end_when_answered(q);
}

/* --- exchangers --- */

/* Room for so many; where there is no memory, for none. */
static void expect_hosts(struct hosts_query *q, size_t n)
{
    q->hosts = arena_alloc(&q->arena, n * sizeof(*q->hosts));
    q->lookups = arena_alloc(&q->arena, n * sizeof(*q->lookups));
    q->max_hosts = q->hosts != NULL && q->lookups != NULL ? n : 0;
}

/* order: among those of one preference. */
static void add_host(struct hosts_query *q, barid_slice name, uint16_t preference, uint64_t order)
{
    struct host host = {.preference = preference, .order = order};

    if (q->n_hosts < q->max_hosts && arena_slice(&q->arena, name, &host.name) == 0)
        q->hosts[q->n_hosts++] = host;
    else
        failed(q, HOSTS_AGAIN, "451 4.3.0 out of memory");
}

static void add_only_host(struct hosts_query *q)
{
    expect_hosts(q, 1);
    add_host(q, q->name, 0, 0);
}

/* The records with the lowest preferences, at most HOSTS_EXCHANGERS_MAX: sorted in. */
static size_t best_exchangers(const struct dns_answer *answer, const struct dns_record **best)
{
    size_t n = 0;

    for (size_t i = 0; i < answer->n; i++) {
        const struct dns_record *r = &answer->records[i];
        size_t at = n;

        if (r->text.n == 0)
            continue;
        while (at > 0 && best[at - 1]->preference > r->preference)
            at--;
        if (at == HOSTS_EXCHANGERS_MAX)
            continue;
        n += n < HOSTS_EXCHANGERS_MAX;
        memmove(&best[at + 1], &best[at], (n - 1 - at) * sizeof(best[0]));
        best[at] = r;
    }
    return n;
}

static void take_exchangers(struct hosts_query *q, const struct dns_answer *answer)
{
    const struct dns_record *best[HOSTS_EXCHANGERS_MAX];
    size_t n = best_exchangers(answer, best);

    /* RFC 7505: one record, for the root. Beside others such a name means nothing. */
    if (n == 0)
        failed(q, HOSTS_FAILED, "556 5.1.10 %.*s: takes no mail (null MX)", (int)q->name.n,
               q->name.p);
    else
        expect_hosts(q, n);
    for (size_t i = 0; i < n; i++)
        add_host(q, best[i]->text, best[i]->preference, n > 1 ? rng_u64(q->o.rng) : 0);
}

static void on_mx(void *user, const struct dns_answer *answer)
{
    struct hosts_query *q = ((struct lookup *)user)->q;

    q->mx.query = NULL;
    q->waiting--;
    if (answer->status == DNS_OK)
        take_exchangers(q, answer);
    else if (answer->status == DNS_NODATA)
        add_only_host(q); /* RFC 5321 5.1: the domain's own address */
    else if (answer->status == DNS_NXDOMAIN)
        failed(q, HOSTS_FAILED, "550 5.1.2 %.*s: no such domain", (int)q->name.n, q->name.p);
    else if (answer->status == DNS_BAD_NAME)
        failed(q, HOSTS_FAILED, "550 5.1.2 %.*s: not a domain name", (int)q->name.n, q->name.p);
    else
        failed(q, HOSTS_AGAIN, "451 4.4.3 %.*s: no answer about its mail servers (DNS: %s)",
               (int)q->name.n, q->name.p, dns_status_name(answer->status));
    ask_addresses(q);
}

/* --- the beginning --- */

/* "[192.0.2.1]" and "[IPv6:2001:db8::1]": one address, nothing to look up. */
static void take_literal(struct hosts_query *q)
{
    barid_slice inner = slice_head(slice_from(q->name, 1), q->name.n >= 2 ? q->name.n - 2 : 0);
    uint8_t addr[16];

    add_only_host(q);
    if (q->n_hosts == 0)
        return;
    if (slice_starts_nocase(inner, BARID_S("IPv6:")) &&
        literal_ipv6(slice_from(inner, 5), false, addr))
        add_address(q, &q->hosts[0], 0, addr);
    else if (literal_ipv4(inner, addr))
        add_address(q, &q->hosts[0], 1, addr);
    else
        failed(q, HOSTS_FAILED, "550 5.1.2 %.*s: not an address", (int)q->name.n, q->name.p);
}

/* U-labels become A-labels. 0, BARID_ENOMEM, BARID_ESYNTAX. */
static int take_name(struct hosts_query *q, barid_slice name)
{
    char *text, *ascii = NULL;
    int rc;

    if (ascii_only(name))
        return arena_slice(&q->arena, name, &q->name);
    text = arena_strdup(&q->arena, name);
    if (text == NULL)
        return BARID_ENOMEM;
    rc = idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return rc == IDN2_MALLOC ? BARID_ENOMEM : BARID_ESYNTAX;
    rc = arena_slice(&q->arena, slice_str(ascii), &q->name);
    idn2_free(ascii);
    return rc;
}

static void begin(struct hosts_query *q, const struct next_hop *hop)
{
    int rc = take_name(q, hop->name);

    if (rc != 0 || q->name.n == 0 || q->name.n > BARID_DOMAIN_MAX) {
        failed(q, rc == BARID_ENOMEM ? HOSTS_AGAIN : HOSTS_FAILED, "%s",
               rc == BARID_ENOMEM ? "451 4.3.0 out of memory" : "550 5.1.2 not a domain name");
        end(q);
    } else if (q->name.p[0] == '[') {
        take_literal(q);
        end(q);
    } else if (hop->is_host) {
        add_only_host(q);
        ask_addresses(q);
    } else {
        ask_one(q, &q->mx, q->name, DNS_MX, on_mx);
        end_when_answered(q);
    }
}

int hosts_ask(const struct hosts_options *o, const struct next_hop *hop,
              void (*done)(void *user, const struct hosts_answer *answer), void *user,
              struct hosts_query **query_r)
{
    struct hosts_query *q = mem_zalloc(o->mem, sizeof(*q));

    if (q == NULL)
        return BARID_ENOMEM;
    q->o = *o;
    q->done = done;
    q->user = user;
    q->port = hop->port != 0 ? hop->port : SMTP_PORT;
    arena_init(&q->arena, o->mem, 0); /* HOSTS_EXCHANGERS_MAX names */
    if (query_r != NULL)
        *query_r = q;
    begin(q, hop);
    return 0;
}

static void cancel_one(struct hosts_query *q, struct lookup *l)
{
    if (l->query != NULL)
        q->o.source.cancel(q->o.source.user, &l->query);
}

void hosts_cancel(struct hosts_query **query)
{
    struct hosts_query *q = *query;

    if (q == NULL)
        return;
    *query = NULL;
    q->is_cancelled = true;
    cancel_one(q, &q->mx);
    for (size_t i = 0; i < q->n_hosts; i++)
        for (size_t f = 0; f < HOST_FAMILIES; f++)
            cancel_one(q, &q->lookups[i][f]);
    if (!q->is_ending)
        end(q);
}

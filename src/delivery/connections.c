/*
 * delivery/connections.c: see connections.h.
 *
 *   open ──▶ with an owner ──give──▶ RETURNING ──READY──▶ IDLE ──idle_ms──▶ LEAVING ──▶ gone
 *                 ▲    └──leave────────────────────────────────────────────────▲
 *                 └────────────────────take────────────────────┘
 *
 * Whatever has no owner answers to the ops of this file, which only wait for the end. A session that ends by itself (the server closed
 * it, 421) disappears. Closing for a limit is done by the timer, where no dialogue is in the middle of something.
 */
#include "delivery/connections.h"

#include <string.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"
#include "io/timer.h"

enum state { OWNED, RETURNING, IDLE, LEAVING };

struct connections {
    struct connections_options o;
    struct timer *timer;
    struct list idle, leaving; /* oldest first; leaving: RETURNING ones, too */
    struct map shelves;        /* of the idle ones, by place: who looks for one passes no other */
    size_t n_idle, n_leaving;
};

struct connection {
    struct connections *home;
    struct list node; /* in home's idle or leaving */
    struct list on_shelf; /* IDLE */
    struct shelf *shelf;
    enum state state;
    uint64_t until_ms; /* IDLE */
    uint32_t mails;
    struct connection_request r; /* own copies */
    barid_client_config config;
    barid_endpoint from;
    struct arena arena; /* what they point to */
    struct dialogue *dialogue;
};

/* Kept ones to one place, the newest last. */
struct shelf {
    struct list connections;
};

/* --- the same --- */

static bool same_endpoint(const barid_endpoint *a, const barid_endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->addr, b->addr, a->family == BARID_FAMILY_IPV4 ? 4 : 16) == 0;
}

static bool same_text(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static bool same_place(const struct dialogue_place *a, const struct dialogue_place *b)
{
    if (!same_text(a->unix_path, b->unix_path))
        return false;
    if (a->unix_path != NULL)
        return true;
    return same_endpoint(&a->to, &b->to) && (a->from == NULL) == (b->from == NULL) &&
           (a->from == NULL || same_endpoint(a->from, b->from));
}

static bool same_identity(const barid_client_config *a, const barid_client_config *b)
{
    return slice_eq(a->helo, b->helo) && slice_eq(a->authcid, b->authcid) &&
           slice_eq(a->authzid, b->authzid) && slice_eq(a->password, b->password) &&
           a->mechanisms_plain == b->mechanisms_plain &&
           a->mechanisms_secure == b->mechanisms_secure && a->auth_optional == b->auth_optional;
}

static bool same_config(const barid_client_config *a, const barid_client_config *b)
{
    return a->protocol == b->protocol && a->tls == b->tls &&
           a->implicit_tls == b->implicit_tls && a->ignore == b->ignore &&
           a->no_pipelining == b->no_pipelining && a->no_chunking == b->no_chunking &&
           a->no_ehlo == b->no_ehlo && a->chunk == b->chunk &&
           a->bare_newline == b->bare_newline && a->transcript == b->transcript &&
           memcmp(&a->timeouts, &b->timeouts, sizeof(a->timeouts)) == 0 &&
           a->random == b->random && a->random_user == b->random_user && same_identity(a, b);
}

static bool is_right(const struct connection *k, const struct connection_request *r)
{
    return same_place(&k->r.place, &r->place) && k->r.tls == r->tls &&
           same_text(k->r.server_name, r->server_name) && same_config(&k->config, r->config) &&
           (r->max_mails == 0 || k->mails < r->max_mails);
}

/* --- shelves --- */

#define KEY_SIZE (16 + 2) /* address and port; the path of a unix socket is its own key */

/* The place it leads to, whatever it is reached from. Two places with one key do no harm: is_right tells them apart. */
static barid_slice key_of(const struct dialogue_place *p, char out[KEY_SIZE])
{
    size_t n = p->to.family == BARID_FAMILY_IPV4 ? 4 : 16;

    if (p->unix_path != NULL)
        return slice_str(p->unix_path);
    memcpy(out, p->to.addr, n);
    out[n++] = (char)(p->to.port >> 8);
    out[n++] = (char)(p->to.port & 0xff);
    return slice_of(out, n);
}

static bool shelf_put(struct connection *k)
{
    struct connections *cs = k->home;
    char key[KEY_SIZE];
    struct shelf *s = map_get(&cs->shelves, key_of(&k->r.place, key));

    if (s == NULL) {
        s = mem_alloc(cs->o.mem, sizeof(*s));
        if (s == NULL)
            return false;
        list_init(&s->connections);
        if (map_put(&cs->shelves, key_of(&k->r.place, key), s, NULL) != 0) {
            mem_free(cs->o.mem, s);
            return false;
        }
    }
    list_append(&s->connections, &k->on_shelf);
    k->shelf = s;
    return true;
}

static void shelf_take(struct connection *k)
{
    struct connections *cs = k->home;
    struct shelf *s = k->shelf;
    char key[KEY_SIZE];

    k->shelf = NULL;
    list_remove(&k->on_shelf);
    if (!list_empty(&s->connections))
        return;
    map_take(&cs->shelves, key_of(&k->r.place, key));
    mem_free(cs->o.mem, s);
}

/* --- without an owner --- */

static const struct dialogue_ops own_ops;

static void connection_free(struct connection *k)
{
    dialogue_del(&k->dialogue);
    tls_unref(&k->r.tls);
    if (k->config.password.n > 0)
        mem_wipe((void *)(uintptr_t)k->config.password.p, k->config.password.n);
    arena_deinit(&k->arena);
    mem_free(k->home->o.mem, k);
}

static void unlink_it(struct connection *k)
{
    list_remove(&k->node);
    if (k->state == IDLE)
        shelf_take(k);
    k->home->n_idle -= k->state == IDLE;
    k->home->n_leaving -= k->state == LEAVING || k->state == RETURNING;
}

static void set_timer(struct connections *cs)
{
    uint64_t at = UINT64_MAX;

    if (cs->n_idle > CONNECTIONS_IDLE_MAX || cs->n_leaving > CONNECTIONS_LEAVING_MAX)
        at = loop_now_ms(cs->o.loop);
    else if (cs->n_idle > 0)
        at = LIST_ENTRY(cs->idle.next, struct connection, node)->until_ms;
    timer_set(cs->timer, at);
}

static void move_to(struct connection *k, enum state state)
{
    struct connections *cs = k->home;

    unlink_it(k);
    k->state = state;
    list_append(state == IDLE ? &cs->idle : &cs->leaving, &k->node);
    cs->n_idle += state == IDLE;
    cs->n_leaving += state != IDLE;
    set_timer(cs);
}

static void leave(struct connection *k)
{
    move_to(k, LEAVING);
    dialogue_quit(k->dialogue); /* k may be gone */
}

static void on_event(void *user, const barid_client_event *event)
{
    struct connection *k = user;
    struct connections *cs = k->home;

    if (event->id != BARID_CLIENT_READY || k->state != RETURNING)
        return;
    if (cs->o.idle_ms == 0 || (k->r.max_mails > 0 && k->mails >= k->r.max_mails) || !shelf_put(k)) {
        leave(k);
        return;
    }
    k->until_ms = loop_now_ms(cs->o.loop) + cs->o.idle_ms;
    move_to(k, IDLE);
}

static void on_unreachable(void *user, const struct err *err)
{
    (void)user;
    (void)err;
}

static void on_over(void *user)
{
    struct connection *k = user;
    struct connections *cs = k->home;

    unlink_it(k);
    connection_free(k);
    set_timer(cs);
}

static int on_body(void *user, size_t n, barid_slice *p_r, bool *last_r)
{
    (void)user;
    (void)n;
    (void)p_r;
    (void)last_r;
    return BARID_ECLOSED;
}

static const struct dialogue_ops own_ops = {.on_event = on_event,
                                            .on_unreachable = on_unreachable,
                                            .on_over = on_over,
                                            .on_body = on_body};

static void on_timer(void *user)
{
    struct connections *cs = user;
    uint64_t now = loop_now_ms(cs->o.loop);

    while (cs->n_idle > 0) {
        struct connection *k = LIST_ENTRY(cs->idle.next, struct connection, node);

        if (k->until_ms > now && cs->n_idle <= CONNECTIONS_IDLE_MAX)
            break;
        leave(k);
    }
    while (cs->n_leaving > CONNECTIONS_LEAVING_MAX)
        on_over(LIST_ENTRY(cs->leaving.next, struct connection, node));
    set_timer(cs);
}

/* --- with an owner --- */

struct connection *connections_take(struct connections *cs, const struct connection_request *r,
                                    const struct dialogue_ops *ops, void *user)
{
    char key[KEY_SIZE];
    struct shelf *s = map_get(&cs->shelves, key_of(&r->place, key));

    /* The newest first: it lives longest, and the others are let go when they are not needed. */
    for (struct list *it = s != NULL ? s->connections.prev : NULL; it != NULL && it != &s->connections; it = it->prev) {
        struct connection *k = LIST_ENTRY(it, struct connection, on_shelf);

        if (!is_right(k, r))
            continue;
        unlink_it(k);
        k->state = OWNED;
        k->r.max_mails = r->max_mails;
        dialogue_give(k->dialogue, ops, user);
        set_timer(cs);
        return k;
    }
    return NULL;
}

static int copy_text(struct connection *k, const char *s, const char **copy_r)
{
    *copy_r = s != NULL ? arena_strdup(&k->arena, slice_str(s)) : NULL;
    return s == NULL || *copy_r != NULL ? 0 : BARID_ENOMEM;
}

static int copy_request(struct connection *k, const struct connection_request *r)
{
    k->r = *r;
    k->r.tls = r->tls != NULL ? tls_ref(r->tls) : NULL;
    k->r.config = &k->config;
    k->config = *r->config;
    k->config.password = (barid_slice){0};
    if (r->place.from != NULL) {
        k->from = *r->place.from;
        k->r.place.from = &k->from;
    }
    if (copy_text(k, r->server_name, &k->r.server_name) != 0 ||
        copy_text(k, r->place.unix_path, &k->r.place.unix_path) != 0 ||
        arena_slice(&k->arena, r->config->helo, &k->config.helo) != 0 ||
        arena_slice(&k->arena, r->config->authcid, &k->config.authcid) != 0 ||
        arena_slice(&k->arena, r->config->authzid, &k->config.authzid) != 0 ||
        arena_slice(&k->arena, r->config->password, &k->config.password) != 0)
        return BARID_ENOMEM;
    return 0;
}

int connections_open(struct connections *cs, const struct connection_request *r,
                     const struct dialogue_ops *ops, void *user, struct connection **k_r,
                     struct err *err)
{
    struct connection *k = mem_zalloc(cs->o.mem, sizeof(*k));
    struct dialogue_options o = {
        .loop = cs->o.loop, .ops = ops, .user = user, .mem = cs->o.mem};
    int rc;

    *k_r = NULL;
    if (k == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    k->home = cs;
    list_init(&k->node);
    list_init(&k->on_shelf);
    arena_init(&k->arena, cs->o.mem, 0); /* names of one next hop */
    rc = copy_request(k, r);
    if (rc != 0)
        err_set(err, rc, "out of memory");
    o.config = &k->config;
    o.tls = k->r.tls;
    o.server_name = k->r.server_name;
    if (rc == 0)
        rc = dialogue_open(&k->dialogue, &o, &k->r.place, err);
    if (rc != 0) {
        connection_free(k);
        return rc;
    }
    *k_r = k;
    return 0;
}

struct dialogue *connection_dialogue(struct connection *k)
{
    return k->dialogue;
}

bool connection_is_used(const struct connection *k)
{
    return k->mails > 0;
}

int connection_send(struct connection *k, const barid_client_mail *mail)
{
    k->mails++;
    return dialogue_send(k->dialogue, mail);
}

static struct connection *taken_from_owner(struct connection **k_r)
{
    struct connection *k = *k_r;

    *k_r = NULL;
    dialogue_give(k->dialogue, &own_ops, k);
    return k;
}

void connection_give(struct connection **k)
{
    move_to(taken_from_owner(k), RETURNING);
}

void connection_leave(struct connection **k)
{
    leave(taken_from_owner(k));
}

void connection_del(struct connection **k_r)
{
    struct connection *k = *k_r;

    if (k == NULL)
        return;
    *k_r = NULL;
    connection_free(k);
}

/* --- all of them --- */

int connections_new(struct connections **cs_r, const struct connections_options *o)
{
    struct connections *cs = mem_zalloc(o->mem, sizeof(*cs));
    const uint64_t seed[2] = {rng_u64(o->rng), rng_u64(o->rng)};

    *cs_r = NULL;
    if (cs == NULL)
        return BARID_ENOMEM;
    cs->o = *o;
    list_init(&cs->idle);
    list_init(&cs->leaving);
    map_init(&cs->shelves, o->mem, seed);
    cs->timer = timer_new(o->loop, on_timer, cs);
    if (cs->timer == NULL) {
        mem_free(o->mem, cs);
        return BARID_ENOMEM;
    }
    *cs_r = cs;
    return 0;
}

size_t connections_idle(const struct connections *cs)
{
    return cs->n_idle;
}

void connections_del(struct connections **cs_r)
{
    struct connections *cs = *cs_r;

    if (cs == NULL)
        return;
    *cs_r = NULL;
    while (cs->n_idle > 0)
        leave(LIST_ENTRY(cs->idle.next, struct connection, node));
    while (cs->n_leaving > 0)
        on_over(LIST_ENTRY(cs->leaving.next, struct connection, node));
    timer_del(&cs->timer);
    map_deinit(&cs->shelves);
    mem_free(cs->o.mem, cs);
}

/*
 * policy/class_mail_send.c: how a mail goes out, as hooks decide it: next hops of a recipient or of
 * all, the schedule of its attempts.
 */
#include "base/slice.h"
#include "policy/class_mail.h"
#include "policy/engine.h"
#include "policy/next_hops.h"

/* --- next hops --- */

bool hops_check(lua_State *L, int from, const char *what)
{
    bool pinned = false;

    if (lua_gettop(L) < from)
        lua_pushliteral(L, ""); /* by default */
    else
        next_hops_check(L, from, what, &pinned);
    return pinned;
}

static void send_to(lua_State *L, struct mail *m, enum disposition_scope scope, size_t index,
                    const char *what)
{
    bool pinned = hops_check(L, 2, what);
    barid_slice hops = script_slice(L, -1);

    check_rc(L,
             pinned ? mail_add_pinned(m, scope, index, hops)
                    : mail_add_row(m, DISPOSITION_SEND, scope, index, hops),
             what);
}

/*** @method mail:send([hop...])
 * Sends the mail on for every accepted recipient that has no row of its own. Without a next hop: to
 * the relay host, or to the domain of each recipient.
 * @param {string} hop tried in order: "example.com", "[mail.example.com]:587", "[192.0.2.1]",
 * "lmtp:unix:/run/lmtp"; or one table of them, with `pinned = true` to keep `on.route` from being
 * asked
 */
int mail_send(lua_State *L)
{
    struct mail *m = mail_check_undecided(L, 1, "mail:send");

    send_to(L, m, DISPOSITION_REST, 0, "mail:send");
    return 0;
}

/*** @method rcpt:send([hop...])
 * Sends the mail on for this recipient, also when it is local. Without a next hop: to the relay
 * host, or to its domain. Several calls with different next hops are several copies.
 * @param {string} hop tried in order: "example.com", "[mail.example.com]:587", "[192.0.2.1]",
 * "lmtp:unix:/run/lmtp"; or one table of them, with `pinned = true` to keep `on.route` from being
 * asked
 */
int rcpt_send(lua_State *L)
{
    struct object *o = object_check(L, 1, &rcpt_class);
    struct mail *m = o->owner;

    if (m->decided)
        return luaL_error(L, "rcpt:send: the mail is queued and cannot be changed any more");
    send_to(L, m, DISPOSITION_ONE, ((const struct rcpt *)o->p)->index, "rcpt:send");
    return 0;
}

/* --- the schedule --- */

/* 300, or "5m". */
static bool read_seconds(lua_State *L, uint64_t *value_r)
{
    static const char units[] = "smhd";
    static const uint64_t factors[] = {1, 60, 3600, 86400};
    barid_slice s;
    const char *unit;
    int exact;

    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Integer n = lua_tointegerx(L, -1, &exact);
        *value_r = (uint64_t)n;
        return exact && n >= 0;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return false;
    s = script_slice(L, -1);
    if (s.n < 2 || (unit = memchr(units, s.p[s.n - 1], sizeof(units) - 1)) == NULL ||
        slice_u64(slice_head(s, s.n - 1), UINT32_MAX, value_r) < 0)
        return false;
    *value_r *= factors[unit - units];
    return true;
}

static const struct retry_key {
    const char *name;
    size_t offset;
    uint32_t min, max; /* as of the declaration */
} retry_keys[] = {
    {"first", offsetof(struct mail_retry, first_s), 1, 86400},
    {"max", offsetof(struct mail_retry, max_s), 1, 604800},
    {"tries", offsetof(struct mail_retry, tries), 1, 1000},
    {"notice", offsetof(struct mail_retry, notice), 0, 1000},
};
#define RETRY_KEYS (sizeof(retry_keys) / sizeof(retry_keys[0]))

/* Value at the top of the stack, its key below it. */
static void read_retry(lua_State *L, struct mail_retry *r)
{
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    uint64_t value;

    for (size_t i = 0; i < RETRY_KEYS; i++) {
        const struct retry_key *key = &retry_keys[i];

        if (strcmp(name, key->name) != 0)
            continue;
        if (!read_seconds(L, &value) || value < key->min || value > key->max)
            luaL_error(L, "mail.retry: %s is from %d to %d%s", name, (int)key->min,
                       (int)key->max, i < 2 ? " seconds, or \"5m\"" : "");
        *(uint32_t *)((char *)r + key->offset) = (uint32_t)value;
        r->notice_set = r->notice_set || key->offset == offsetof(struct mail_retry, notice);
        return;
    }
    luaL_error(L, "mail.retry: unknown key '%s', there are first, max, tries, notice", name);
}

int mail_get_retry(lua_State *L, struct object *o)
{
    const struct mail_retry *r = &((const struct mail *)o->p)->retry;

    if (!r->set) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, RETRY_KEYS);
    for (size_t i = 0; i < RETRY_KEYS; i++) {
        uint32_t value = *(const uint32_t *)((const char *)r + retry_keys[i].offset);

        if (value == 0 && !(r->notice_set && i == RETRY_KEYS - 1))
            continue;
        lua_pushinteger(L, value);
        lua_setfield(L, -2, retry_keys[i].name);
    }
    return 1;
}

void mail_set_retry(lua_State *L, struct object *o)
{
    struct mail *m = mail_check_writable(L, 1, "mail.retry");
    struct mail_retry r = {.set = true};

    (void)o;
    if (lua_isnil(L, 3)) {
        m->retry = (struct mail_retry){.set = false};
        return;
    }
    if (!lua_istable(L, 3))
        luaL_error(L, "mail.retry: a table or nil is expected, got %s", luaL_typename(L, 3));
    for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1))
        read_retry(L, &r);
    if (r.first_s > 0 && r.max_s > 0 && r.first_s > r.max_s)
        luaL_error(L, "mail.retry: first is longer than max");
    m->retry = r;
}

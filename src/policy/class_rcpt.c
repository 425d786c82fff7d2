/*
 * policy/class_rcpt.c: rcpt, one recipient, as hooks see it.
 */
#include "base/slice.h"
#include "policy/class_mail.h"
#include "policy/engine.h"

static struct rcpt *rcpt_of(const struct object *o)
{
    return o->p;
}

static struct mail *mail_of(const struct object *o)
{
    return o->owner;
}

static int get_address(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->box.address);
    return 1;
}

static void set_address(lua_State *L, struct object *o)
{
    struct mail *m = mail_of(o);
    struct rcpt *r = o->p;
    struct mailbox box;
    bool local;

    if (m->frozen)
        luaL_error(L, "rcpt.address: the mail is queued and cannot be changed any more");
    mailbox_check(L, 3, m, &box, false);
    local = domain_is_local(engine_of(L)->script.config, box.domain);
    /* The relay check looked at the address that the client gave: a rewrite must not go around
     * it. */
    if (!local && r->is_local && !mail_may_relay(m))
        luaL_error(L, "rcpt.address: '%s' is not local and mail.relay_allowed is not set",
                   lua_tostring(L, 3));
    r->box = box;
    r->is_local = local;
    r->relayed = !local && (r->relayed || mail_may_relay(m));
}

static int get_local_part(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->box.local);
    return 1;
}
static int get_domain(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->box.domain);
    return 1;
}
static int get_user(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->box.user);
    return 1;
}
static int get_tag(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->box.tag);
    return 1;
}
static int get_original(lua_State *L, struct object *o)
{
    script_push(L, rcpt_of(o)->original);
    return 1;
}
static int get_is_local(lua_State *L, struct object *o)
{
    lua_pushboolean(L, rcpt_of(o)->is_local);
    return 1;
}
static int get_index(lua_State *L, struct object *o)
{
    lua_pushinteger(L, (lua_Integer)rcpt_of(o)->index + 1);
    return 1;
}
static int get_orcpt(lua_State *L, struct object *o)
{
    if (rcpt_of(o)->orcpt.n > 0)
        script_push(L, rcpt_of(o)->orcpt);
    else
        lua_pushnil(L);
    return 1;
}

static int get_notify(lua_State *L, struct object *o)
{
    static const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{BARID_NOTIFY_NEVER, "never"},
                {BARID_NOTIFY_SUCCESS, "success"},
                {BARID_NOTIFY_FAILURE, "failure"},
                {BARID_NOTIFY_DELAY, "delay"}};
    lua_Integer n = 0;

    if (rcpt_of(o)->notify == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 3, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rcpt_of(o)->notify & rows[i].bit) {
            lua_pushstring(L, rows[i].name);
            lua_rawseti(L, -2, ++n);
        }
    }
    return 1;
}

static int get_state(lua_State *L, struct object *o)
{
    static const char *const names[] = {[RCPT_PENDING] = "pending",
                                        [RCPT_ACCEPTED] = "accepted",
                                        [RCPT_REJECTED] = "rejected",
                                        [RCPT_TEMPFAILED] = "tempfailed",
                                        [RCPT_DISCARDED] = "discarded",
                                        [RCPT_QUARANTINED] = "quarantined",
                                        [RCPT_HELD] = "held"};

    lua_pushstring(L, names[rcpt_of(o)->verdict]);
    return 1;
}

static int get_vars(lua_State *L, struct object *o)
{
    return push_vars(L, 1, &rcpt_of(o)->vars);
}

/*** @method rcpt:store(target)
 * Stores the mail for this recipient in the mailbox `target` beneath maildir's root. Several
 * targets are several copies.
 * @param {string} target with %{user} %{tag} %{local} %{domain} %{address} %{sender} %{id}
 * %{yyyy} %{mm} %{dd}
 */
static int store(lua_State *L)
{
    struct object *o = object_check(L, 1, &rcpt_class);
    struct mail *m = mail_of(o);

    if (m->decided)
        return luaL_error(L, "rcpt:store: the mail is queued and cannot be changed any more");
    target_check(L, 2, true, "rcpt:store");
    check_rc(L,
             mail_add_row(m, DISPOSITION_STORE, DISPOSITION_ONE, rcpt_of(o)->index,
                          script_slice(L, 2)),
             "rcpt:store");
    return 0;
}

/*** @class rcpt
 * One recipient.
 * @field {string} address where it goes; may be written (must be local unless the client may relay
 * or mail.relay_allowed)
 * @field {string} original as the client gave it
 * @field {string} local_part quoting undone
 * @field {string} domain lower case
 * @field {string} user the local part without its tag, lower case
 * @field {string} tag subaddress, "" when there is none
 * @field {boolean} is_local the domain is ours
 * @field {number} index its place among the recipients, from 1
 * @field {list} notify NOTIFY= of RCPT: "never", or "success", "failure", "delay"; nil when not
 * given
 * @field {string} orcpt ORCPT= of RCPT, nil when not given
 * @field {string} state "pending", "accepted", "rejected", "tempfailed", "discarded",
 * "quarantined", "held"
 * @field {vars} vars your own variables; they are kept in the spool
 */
static const struct field fields[] = {{"address", .get = get_address, .set = set_address},
                                      {"original", .get = get_original},
                                      {"local_part", .get = get_local_part},
                                      {"domain", .get = get_domain},
                                      {"user", .get = get_user},
                                      {"tag", .get = get_tag},
                                      {"is_local", .get = get_is_local},
                                      {"index", .get = get_index},
                                      {"notify", .get = get_notify},
                                      {"orcpt", .get = get_orcpt},
                                      {"state", .get = get_state},
                                      {"vars", .get = get_vars},
                                      {"store", .method = store},
                                      {"send", .method = rcpt_send},
                                      {NULL}};
const struct class rcpt_class = {.name = "rcpt", .id = CLASS_RCPT, .fields = fields};

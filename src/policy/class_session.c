/*
 * policy/class_session.c: session, as hooks see it; and the references that keep script objects
 * of a session and its mail.
 */
#include "base/mem.h"
#include "base/slice.h"
#include "policy/engine.h"

static const struct session_facts *facts_of(const struct object *o)
{
    return ((const struct policy_session *)o->p)->facts;
}

/* An empty slice is what nobody said: nil. */
static int push_text(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

/* A mail that this server made: no client, so nothing to say about one. */
static bool no_client(const struct session_facts *f)
{
    return f->id[0] == '\0' && f->client.family == BARID_FAMILY_NONE;
}

static int push_address(lua_State *L, const struct object *o, const barid_endpoint *e)
{
    char text[ENDPOINT_TEXT_SIZE];

    if (no_client(facts_of(o))) {
        lua_pushnil(L);
        return 1;
    }
    endpoint_text(e, text);
    lua_pushstring(L, text);
    return 1;
}

static int push_port(lua_State *L, const barid_endpoint *e)
{
    if (e->family == BARID_FAMILY_IPV4 || e->family == BARID_FAMILY_IPV6)
        lua_pushinteger(L, e->port);
    else
        lua_pushnil(L);
    return 1;
}

static int get_id(lua_State *L, struct object *o)
{
    lua_pushstring(L, facts_of(o)->id);
    return 1;
}
static int get_ip(lua_State *L, struct object *o)
{
    return push_address(L, o, &facts_of(o)->client);
}
static int get_port(lua_State *L, struct object *o)
{
    return push_port(L, &facts_of(o)->client);
}
static int get_local_ip(lua_State *L, struct object *o)
{
    return push_address(L, o, &facts_of(o)->local);
}
static int get_local_port(lua_State *L, struct object *o)
{
    return push_port(L, &facts_of(o)->local);
}
static int get_listener(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->listener);
}
static int get_name(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->client_name);
}
static int get_helo(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->helo);
}
static int get_esmtp(lua_State *L, struct object *o)
{
    lua_pushboolean(L, facts_of(o)->esmtp);
    return 1;
}
static int get_protocol(lua_State *L, struct object *o)
{
    static const char *const names[] = {
        [BARID_SMTP] = "smtp", [BARID_SUBMISSION] = "submission", [BARID_LMTP] = "lmtp"};

    lua_pushstring(L, no_client(facts_of(o)) ? NULL : names[facts_of(o)->protocol]);
    return 1;
}
static int get_tls(lua_State *L, struct object *o)
{
    lua_pushboolean(L, facts_of(o)->tls);
    return 1;
}
static int get_tls_version(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->tls_version);
}
static int get_tls_cipher(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->tls_cipher);
}
static int get_tls_bits(lua_State *L, struct object *o)
{
    lua_pushinteger(L, facts_of(o)->tls_bits);
    return 1;
}
static int get_tls_sni(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->tls_sni);
}
static int get_tls_peer(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->tls_peer);
}
static int get_user(lua_State *L, struct object *o)
{
    return push_text(L, facts_of(o)->user);
}
static int get_mechanism(lua_State *L, struct object *o)
{
    return push_text(L, slice_str(barid_auth_mechanism_name(facts_of(o)->mechanism)));
}
static int get_trusted(lua_State *L, struct object *o)
{
    lua_pushboolean(L, facts_of(o)->trusted);
    return 1;
}
static int get_started_at(lua_State *L, struct object *o)
{
    if (no_client(facts_of(o)))
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)facts_of(o)->started_us / 1e6);
    return 1;
}

static int get_vars(lua_State *L, struct object *o)
{
    struct policy_session *s = o->p;

    if (s->vars == NULL) {
        s->vars = mem_zalloc(s->policy->mem, sizeof(*s->vars));
        if (s->vars == NULL)
            return luaL_error(L, "not enough memory");
        /* Keys and values, their array, and what replaced values leave behind. */
        arena_init(&s->vars->arena, s->policy->mem, 4 * VARS_MAX_BYTES);
        vars_init(&s->vars->vars, &s->vars->arena);
    }
    return push_vars(L, 1, &s->vars->vars);
}

/*** @method session:hide(extension, ...)
 * Leaves extensions out of the reply to EHLO. Only in `on.helo`.
 * @param {string} extension such as "CHUNKING", "SMTPUTF8", "PRDR"
 */
static int hide(lua_State *L)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } rows[] = {{"PIPELINING", BARID_EXT_PIPELINING},
                {"SIZE", BARID_EXT_SIZE},
                {"8BITMIME", BARID_EXT_8BITMIME},
                {"SMTPUTF8", BARID_EXT_SMTPUTF8},
                {"ENHANCEDSTATUSCODES", BARID_EXT_ENHANCEDSTATUSCODES},
                {"CHUNKING", BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME},
                {"BINARYMIME", BARID_EXT_BINARYMIME},
                {"STARTTLS", BARID_EXT_STARTTLS},
                {"AUTH", BARID_EXT_AUTH},
                {"LIMITS", BARID_EXT_LIMITS},
                {"PRDR", BARID_EXT_PRDR},
                {"DSN", BARID_EXT_DSN},
                {"XCLIENT", BARID_EXT_XCLIENT},
                {"VRFY", BARID_EXT_VRFY},
                {"HELP", BARID_EXT_HELP}};
    struct thread *t = engine_running(L, "session:hide");

    object_check(L, 1, &session_class);
    if (t->hook->event != BARID_EVENT_HELO)
        return luaL_error(L, "session:hide can be used only in on.helo");
    for (int arg = 2; arg <= lua_gettop(L); arg++) {
        const char *name = luaL_checkstring(L, arg);
        size_t i = 0;
        while (i < sizeof(rows) / sizeof(rows[0]) && strcmp(rows[i].name, name) != 0)
            i++;
        if (i == sizeof(rows) / sizeof(rows[0]))
            return luaL_error(L, "session:hide: no such extension '%s'", name);
        t->hidden |= rows[i].bits;
    }
    return 0;
}

/*** @class session
 * One connection. Everything but `vars` is read-only. For a mail that this server made itself
 * (a report) there was none: id is "", flags are false, numbers 0, everything else nil.
 * @field {string} id 16 hexadecimal digits, the same in the log
 * @field {string} ip the client's address ("unix" for a unix socket), after PROXY and XCLIENT
 * @field {number} port the client's port, nil for a unix socket
 * @field {string} local_ip
 * @field {number} local_port
 * @field {string} listener the address as configured
 * @field {string} name the client's host name where it is known (XCLIENT), else nil: nothing is
 * looked up by default
 * @field {string} helo what the client calls itself, nil before HELO
 * @field {boolean} esmtp it said EHLO or LHLO
 * @field {string} protocol "smtp", "submission" or "lmtp"
 * @field {boolean} tls
 * @field {string} tls_version such as "TLSv1.3", nil without TLS
 * @field {string} tls_cipher
 * @field {number} tls_bits
 * @field {string} tls_sni the server name that the client asked for
 * @field {string} tls_peer subject of the verified client certificate
 * @field {string} user who is authenticated, nil = nobody
 * @field {string} mechanism such as "SCRAM-SHA-256"
 * @field {boolean} trusted the client is within networks.trusted
 * @field {number} started_at seconds since 1970
 * @field {vars} vars your own variables; they live as long as the session
 */
static const struct field fields[] = {{"id", .get = get_id},
                                      {"ip", .get = get_ip},
                                      {"port", .get = get_port},
                                      {"local_ip", .get = get_local_ip},
                                      {"local_port", .get = get_local_port},
                                      {"listener", .get = get_listener},
                                      {"name", .get = get_name},
                                      {"helo", .get = get_helo},
                                      {"esmtp", .get = get_esmtp},
                                      {"protocol", .get = get_protocol},
                                      {"tls", .get = get_tls},
                                      {"tls_version", .get = get_tls_version},
                                      {"tls_cipher", .get = get_tls_cipher},
                                      {"tls_bits", .get = get_tls_bits},
                                      {"tls_sni", .get = get_tls_sni},
                                      {"tls_peer", .get = get_tls_peer},
                                      {"user", .get = get_user},
                                      {"mechanism", .get = get_mechanism},
                                      {"trusted", .get = get_trusted},
                                      {"started_at", .get = get_started_at},
                                      {"vars", .get = get_vars},
                                      {"hide", .method = hide},
                                      {NULL}};
const struct class session_class = {.name = "session", .id = CLASS_SESSION, .fields = fields};

/* --- references -----------------------------------------------------------------------------
 */

static void make_ref(lua_State *L, struct policy_ref *ref, struct object *o)
{
    lua_pushvalue(L, -1);
    ref->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ref->object = o;
    ref->of = o->p;
}

static void drop_ref(struct engine *e, struct policy_ref *ref)
{
    struct object *o = ref->object;

    if (o == NULL)
        return;
    o->p = NULL;
    luaL_unref(e->script.L, LUA_REGISTRYINDEX, ref->ref);
    ref->object = NULL;
}

void push_session(lua_State *L, struct policy_session *s)
{
    struct object *o;

    if (s->self.object != NULL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->self.ref);
        return;
    }
    if (s->facts == NULL) {
        lua_pushnil(L); /* a mail whose session is long gone */
        return;
    }
    o = object_new(L, CLASS_SESSION, sizeof(*o), 0);
    o->p = s;
    make_ref(L, &s->self, o);
}

void push_mail(lua_State *L, struct policy_session *s, struct mail *m)
{
    struct object *o;

    if (m == NULL) {
        lua_pushnil(L);
        return;
    }
    if (s->mail.object != NULL && s->mail.of == m) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->mail.ref);
        return;
    }
    if (s->mail.object != NULL)
        mail_over(engine_of(L), s, NULL);
    o = object_new(L, CLASS_MAIL, sizeof(*o), 1);
    o->p = m;
    o->owner = s;
    make_ref(L, &s->mail, o);
}

static void room_for_rcpt(lua_State *L, struct policy_session *s, size_t index)
{
    size_t cap = s->cap_rcpts == 0 ? 4 : s->cap_rcpts;
    struct policy_ref *v;

    while (cap <= index)
        cap *= 2;
    if (cap != s->cap_rcpts) {
        v = mem_realloc(s->policy->mem, s->rcpts, cap * sizeof(*v));
        if (v == NULL)
            luaL_error(L, "not enough memory");
        s->rcpts = v;
        s->cap_rcpts = cap;
    }
    while (s->n_rcpts <= index)
        s->rcpts[s->n_rcpts++] = (struct policy_ref){0};
}

void push_rcpt(lua_State *L, struct policy_session *s, struct mail *m, struct rcpt *r)
{
    struct object *o;

    if (r == NULL) {
        lua_pushnil(L);
        return;
    }
    room_for_rcpt(L, s, r->index);
    if (s->rcpts[r->index].object != NULL && s->rcpts[r->index].of == r) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->rcpts[r->index].ref);
        return;
    }
    /* A refused candidate had this place before. */
    drop_ref(engine_of(L), &s->rcpts[r->index]);
    o = object_new(L, CLASS_RCPT, sizeof(*o), 0);
    o->p = r;
    o->owner = m;
    make_ref(L, &s->rcpts[r->index], o);
}

void push_rcpts(lua_State *L, struct policy_session *s, struct mail *m, const size_t *rcpts,
                size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_rcpt(L, s, m, m->rcpts[rcpts[i]]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

void push_about(lua_State *L, struct thread *t, int class_id, void *p)
{
    struct object *o = object_new(L, class_id, sizeof(*o), 0);

    o->p = p;
    o->owner = t;
    make_ref(L, &t->about, o);
}

void about_over(struct thread *t)
{
    drop_ref(t->engine, &t->about);
}

void mail_over(struct engine *e, struct policy_session *s, struct mail *m)
{
    if (m != NULL && s->mail.of != m)
        return;
    drop_ref(e, &s->mail);
    s->mail.of = NULL;
    for (size_t i = 0; i < s->n_rcpts; i++)
        drop_ref(e, &s->rcpts[i]);
    s->n_rcpts = 0;
}

void session_over(struct engine *e, struct policy_session *s)
{
    mail_over(e, s, NULL);
    drop_ref(e, &s->self);
}

/*
 * policy/class_hop.c: hop, the next hop of a mail before a connection to it is used, as on.relay sees and changes it. Where it is,
 * and from where, is in class_hop_where.c.
 *
 * Fields of one sort share their functions, which find the place in struct hop by the field's name: Lua has it at index 2.
 */
#include <stdio.h>

#include "base/slice.h"
#include "policy/class_hop.h"

#define CREDENTIAL_MAX    255        /* octets of a user or a password: RFC 4616 */
#define CONNECT_S_MAX     3600       /* longer than any system keeps trying */
#define BDAT_SIZE_MAX     (1u << 30) /* one is sent before an answer is waited for */
#define RATE_PERIOD_S_MAX 86400      /* what the queue counts lasts no longer */

const char *hop_field(lua_State *L)
{
    return lua_pushfstring(L, "hop.%s", lua_tostring(L, 2));
}

barid_slice hop_value(lua_State *L)
{
    if (lua_type(L, 3) != LUA_TSTRING)
        luaL_error(L, "%s: a text is expected, not a %s", hop_field(L), luaL_typename(L, 3));
    return script_slice(L, 3);
}

static int push_optional(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

/* --- our side -------------------------------------------------------------------------------
 */

static int get_helo(lua_State *L, struct object *o)
{
    return push_optional(L, hop_of(o)->helo);
}

/* It becomes part of a command line. */
static void set_helo(lua_State *L, struct object *o)
{
    barid_slice name = text_check(L, relay_of(o)->arena, hop_field(L), 255);

    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] >= 127)
            name.n = 0;
    }
    if (name.n == 0)
        luaL_error(L, "%s: a name of visible ASCII is expected", hop_field(L));
    hop_of(o)->helo = name;
}

static int get_user(lua_State *L, struct object *o)
{
    return push_optional(L, hop_of(o)->user);
}

static barid_slice credential(lua_State *L, struct object *o)
{
    barid_slice s = text_check(L, relay_of(o)->arena, hop_field(L), CREDENTIAL_MAX);

    if (s.n > 0 && memchr(s.p, '\0', s.n) != NULL)
        luaL_error(L, "%s: a NUL octet is in it", hop_field(L));
    return s;
}

static void set_user(lua_State *L, struct object *o)
{
    hop_of(o)->user = credential(L, o);
}

static int get_password(lua_State *L, struct object *o)
{
    (void)o;
    return luaL_error(L, "hop.password can be written, not read");
}

static void set_password(lua_State *L, struct object *o)
{
    hop_of(o)->password = credential(L, o);
}

/* --- choices --------------------------------------------------------------------------------
 */

static int choice_check(lua_State *L, const char *const *names)
{
    const char *text = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : NULL;
    const char *all;
    luaL_Buffer b;

    for (int i = 0; text != NULL && names[i] != NULL; i++) {
        if (strcmp(names[i], text) == 0)
            return i;
    }
    luaL_buffinit(L, &b);
    for (int i = 0; names[i] != NULL; i++) {
        luaL_addstring(&b, i > 0 ? ", " : "");
        luaL_addstring(&b, names[i]);
    }
    luaL_pushresult(&b);
    all = lua_tostring(L, -1);
    return luaL_error(L, "%s: there are %s, not '%s'", hop_field(L), all,
                      luaL_tolstring(L, 3, NULL));
}

static const char *const tls_names[] = {[HOP_TLS_OFF] = "off",
                                        [HOP_TLS_OPPORTUNISTIC] = "opportunistic",
                                        [HOP_TLS_REQUIRED] = "required",
                                        [HOP_TLS_VERIFIED] = "verified",
                                        NULL};
static int get_tls(lua_State *L, struct object *o)
{
    lua_pushstring(L, tls_names[hop_of(o)->tls]);
    return 1;
}
static void set_tls(lua_State *L, struct object *o)
{
    hop_of(o)->tls = (enum hop_tls)choice_check(L, tls_names);
}

static const char *const downgrade_names[] = {
    [HOP_CONVERT] = "convert", [HOP_REFUSE] = "refuse", NULL};
static int get_downgrade(lua_State *L, struct object *o)
{
    lua_pushstring(L, downgrade_names[hop_of(o)->downgrade]);
    return 1;
}
static void set_downgrade(lua_State *L, struct object *o)
{
    hop_of(o)->downgrade = (enum hop_downgrade)choice_check(L, downgrade_names);
}
static int get_strict(lua_State *L, struct object *o)
{
    lua_pushboolean(L, hop_of(o)->downgrade == HOP_REFUSE);
    return 1;
}
static void set_strict(lua_State *L, struct object *o)
{
    hop_of(o)->downgrade = flag_check(L, hop_field(L)) ? HOP_REFUSE : HOP_CONVERT;
}

/* --- mechanisms -----------------------------------------------------------------------------
 */

static uint32_t *mechanisms_of(lua_State *L, struct object *o)
{
    return strcmp(lua_tostring(L, 2), "mechanisms_plain") == 0 ? &hop_of(o)->mechanisms_plain
                                                               : &hop_of(o)->mechanisms_secure;
}

static int get_mechanisms(lua_State *L, struct object *o)
{
    uint32_t bits = *mechanisms_of(L, o);
    lua_Integer n = 0;

    lua_newtable(L);
    for (unsigned i = BARID_AUTH_PLAIN; i <= BARID_AUTH_SCRAM_SHA_256; i++) {
        if (bits & (UINT32_C(1) << i)) {
            lua_pushstring(L, barid_auth_mechanism_name((enum barid_auth_mechanism)i));
            lua_rawseti(L, -2, ++n);
        }
    }
    return 1;
}

static uint32_t mechanism(lua_State *L, barid_slice name)
{
    const char *text;

    for (unsigned i = BARID_AUTH_PLAIN; i <= BARID_AUTH_SCRAM_SHA_256; i++) {
        if (slice_eq_nocase(name,
                            slice_str(barid_auth_mechanism_name((enum barid_auth_mechanism)i))))
            return UINT32_C(1) << i;
    }
    script_push(L, name);
    text = lua_tostring(L, -1);
    return (uint32_t)luaL_error(L, "%s: no such mechanism '%s'", hop_field(L), text);
}

/* "PLAIN, LOGIN" or { "PLAIN", "LOGIN" }. */
static void set_mechanisms(lua_State *L, struct object *o)
{
    uint32_t bits = 0;

    if (lua_istable(L, 3)) {
        for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 3); i++) {
            lua_rawgeti(L, 3, i);
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "%s: a mechanism is a text, not a %s", hop_field(L),
                           luaL_typename(L, -1));
            bits |= mechanism(L, script_slice(L, -1));
            lua_pop(L, 1);
        }
    } else {
        barid_slice rest = hop_value(L);

        while (slice_trim(rest).n > 0) {
            size_t n = slice_find(rest, ',');
            bits |= mechanism(L, slice_trim(slice_head(rest, n)));
            rest = slice_from(rest, n < rest.n ? n + 1 : n);
        }
    }
    *mechanisms_of(L, o) = bits;
}

/* --- flags and numbers ----------------------------------------------------------------------
 */

static bool *flag_of(lua_State *L, struct object *o)
{
    struct hop *h = hop_of(o);
    const struct {
        const char *name;
        bool *at;
    } rows[] = {{"implicit_tls", &h->implicit_tls},
                {"require_auth", &h->require_auth},
                {"starttls", &h->starttls},
                {"pipelining", &h->pipelining},
                {"chunking", &h->chunking},
                {"eightbit", &h->eightbit},
                {"binary", &h->binary},
                {"smtputf8", &h->smtputf8}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, lua_tostring(L, 2)) == 0)
            return rows[i].at;
    }
    return &h->dsn;
}

static int get_flag(lua_State *L, struct object *o)
{
    lua_pushboolean(L, *flag_of(L, o));
    return 1;
}

static void set_flag(lua_State *L, struct object *o)
{
    *flag_of(L, o) = flag_check(L, hop_field(L));
}

static uint32_t *count_of(lua_State *L, struct object *o, uint64_t *low_r)
{
    const char *name = lua_tostring(L, 2);

    *low_r = strcmp(name, "max_recipients") == 0 ? 0 : 1;
    return strcmp(name, "max_connections") == 0  ? &hop_of(o)->max_connections
           : strcmp(name, "max_recipients") == 0 ? &hop_of(o)->max_rcpts
                                                 : &hop_of(o)->max_mails;
}

static int get_count(lua_State *L, struct object *o)
{
    uint64_t low;

    lua_pushinteger(L, *count_of(L, o, &low));
    return 1;
}

static void set_count(lua_State *L, struct object *o)
{
    uint64_t low;
    uint32_t *at = count_of(L, o, &low);

    *at = (uint32_t)number_check(L, hop_field(L), low, UINT32_MAX);
}

static int get_chunk(lua_State *L, struct object *o)
{
    lua_pushinteger(L, (lua_Integer)hop_of(o)->chunk);
    return 1;
}

static void set_chunk(lua_State *L, struct object *o)
{
    hop_of(o)->chunk = (size_t)number_check(L, hop_field(L), 1, BDAT_SIZE_MAX);
}

static int get_connect_timeout(lua_State *L, struct object *o)
{
    lua_pushnumber(L, hop_of(o)->connect_ms / 1000.0);
    return 1;
}

static void set_connect_timeout(lua_State *L, struct object *o)
{
    lua_Number s = lua_type(L, 3) == LUA_TNUMBER ? lua_tonumber(L, 3) : 0;

    if (!(s >= 0.001 && s <= CONNECT_S_MAX))
        luaL_error(L, "%s: seconds from 0.001 to %d are expected", hop_field(L), CONNECT_S_MAX);
    hop_of(o)->connect_ms = (uint32_t)(s * 1000 + 0.5);
}

/* "100/1m": mails in a time. */
static int get_rate(lua_State *L, struct object *o)
{
    const struct hop *h = hop_of(o);
    uint32_t s = h->rate_s;
    char text[40];

    if (h->rate == 0) {
        lua_pushnil(L);
        return 1;
    }
    snprintf(text, sizeof(text), "%u/%u%c", (unsigned)h->rate,
             (unsigned)(s % 3600 == 0 ? s / 3600
                        : s % 60 == 0 ? s / 60
                                      : s),
             s % 3600 == 0 ? 'h'
             : s % 60 == 0 ? 'm'
                           : 's');
    lua_pushstring(L, text);
    return 1;
}

static bool rate_read(lua_State *L, barid_slice text, uint64_t *rate_r, int64_t *us_r)
{
    size_t n = slice_find(text, '/');
    barid_slice period;

    lua_pushliteral(L, "+");
    script_push(L, slice_trim(slice_from(text, n < text.n ? n + 1 : n)));
    lua_concat(L, 2);
    period = script_slice(L, -1);
    return slice_u64(slice_trim(slice_head(text, n)), UINT32_MAX, rate_r) == 0 && *rate_r > 0 &&
           delay_parse(period, 0, us_r) == 0 && *us_r >= 1000000 &&
           *us_r <= RATE_PERIOD_S_MAX * INT64_C(1000000);
}

static void set_rate(lua_State *L, struct object *o)
{
    uint64_t rate = 0;
    int64_t us = 0;

    if (!lua_isnil(L, 3) && !rate_read(L, hop_value(L), &rate, &us))
        luaL_error(L, "%s: '%s' is no rate, write \"100/1m\": mails in at most 24h",
                   hop_field(L), lua_tostring(L, 3));
    hop_of(o)->rate = (uint32_t)rate;
    hop_of(o)->rate_s = (uint32_t)(us / 1000000);
}

static int get_attempts(lua_State *L, struct object *o)
{
    lua_pushinteger(L, relay_of(o)->attempts);
    return 1;
}

static int get_recipients(lua_State *L, struct object *o)
{
    lua_pushinteger(L, (lua_Integer)relay_of(o)->n_rcpts);
    return 1;
}

/*** @class hop
 * A next hop before a connection to it is used: `on.relay`. Fields may be written where not said
 * otherwise; what is written goes for this attempt.
 * @field {string} name domain, host or address in brackets, nil for a unix socket; written: a
 * domain, whose mail exchangers are used
 * @field {string} host the same; written: that host itself, or an IP address
 * @field {string} ip where the next hop is an address, else nil; written: that address
 * @field {number} port 1 to 65535; nil for a unix socket
 * @field {string} protocol "smtp" or "lmtp" (read-only)
 * @field {string} text such as "[mail.example.com]:587" (read-only)
 * @field {boolean} is_host the host itself, without a look for mail exchangers
 * @field {boolean} mx the opposite
 * @field {string} helo our name
 * @field {string|table} source IP address of our side, or one IPv4 and one IPv6; nil = the
 * system's choice
 * @field {string} tls "off", "opportunistic" (where offered), "required" (any certificate),
 * "verified" (one that names the host)
 * @field {boolean} implicit_tls the connection begins with a handshake
 * @field {string} user nil = no AUTH
 * @field {string} password can be written only
 * @field {boolean} require_auth no mail where the server does not let us authenticate
 * @field {list} mechanisms_plain for AUTH without TLS: "PLAIN", "LOGIN", "CRAM-MD5",
 * "SCRAM-SHA-1", "SCRAM-SHA-256"; written: a list or a text with commas
 * @field {list} mechanisms_secure for AUTH with TLS
 * @field {boolean} starttls STARTTLS may be used where offered; likewise the next six
 * @field {boolean} pipelining
 * @field {boolean} chunking
 * @field {boolean} eightbit
 * @field {boolean} binary
 * @field {boolean} smtputf8
 * @field {boolean} dsn
 * @field {string} downgrade a body that the server has no extension for: "convert" or "refuse"
 * @field {boolean} strict_7bit true is downgrade = "refuse"
 * @field {number} chunk octets of one BDAT, up to 1 GiB
 * @field {number} connect_timeout seconds for one address, up to 3600
 * @field {number} max_connections to this next hop, at once (two domains are two, also behind one server)
 * @field {number} max_recipients in one transaction; 0 = no limit
 * @field {number} max_mails in one connection
 * @field {string} rate such as "100/1m": mails in a time of at most 24h; nil = no limit
 * @field {number} attempts before this one (read-only)
 * @field {number} recipients how many this mail has for this next hop (read-only)
 */
static const struct field fields[] = {
    {"name", .get = hop_get_name, .set = hop_set_name},
    {"host", .get = hop_get_name, .set = hop_set_host},
    {"ip", .get = hop_get_ip, .set = hop_set_ip},
    {"port", .get = hop_get_port, .set = hop_set_port},
    {"protocol", .get = hop_get_protocol},
    {"text", .get = hop_get_text},
    {"is_host", .get = hop_get_is_host, .set = hop_set_is_host},
    {"mx", .get = hop_get_mx, .set = hop_set_mx},
    {"helo", .get = get_helo, .set = set_helo},
    {"source", .get = hop_get_source, .set = hop_set_source},
    {"tls", .get = get_tls, .set = set_tls},
    {"implicit_tls", .get = get_flag, .set = set_flag},
    {"user", .get = get_user, .set = set_user},
    {"password", .get = get_password, .set = set_password},
    {"require_auth", .get = get_flag, .set = set_flag},
    {"mechanisms_plain", .get = get_mechanisms, .set = set_mechanisms},
    {"mechanisms_secure", .get = get_mechanisms, .set = set_mechanisms},
    {"starttls", .get = get_flag, .set = set_flag},
    {"pipelining", .get = get_flag, .set = set_flag},
    {"chunking", .get = get_flag, .set = set_flag},
    {"eightbit", .get = get_flag, .set = set_flag},
    {"binary", .get = get_flag, .set = set_flag},
    {"smtputf8", .get = get_flag, .set = set_flag},
    {"dsn", .get = get_flag, .set = set_flag},
    {"downgrade", .get = get_downgrade, .set = set_downgrade},
    {"strict_7bit", .get = get_strict, .set = set_strict},
    {"chunk", .get = get_chunk, .set = set_chunk},
    {"connect_timeout", .get = get_connect_timeout, .set = set_connect_timeout},
    {"max_connections", .get = get_count, .set = set_count},
    {"max_recipients", .get = get_count, .set = set_count},
    {"max_mails", .get = get_count, .set = set_count},
    {"rate", .get = get_rate, .set = set_rate},
    {"attempts", .get = get_attempts},
    {"recipients", .get = get_recipients},
    {NULL}};
const struct class hop_class = {.name = "hop", .id = CLASS_HOP, .fields = fields};

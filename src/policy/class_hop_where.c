/*
 * policy/class_hop_where.c: the fields of hop that say where it is and from where we connect.
 */
#include "base/slice.h"
#include "policy/class_hop.h"
#include "smtp/literal.h"

static bool is_literal(const struct hop *h)
{
    return h->name.n > 0 && h->name.p[0] == '[';
}

int hop_get_name(lua_State *L, struct object *o)
{
    if (hop_of(o)->name.n > 0)
        script_push(L, hop_of(o)->name);
    else
        lua_pushnil(L);
    return 1;
}

/* "[IPv6:2001:db8::1]" without what marks it. */
int hop_get_ip(lua_State *L, struct object *o)
{
    barid_slice name = hop_of(o)->name;

    if (!is_literal(hop_of(o))) {
        lua_pushnil(L);
        return 1;
    }
    name = slice_from(slice_head(name, name.n - 1), 1);
    if (slice_starts_nocase(name, BARID_S("IPv6:")))
        name = slice_from(name, 5);
    script_push(L, name);
    return 1;
}

/* Another place at the same port and protocol; text as hop_parse reads it, made of what is written. */
static void target(lua_State *L, struct object *o, const char *text, const char *kind)
{
    struct hop where, *h = hop_of(o);
    struct err err = {0};
    int rc = hop_parse(&where, relay_of(o)->arena, slice_str(text), &err);

    if (rc == BARID_ESYNTAX)
        luaL_error(L, "%s: '%s' is no %s", hop_field(L), lua_tostring(L, 3), kind);
    check_rc(L, rc, "hop");
    h->name = where.name;
    h->unix_path = (barid_slice){0};
    h->is_host = where.is_host;
}

/* False = it is no address. */
static bool target_ip(lua_State *L, struct object *o)
{
    barid_slice text = hop_value(L);
    uint8_t addr[16];
    bool is_v6 = literal_ipv6(text, false, addr);

    if (!is_v6 && !literal_ipv4(text, addr))
        return false;
    target(L, o, lua_pushfstring(L, is_v6 ? "[IPv6:%s]" : "[%s]", text.p), "IP address");
    return true;
}

void hop_set_ip(lua_State *L, struct object *o)
{
    if (!target_ip(L, o))
        luaL_error(L, "%s: '%s' is no IP address", hop_field(L), lua_tostring(L, 3));
}

/* What is written without what hop_parse reads beside a name. */
static const char *bare(lua_State *L, const char *kind)
{
    barid_slice text = hop_value(L);

    if (strlen(text.p) != text.n || strpbrk(text.p, "[]:") != NULL)
        luaL_error(L, "%s: '%s' is no %s", hop_field(L), text.p, kind);
    return text.p;
}

void hop_set_host(lua_State *L, struct object *o)
{
    if (!target_ip(L, o))
        target(L, o, lua_pushfstring(L, "[%s]", bare(L, "host name")), "host name");
}

void hop_set_name(lua_State *L, struct object *o)
{
    target(L, o, bare(L, "domain"), "domain");
}

int hop_get_port(lua_State *L, struct object *o)
{
    if (hop_of(o)->unix_path.n > 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, hop_of(o)->port);
    return 1;
}

void hop_set_port(lua_State *L, struct object *o)
{
    uint64_t port = number_check(L, hop_field(L), 1, 65535);

    if (hop_of(o)->unix_path.n > 0)
        luaL_error(L, "%s: a unix socket has no port", hop_field(L));
    hop_of(o)->port = (uint16_t)port;
}

int hop_get_is_host(lua_State *L, struct object *o)
{
    lua_pushboolean(L, hop_of(o)->is_host);
    return 1;
}

int hop_get_mx(lua_State *L, struct object *o)
{
    lua_pushboolean(L, !hop_of(o)->is_host);
    return 1;
}

static void put_is_host(lua_State *L, struct hop *h, bool is_host)
{
    if (!is_host && (is_literal(h) || h->unix_path.n > 0))
        luaL_error(L, "%s: an address has no mail exchangers", hop_field(L));
    h->is_host = is_host;
}

void hop_set_is_host(lua_State *L, struct object *o)
{
    put_is_host(L, hop_of(o), flag_check(L, hop_field(L)));
}

void hop_set_mx(lua_State *L, struct object *o)
{
    put_is_host(L, hop_of(o), !flag_check(L, hop_field(L)));
}

int hop_get_protocol(lua_State *L, struct object *o)
{
    lua_pushstring(L, hop_of(o)->protocol == HOP_LMTP ? "lmtp" : "smtp");
    return 1;
}

int hop_get_text(lua_State *L, struct object *o)
{
    char text[HOP_TEXT_SIZE];

    lua_pushlstring(L, text, hop_text(hop_of(o), text));
    return 1;
}

int hop_get_source(lua_State *L, struct object *o)
{
    const barid_endpoint *both[] = {&hop_of(o)->source4, &hop_of(o)->source6};
    char text[ENDPOINT_TEXT_SIZE];
    lua_Integer n = 0;

    lua_newtable(L);
    for (int i = 0; i < 2; i++) {
        if (both[i]->family == BARID_FAMILY_NONE)
            continue;
        endpoint_text(both[i], text);
        lua_pushstring(L, text);
        lua_rawseti(L, -2, ++n);
    }
    if (n == 0)
        lua_pushnil(L);
    else if (n == 1)
        lua_rawgeti(L, -1, 1);
    return 1;
}

/* The text at index. */
static void take_source(lua_State *L, int index, barid_endpoint *v4, barid_endpoint *v6)
{
    barid_slice text =
        lua_type(L, index) == LUA_TSTRING ? script_slice(L, index) : (barid_slice){0};
    barid_endpoint e = {0};

    if (literal_ipv4(text, e.addr)) {
        e.family = BARID_FAMILY_IPV4;
        *v4 = e;
    } else if (literal_ipv6(text, false, e.addr)) {
        e.family = BARID_FAMILY_IPV6;
        *v6 = e;
    } else {
        luaL_error(L, "%s: '%s' is no IP address", hop_field(L),
                   luaL_tolstring(L, index, NULL));
    }
}

void hop_set_source(lua_State *L, struct object *o)
{
    barid_endpoint v4 = {0}, v6 = {0};

    if (lua_istable(L, 3)) {
        if (lua_rawlen(L, 3) > 2)
            luaL_error(L, "%s: at most one IPv4 and one IPv6 address", hop_field(L));
        for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 3); i++) {
            lua_rawgeti(L, 3, i);
            take_source(L, lua_gettop(L), &v4, &v6);
        }
    } else if (!lua_isnil(L, 3) && hop_value(L).n > 0) {
        take_source(L, 3, &v4, &v6);
    }
    hop_of(o)->source4 = v4;
    hop_of(o)->source6 = v6;
}

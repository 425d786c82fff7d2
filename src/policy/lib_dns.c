/*
 * policy/lib_dns.c: dns.a, aaaa, mx, ptr, txt: lookups that read as if they blocked. The hook
 * waits; only its session does.
 */
#include <arpa/inet.h>

#include "base/slice.h"
#include "io/dns.h"
#include "policy/engine.h"

static void push_record(lua_State *L, const struct dns_record *r)
{
    char text[INET6_ADDRSTRLEN];

    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        inet_ntop(r->type == DNS_A ? AF_INET : AF_INET6, r->addr, text, sizeof(text));
        lua_pushstring(L, text);
        return;
    case DNS_MX:
        lua_createtable(L, 0, 2);
        script_push(L, r->text);
        lua_setfield(L, -2, "host");
        lua_pushinteger(L, r->preference);
        lua_setfield(L, -2, "preference");
        return;
    default:
        script_push(L, r->text);
    }
}

/* Runs in the coroutine, while the answer is there. A name without records is an empty list; a
 * failure is nil and why. */
static int answered(lua_State *L, int status, lua_KContext ctx)
{
    const struct dns_answer *a = ((struct thread *)ctx)->result;

    (void)status;
    if (a->status != DNS_OK && a->status != DNS_NODATA && a->status != DNS_NXDOMAIN) {
        lua_pushnil(L);
        lua_pushstring(L, dns_status_name(a->status));
        return 2;
    }
    lua_createtable(L, (int)a->n, 0);
    for (size_t i = 0; a->status == DNS_OK && i < a->n; i++) {
        push_record(L, &a->records[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (a->status == DNS_NXDOMAIN) {
        lua_pushliteral(L, "nxdomain");
        return 2;
    }
    return 1;
}

static void on_answer(void *user, const struct dns_answer *answer)
{
    engine_resume(user, answer);
}

static void cancel(struct thread *t)
{
    struct dns_query *q = t->waits_for;

    dns_cancel(&q);
}

static int ask(lua_State *L, const char *what, barid_slice name, enum dns_type type)
{
    struct thread *t = engine_running(L, what);
    struct dns_query *q;
    struct dns *dns = engine_of(L)->services.dns;

    engine_can_wait(L, what);
    if (dns == NULL)
        return luaL_error(L, "%s: there is no DNS here", what);
    if (dns_ask(dns, name, type, on_answer, t, &q) < 0)
        return luaL_error(L, "not enough memory");
    t->cancel = cancel;
    t->waits_for = q;
    return engine_wait(L, t, answered);
}

/*** @function dns.a(name)
 * IPv4 addresses of a name. An empty list when there are none (second value "nxdomain" when
 * there is no such name); nil and the reason ("timeout", "servfail", ...) when the question
 * failed.
 * @param {string} name
 * @return {list} of strings
 */
static int dns_lua_a(lua_State *L)
{
    return ask(L, "dns.a", script_check_slice(L, 1), DNS_A);
}

/*** @function dns.aaaa(name)
 * IPv6 addresses of a name, as dns.a.
 * @param {string} name
 * @return {list} of strings
 */
static int dns_lua_aaaa(lua_State *L)
{
    return ask(L, "dns.aaaa", script_check_slice(L, 1), DNS_AAAA);
}

/*** @function dns.mx(name)
 * Mail exchangers of a domain, as dns.a.
 * @param {string} name
 * @return {list} of { host = ..., preference = ... }
 */
static int dns_lua_mx(lua_State *L)
{
    return ask(L, "dns.mx", script_check_slice(L, 1), DNS_MX);
}

/*** @function dns.txt(name)
 * Text records of a name, each joined to one string, as dns.a.
 * @param {string} name
 * @return {list} of strings
 */
static int dns_lua_txt(lua_State *L)
{
    return ask(L, "dns.txt", script_check_slice(L, 1), DNS_TXT);
}

/*** @function dns.ptr(address)
 * Names of an IP address, as dns.a.
 * @param {string} address such as session.ip, or a name beneath in-addr.arpa
 * @return {list} of strings
 */
static int dns_lua_ptr(lua_State *L)
{
    uint8_t addr[16];
    char name[DNS_REVERSE_SIZE];
    const char *text = luaL_checkstring(L, 1);

    if (inet_pton(AF_INET, text, addr) == 1)
        dns_reverse_name(addr, false, NULL, name);
    else if (inet_pton(AF_INET6, text, addr) == 1)
        dns_reverse_name(addr, true, NULL, name);
    else
        return ask(L, "dns.ptr", script_slice(L, 1), DNS_PTR);
    return ask(L, "dns.ptr", slice_str(name), DNS_PTR);
}

void dns_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"a", dns_lua_a},     {"aaaa", dns_lua_aaaa},
                                         {"mx", dns_lua_mx},   {"txt", dns_lua_txt},
                                         {"ptr", dns_lua_ptr}, {NULL, NULL}};
    luaL_newlib(L, functions);
    script_proxy(L, "dns");
    lua_setfield(L, -2, "dns");
}

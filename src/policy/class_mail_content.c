/*
 * policy/class_mail_content.c: header fields and body of a mail.
 */
#include "base/mem.h"
#include "base/slice.h"
#include "policy/class_mail.h"
#include "policy/engine.h"

static struct mail *with_header(lua_State *L, const char *what)
{
    struct mail *m = mail_check(L, 1);

    if (!m->has_header)
        luaL_error(L, "%s: the header is not in yet, ask from on.headers on", what);
    return m;
}

/* A parsed tree shows the mail as it was: a change drops it. */
static struct mail *to_edit(lua_State *L, const char *what)
{
    struct mail *m = with_header(L, what);

    mail_check_writable(L, 1, what);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, 1);
    return m;
}

static void push_value(lua_State *L, const struct mail *m, size_t i)
{
    barid_slice value;

    check_rc(L, header_value(&m->header, i, &engine_of(L)->scratch, &value), "header");
    script_push(L, value);
}

/*** @method mail:header(name, [n])
 * The value of a header field, unfolded and trimmed, or nil. Names match without case.
 * @param {string} name
 * @param {number} n which of several, 1 by default
 * @return {string}
 */
int mail_header(lua_State *L)
{
    struct mail *m = with_header(L, "mail:header");
    lua_Integer n = luaL_optinteger(L, 3, 1);
    size_t i;

    luaL_argcheck(L, n >= 1, 3, "counts from 1");
    i = header_find(&m->header, script_check_slice(L, 2), (size_t)n - 1);
    if (i == SIZE_MAX)
        lua_pushnil(L);
    else
        push_value(L, m, i);
    return 1;
}

/*** @method mail:headers([name])
 * All header fields in order, or all of that name.
 * @param {string} name
 * @return {list} of { name = ..., value = ... }
 */
int mail_headers(lua_State *L)
{
    struct mail *m = with_header(L, "mail:headers");
    barid_slice name = lua_isnoneornil(L, 2) ? (barid_slice){0} : script_check_slice(L, 2);
    lua_Integer n = 0;

    lua_createtable(L, name.n > 0 ? 1 : (int)m->header.n, 0);
    for (size_t i = 0; i < m->header.n; i++) {
        const struct header_field *f = &m->header.f[i];
        if (f->deleted || f->name.n == 0 || (name.n > 0 && !slice_eq_nocase(f->name, name)))
            continue;
        lua_createtable(L, 0, 2);
        script_push(L, f->name);
        lua_setfield(L, -2, "name");
        push_value(L, m, i);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static void check_field(lua_State *L, int rc, const char *what)
{
    if (rc == BARID_ESYNTAX)
        luaL_error(L, "%s: '%s' is no field name, or its value holds CR, LF or NUL", what,
                   lua_tostring(L, 2));
    check_rc(L, rc, what);
}

/*** @method mail:add_header(name, value, [position])
 * Adds a field, folded where it is long.
 * @param {string} name
 * @param {string} value no line breaks
 * @param {number} position 1 = top; at the end by default
 */
int mail_add_header(lua_State *L)
{
    struct mail *m = to_edit(L, "mail:add_header");
    size_t at = SIZE_MAX;

    if (!lua_isnoneornil(L, 4)) {
        lua_Integer position = luaL_checkinteger(L, 4);
        luaL_argcheck(L, position >= 1, 4, "counts from 1");
        at = (size_t)position - 1;
    }
    check_field(L,
                header_add(&m->header, script_check_slice(L, 2), script_check_slice(L, 3), at),
                "mail:add_header");
    return 0;
}

/*** @method mail:set_header(name, value)
 * Replaces the first field of that name and removes the others, or adds it.
 * @param {string} name
 * @param {string} value no line breaks
 */
int mail_set_header_field(lua_State *L)
{
    struct mail *m = to_edit(L, "mail:set_header");

    check_field(L, header_set(&m->header, script_check_slice(L, 2), script_check_slice(L, 3)),
                "mail:set_header");
    return 0;
}

/*** @method mail:remove_header(name)
 * Removes all fields of that name.
 * @param {string} name
 * @return {number} how many there were
 */
int mail_remove_header(lua_State *L)
{
    struct mail *m = to_edit(L, "mail:remove_header");

    lua_pushinteger(L, (lua_Integer)header_remove(&m->header, script_check_slice(L, 2)));
    return 1;
}

/* --- body -----------------------------------------------------------------------------------
 */

/*** @method mail:body([offset, [count]])
 * The body, or a part of it: what follows the blank line. From `on.message` on.
 * @param {number} offset octets to skip, 0 by default
 * @param {number} count octets at most, all by default
 * @return {string}
 */
int mail_body(lua_State *L)
{
    struct mail *m = mail_check(L, 1);
    uint64_t size, want;
    lua_Integer offset = luaL_optinteger(L, 2, 0),
                count = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    luaL_Buffer b;
    char *p;
    int64_t n = 0;

    if (m->body.read == NULL)
        return luaL_error(L, "mail:body: the body is not in yet, ask from on.message on");
    luaL_argcheck(L, offset >= 0, 2, "must not be negative");
    luaL_argcheck(L, count >= 0, 3, "must not be negative");
    size = m->body.size(m->body.user);
    want = (uint64_t)offset < size ? size - (uint64_t)offset : 0;
    if ((uint64_t)count < want)
        want = (uint64_t)count;
    p = luaL_buffinitsize(L, &b, want);
    for (uint64_t got = 0; got < want; got += (uint64_t)n) {
        n = m->body.read(m->body.user, (uint64_t)offset + got, p + got, want - got);
        if (n <= 0) {
            want = got;
            break;
        }
    }
    luaL_pushresultsize(&b, want);
    check_rc(L, n < 0 ? (int)n : 0, "mail:body");
    return 1;
}

/*** @method mail:replace_body(text)
 * Another body. The header stays as it is: keep it true yourself (Content-Type,
 * Content-Transfer-Encoding).
 * @param {string} text lines end with CR LF
 */
int mail_replace_body(lua_State *L)
{
    struct mail *m = to_edit(L, "mail:replace_body");
    barid_slice text = script_check_slice(L, 2);

    if (m->body.replace == NULL)
        return luaL_error(
            L, "mail:replace_body: the body is not in yet, or cannot be replaced here");
    for (size_t i = 0; i < text.n; i++) {
        bool cr = text.p[i] == '\r', lf = text.p[i] == '\n';
        /* What goes onward must not be ambiguous: a bare CR or LF is how mails are smuggled. */
        if ((cr && (i + 1 == text.n || text.p[i + 1] != '\n')) ||
            (lf && (i == 0 || text.p[i - 1] != '\r')))
            return luaL_error(
                L, "mail:replace_body: bare CR or LF at octet %d: lines end with \"\\r\\n\"",
                (int)i + 1);
    }
    check_rc(L, m->body.replace(m->body.user, text), "mail:replace_body");
    return 0;
}

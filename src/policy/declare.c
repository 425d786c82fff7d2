/*
 * policy/declare.c: reading one declaration: types, ranges, names. What exists is in
 * declare_table.c.
 */
#include "policy/declare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/slice.h"

/* A file with more mistakes than this is not a configuration. */
#define MISTAKES_MAX 200

/* --- mistakes -------------------------------------------------------------------------------
 */

static int line_now(const struct declare *d)
{
    lua_Debug ar;

    if (d->line > 0)
        return d->line;
    for (int level = 0; lua_getstack(d->L, level, &ar); level++) {
        if (lua_getinfo(d->L, "l", &ar) && ar.currentline > 0)
            return ar.currentline;
    }
    return 0;
}

static struct mistake *add(struct declare *d, int line, bool warning, const char *text)
{
    struct mistake *m = arena_alloc(&d->scratch, sizeof(*m));

    if (m == NULL || text == NULL) {
        d->nomem = true;
        return NULL;
    }
    if (d->n_mistakes >= MISTAKES_MAX)
        return m; /* counted by nobody, shown to nobody: 200 lines are enough to begin with */
    *m = (struct mistake){.next = d->mistakes,
                          .text = text,
                          .line = line,
                          .order = d->n_mistakes++,
                          .warning = warning};
    d->mistakes = m;
    return m;
}

BARID_PRINTF(4, 0)
static struct mistake *add_fmt(struct declare *d, int line, bool warning, const char *fmt,
                               va_list args)
{
    char text[512], where[SCRIPT_WHERE_SIZE];

    vsnprintf(text, sizeof(text), fmt, args);
    script_where(d->L, 0, where); /* it may stand in a module */
    if (d->line > 0 || where[0] == '\0')
        snprintf(where, sizeof(where), "%.200s:%d", d->chunk, line);
    return add(d, line, warning,
               arena_fmt(&d->scratch, "%s: %s%s", where, warning ? "warning: " : "", text));
}

void declare_mistake(struct declare *d, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_fmt(d, line_now(d), false, fmt, args);
    va_end(args);
}

void declare_warning(struct declare *d, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_fmt(d, line_now(d), true, fmt, args);
    va_end(args);
}

void declare_raw(struct declare *d, int line, const char *text)
{
    add(d, line, false, arena_strdup(&d->scratch, slice_str(text)));
}

/* --- values ---------------------------------------------------------------------------------
 */

void *declare_alloc(struct declare *d, size_t size)
{
    void *p = arena_alloc(&d->config->arena, size);

    if (p == NULL)
        d->nomem = true;
    return p;
}

/* "listen.limits.line" for messages. */
static const char *full_name(struct declare *d, const char *name)
{
    const char *s =
        d->path != NULL && name != NULL ? arena_fmt(&d->scratch, "%s.%s", d->path, name) : name;

    return s != NULL ? s : d->path;
}

static void expected(struct declare *d, const char *name, const char *what)
{
    lua_State *L = d->L;
    const char *type = luaL_typename(L, -1);

    lua_pushvalue(L, -1); /* lua_tostring changes what it reads */
    if (lua_isstring(L, -1))
        declare_mistake(d, "%s: %s is expected, got %s '%s'", full_name(d, name), what, type,
                        lua_tostring(L, -1));
    else
        declare_mistake(d, "%s: %s is expected, got %s", full_name(d, name), what, type);
    lua_pop(L, 1);
}

const char *declare_string(struct declare *d, const char *what)
{
    barid_slice s;
    char *copy;

    if (lua_type(d->L, -1) != LUA_TSTRING) {
        expected(d, what, "a string");
        return NULL;
    }
    s = script_slice(d->L, -1);
    if (memchr(s.p, 0, s.n) != NULL) {
        declare_mistake(d, "%s: the string holds a NUL", full_name(d, what));
        return NULL;
    }
    copy = arena_strdup(&d->config->arena, s);
    if (copy == NULL)
        d->nomem = true;
    return copy;
}

const char *declare_path(struct declare *d, const char *path)
{
    char *whole = path[0] == '/' ? arena_strdup(&d->config->arena, slice_str(path))
                                 : arena_fmt(&d->config->arena, "%s/%s", d->dir, path);
    if (whole == NULL)
        d->nomem = true;
    return whole;
}

bool declare_readable(struct declare *d, const char *what, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        int e = errno;
        const char *why = e == EACCES && d->report != NULL && d->report->why != NULL
                              ? d->report->why(d->report->user, path)
                              : NULL;

        declare_mistake(d, "%s: cannot read %s: %s", full_name(d, what), path,
                        why != NULL ? why : strerror(e));
        return false;
    }
    close(fd);
    return true;
}

const char **declare_strings(struct declare *d, const char *what, size_t *n_r)
{
    lua_State *L = d->L;
    const char **v;
    size_t n;

    *n_r = 0;
    if (lua_type(L, -1) == LUA_TSTRING) {
        v = declare_alloc(d, sizeof(*v));
        if (v != NULL && (v[0] = declare_string(d, what)) != NULL)
            *n_r = 1;
        return v;
    }
    if (!lua_istable(L, -1)) {
        expected(d, what, "a string or a list of strings");
        return NULL;
    }
    n = lua_rawlen(L, -1);
    v = declare_alloc(d, (n + 1) * sizeof(*v));
    for (size_t i = 1; v != NULL && i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        v[*n_r] = declare_string(d, what);
        *n_r += v[*n_r] != NULL;
        lua_pop(L, 1);
    }
    return v;
}

/* "10K", "64M", "30s": a number and a unit. */
static bool with_unit(barid_slice s, const char *units, const int64_t *factors,
                      int64_t *value_r)
{
    const char *unit;
    uint64_t n;

    if (s.n < 2 || (unit = strchr(units, s.p[s.n - 1])) == NULL)
        return false;
    if (slice_u64(slice_head(s, s.n - 1), INT64_MAX, &n) < 0)
        return false;
    return !__builtin_mul_overflow((int64_t)n, factors[unit - units], value_r);
}

static bool number(struct declare *d, const struct key *key, int64_t *value_r)
{
    static const int64_t sizes[] = {1024, 1024, 1048576, 1073741824},
                         seconds[] = {1, 60, 3600, 86400};
    lua_State *L = d->L;
    int exact;

    if (lua_type(L, -1) == LUA_TNUMBER) {
        *value_r = lua_tointegerx(L, -1, &exact);
        return exact != 0;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return false;
    if (key->type == KEY_NUMBER)
        return with_unit(script_slice(L, -1), "kKMG", sizes, value_r);
    return with_unit(script_slice(L, -1), "smhd", seconds, value_r) &&
           (key->type != KEY_MS || !__builtin_mul_overflow(*value_r, (int64_t)1000, value_r));
}

static void store(const struct key *key, void *base, int64_t value)
{
    char *field = (char *)base + key->offset;

    switch (key->size) {
    case 1:
        *(uint8_t *)field = (uint8_t)value;
        break;
    case 4:
        *(uint32_t *)field = (uint32_t)value;
        break;
    default:
        *(uint64_t *)field = (uint64_t)value;
    }
}

static void read_number(struct declare *d, const struct key *key, void *base)
{
    static const char *const what[] = {
        [KEY_NUMBER] = "a whole number (or \"10K\", \"64M\", \"1G\")",
        [KEY_MS] = "milliseconds (or \"30s\", \"5m\", \"8h\", \"1d\")",
        [KEY_SECONDS] = "seconds (or \"30s\", \"5m\", \"8h\", \"1d\")"};
    int64_t value;

    if (!number(d, key, &value))
        expected(d, key->name, what[key->type]);
    else if (value < key->min || value > key->max)
        declare_mistake(d, "%s: %lld is out of range, %lld to %lld is allowed",
                        full_name(d, key->name), (long long)value, (long long)key->min,
                        (long long)key->max);
    else
        store(key, base, value);
}

static void read_choice(struct declare *d, const struct key *key, void *base)
{
    char list[200] = "";
    const char *word, *near;
    size_t n = 0;

    if ((word = declare_string(d, key->name)) == NULL)
        return;
    for (int64_t i = 0; key->choices[i] != NULL; i++) {
        if (strcmp(word, key->choices[i]) == 0) {
            store(key, base, i);
            return;
        }
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s\"%s\"", i > 0 ? ", " : "",
                              key->choices[i]);
        if (n >= sizeof(list))
            break;
    }
    near = script_nearest(word, key->choices);
    if (near != NULL)
        declare_mistake(d, "%s: no such choice \"%s\", did you mean \"%s\"?",
                        full_name(d, key->name), word, near);
    else
        declare_mistake(d, "%s: no such choice \"%s\", one of %s is expected",
                        full_name(d, key->name), word, list);
}

static void read_path(struct declare *d, const struct key *key, void *base)
{
    const char *path = declare_string(d, key->name);

    if (path == NULL)
        return;
    if (path[0] == '\0') {
        declare_mistake(d, "%s: the path is empty", full_name(d, key->name));
        return;
    }
    path = declare_path(d, path);
    if (path != NULL && (key->type != KEY_FILE || declare_readable(d, key->name, path)))
        *(const char **)((char *)base + key->offset) = path;
}

static void read_bool(struct declare *d, const struct key *key, void *base)
{
    if (lua_isboolean(d->L, -1))
        *(bool *)((char *)base + key->offset) = lua_toboolean(d->L, -1);
    else
        expected(d, key->name, "true or false");
}

static void read_string(struct declare *d, const struct key *key, void *base)
{
    const char *s = declare_string(d, key->name);

    if (s != NULL)
        *(const char **)((char *)base + key->offset) = s;
}

struct string_list {
    const char **v;
    size_t n;
};

static void read_strings(struct declare *d, const struct key *key, void *base)
{
    struct string_list *list = (struct string_list *)((char *)base + key->offset);
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    if (n > 0)
        *list = (struct string_list){v, n};
}

static void read_custom(struct declare *d, const struct key *key, void *base)
{
    key->read(d, key, base);
}

void declare_value(struct declare *d, const struct key *key, void *base)
{
    static void (*const read[])(struct declare *, const struct key *, void *) = {
        [KEY_BOOL] = read_bool,      [KEY_NUMBER] = read_number, [KEY_MS] = read_number,
        [KEY_SECONDS] = read_number, [KEY_STRING] = read_string, [KEY_CHOICE] = read_choice,
        [KEY_FILE] = read_path,      [KEY_PATH] = read_path,     [KEY_STRINGS] = read_strings,
        [KEY_CUSTOM] = read_custom,
    };
    int top = lua_gettop(d->L);

    read[key->type](d, key, base);
    lua_settop(d->L, top);
}

/* --- tables ---------------------------------------------------------------------------------
 */

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (; keys->name != NULL; keys++) {
        if (strcmp(keys->name, name) == 0)
            return keys;
    }
    return NULL;
}

static void unknown_key(struct declare *d, const struct key *keys, const char *name)
{
    const char *names[64];
    char list[600] = "";
    const char *near;
    size_t n = 0, len = 0;

    for (; keys[n].name != NULL && n < 63; n++) {
        names[n] = keys[n].name;
        if (len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", n > 0 ? ", " : "",
                                    names[n]);
    }
    names[n] = NULL;
    near = script_nearest(name, names);
    if (near != NULL)
        declare_mistake(d, "%s: unknown key '%s', did you mean '%s'?", d->path, name, near);
    else
        declare_mistake(d, "%s: unknown key '%s', there are %s", d->path, name, list);
}

void declare_keys(struct declare *d, const struct key *keys, void *base, bool positional)
{
    lua_State *L = d->L;
    const struct key *key;

    if (!lua_istable(L, -1)) {
        expected(d, NULL, "a table");
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            if (!positional || lua_type(L, -2) != LUA_TNUMBER)
                declare_mistake(d, "%s: entries need a name here", d->path);
        } else if ((key = find_key(keys, lua_tostring(L, -2))) == NULL) {
            unknown_key(d, keys, lua_tostring(L, -2));
        } else {
            declare_value(d, key, base);
        }
        lua_pop(L, 1);
    }
}

/* --- one declaration ------------------------------------------------------------------------
 */

static size_t index_of(const char *name)
{
    size_t i = 0;

    while (declarations[i].name != NULL && strcmp(declarations[i].name, name) != 0)
        i++;
    return i;
}

int declare_line(const struct declare *d, const char *name)
{
    return d->lines[index_of(name)];
}

/* The argument is at the top of the stack. */
static void take(struct script *s, size_t i, lua_State *L)
{
    const struct declaration *decl = &declarations[i];
    struct declare *d = s->declare;
    int line;

    if (d == NULL)
        return;
    d->L = L;
    line = line_now(d);
    if (d->lines[i] > 0 && !decl->many) {
        declare_mistake(d, "%s is declared twice, first in line %d", decl->name, d->lines[i]);
        return;
    }
    d->lines[i] = line;
    d->path = decl->name;
    if (decl->read != NULL) {
        decl->read(d);
    } else if (decl->keys != NULL) {
        declare_keys(d, decl->keys, (char *)d->config + decl->offset, false);
    } else {
        d->path = NULL;
        declare_value(d, &decl->value, d->config);
    }
    d->path = NULL;
}

static int call_declaration(lua_State *L)
{
    size_t i = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    struct script *s = script_of(L);

    if (!s->loading)
        return luaL_error(
            L, "%s is a declaration: it belongs at the top of the file, not into a hook",
            declarations[i].name);
    /* Called through a proxy (log, dns) the argument is the second: take the last either way.
     */
    if (lua_gettop(L) == 0)
        lua_pushnil(L);
    take(s, i, L);
    return 0;
}

bool declare_assign(lua_State *L)
{
    size_t i = index_of(lua_tostring(L, 2));

    if (declarations[i].name == NULL)
        return false;
    lua_settop(L, 3);
    take(script_of(L), i, L);
    return true;
}

void declare_open(lua_State *L)
{
    for (size_t i = 0; declarations[i].name != NULL; i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_pushcclosure(L, call_declaration, 1);
        lua_setfield(L, -2, declarations[i].name);
    }
}

/* --- unknown names --------------------------------------------------------------------------
 */

/*
 * An undefined global that is read while the file is checked gives a stand-in, so that checking
 * goes on. Reading it is a mistake; calling it makes the mistake's text say that a declaration
 * was meant.
 */
static int call_unknown(lua_State *L)
{
    struct unknown_name *u = lua_touserdata(L, lua_upvalueindex(1));
    struct declare *d = script_of(L)->declare;
    const char *near = script_nearest(u->name, declaration_names());

    if (d == NULL || u->mistake == NULL)
        return 0;
    u->mistake->text =
        near != NULL
            ? arena_fmt(&d->scratch, "%s:%d: unknown declaration '%s', did you mean '%s'?",
                        d->chunk, u->line, u->name, near)
            : arena_fmt(&d->scratch, "%s:%d: unknown declaration '%s'", d->chunk, u->line,
                        u->name);
    d->nomem = d->nomem || u->mistake->text == NULL;
    return 0;
}

static int use_unknown(lua_State *L)
{
    const struct unknown_name *u = lua_touserdata(L, lua_upvalueindex(1));

    return luaL_error(L, "undefined global '%s'", u->name);
}

bool declare_unknown(lua_State *L, const char *name)
{
    static const char *const events[] = {
        "__index", "__newindex", "__add",    "__sub", "__mul", "__div", "__mod",   "__pow",
        "__unm",   "__idiv",     "__concat", "__len", "__lt",  "__le",  "__close", NULL};
    struct declare *d = script_of(L)->declare;
    struct unknown_name *u;

    if (d == NULL)
        return false;
    d->L = L;
    u = arena_alloc(&d->scratch, sizeof(*u));
    if (u == NULL || (u->name = arena_strdup(&d->scratch, slice_str(name))) == NULL)
        return false;
    u->line = line_now(d);
    u->mistake =
        add(d, u->line, false,
            arena_fmt(&d->scratch, "%s:%d: undefined global '%s'", d->chunk, u->line, name));
    lua_newuserdatauv(L, 0, 0);
    lua_newtable(L);
    for (size_t i = 0; events[i] != NULL; i++) {
        lua_pushlightuserdata(L, u);
        lua_pushcclosure(L, use_unknown, 1);
        lua_setfield(L, -2, events[i]);
    }
    lua_pushlightuserdata(L, u);
    lua_pushcclosure(L, call_unknown, 1);
    lua_setfield(L, -2, "__call");
    lua_pushliteral(L, "undefined global");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    return true;
}

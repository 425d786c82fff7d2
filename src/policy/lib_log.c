/*
 * policy/lib_log.c: log.error, warn, info, debug: structured records of a script's own.
 */
#include "base/slice.h"
#include "policy/engine.h"

#define FIELDS_MAX 32 /* of one record */

static struct log_field field_of(lua_State *L, const char *key, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        return (struct log_field)LOG_BOOL(key, lua_toboolean(L, index));
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            return (struct log_field)LOG_INT(key, lua_tointeger(L, index));
        return (struct log_field)LOG_NUM(key, lua_tonumber(L, index));
    case LUA_TSTRING:
        return (struct log_field)LOG_STR(key, script_slice(L, index));
    default:
        luaL_error(L, "log: field %s: a text, number or truth value is expected, got %s", key,
                   luaL_typename(L, index));
        return (struct log_field){0};
    }
}

/* The fields stay where they are, in the table at index 2. */
static size_t take_fields(lua_State *L, struct log_field *out, size_t max)
{
    size_t n = 0;

    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "log: fields need names");
        if (n == max)
            luaL_error(L, "log: more than %d fields", FIELDS_MAX);
        out[n++] = field_of(L, lua_tostring(L, -2), -1);
    }
    return n;
}

static int write_record(lua_State *L, enum log_level level)
{
    struct log_field fields[FIELDS_MAX + 4];
    const struct script *s = script_of(L);
    const struct thread *t = s->engine->running;
    char where[SCRIPT_WHERE_SIZE];
    size_t n = 0;

    luaL_checkstring(L, 1);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (!log_wants(s->log, level))
        return 0;
    if (lua_istable(L, 2))
        n = take_fields(L, fields, FIELDS_MAX);
    script_where(L, 1, where);
    fields[n++] = (struct log_field)LOG_CSTR("where", where);
    if (t != NULL && t->session != NULL && t->session->facts != NULL)
        fields[n++] = (struct log_field)LOG_CSTR("session", t->session->facts->id);
    fields[n] = (struct log_field){.key = NULL};
    log_write(s->log, level, "script", lua_tostring(L, 1), fields);
    return 0;
}

/*** @function log.error(text, [fields])
 * Writes a record into the log, with file, line and session.
 * @param {string} text
 * @param {table} fields optional: names to texts, numbers or truth values
 */
static int log_error(lua_State *L)
{
    return write_record(L, LOG_LEVEL_ERROR);
}

/*** @function log.warn(text, [fields])
 * As log.error, a warning.
 */
static int log_warn(lua_State *L)
{
    return write_record(L, LOG_LEVEL_WARN);
}

/*** @function log.info(text, [fields])
 * As log.error, for information.
 */
static int log_info(lua_State *L)
{
    return write_record(L, LOG_LEVEL_INFO);
}

/*** @function log.debug(text, [fields])
 * As log.error, only seen at level "debug".
 */
static int log_debug(lua_State *L)
{
    return write_record(L, LOG_LEVEL_DEBUG);
}

void log_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"error", log_error},
                                         {"warn", log_warn},
                                         {"info", log_info},
                                         {"debug", log_debug},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    script_proxy(L, "log");
    lua_setfield(L, -2, "log");
}

/*
 * policy/class_vars.c: session.vars, mail.vars, rcpt.vars: small variables of a policy's own,
 * kept with what they belong to. Those of mails and recipients go into the spool with it, so
 * they hold texts, numbers and truth values, nothing else.
 */
#include "base/slice.h"
#include "policy/engine.h"

struct vars_object {
    struct object object; /* p: struct vars; owner: the object they belong to, kept alive as
                             user value 1 */
};

int push_vars(lua_State *L, int parent, struct vars *vars)
{
    struct object *o = object_new(L, CLASS_VARS, sizeof(struct vars_object), 1);

    o->p = vars;
    o->owner = lua_touserdata(L, parent);
    lua_pushvalue(L, parent);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static struct vars *vars_check(lua_State *L)
{
    struct object *o = lua_touserdata(L, 1);

    if (((struct object *)o->owner)->p == NULL)
        luaL_error(L, "these vars are over: what they belong to has ended");
    return o->p;
}

static void push_var(lua_State *L, const struct var *v)
{
    if (v == NULL)
        lua_pushnil(L);
    else if (v->type == VAR_BOOL)
        lua_pushboolean(L, v->flag);
    else if (v->type == VAR_INT)
        lua_pushinteger(L, v->num);
    else if (v->type == VAR_NUM)
        lua_pushnumber(L, v->real);
    else
        script_push(L, v->str);
}

static int vars_index(lua_State *L)
{
    const struct vars *vars = vars_check(L);

    push_var(L, vars_get(vars, script_check_slice(L, 2)));
    return 1;
}

/* Those of a mail that is queued are in its record, which stays as it is. */
static bool is_stored(lua_State *L)
{
    const struct object *parent = ((struct object *)lua_touserdata(L, 1))->owner;
    const struct mail *m = parent->class == &mail_class   ? parent->p
                           : parent->class == &rcpt_class ? parent->owner
                                                          : NULL;

    return m != NULL && m->decided;
}

static int vars_newindex(lua_State *L)
{
    struct vars *vars = vars_check(L);
    struct var v = {.key = script_check_slice(L, 2)};

    if (is_stored(L))
        return luaL_error(L, "vars.%s: the mail is queued and cannot be changed any more",
                          lua_tostring(L, 2));

    switch (lua_type(L, 3)) {
    case LUA_TNIL:
        vars_unset(vars, v.key);
        return 0;
    case LUA_TBOOLEAN:
        v.type = VAR_BOOL;
        v.flag = lua_toboolean(L, 3);
        break;
    case LUA_TNUMBER:
        v.type = lua_isinteger(L, 3) ? VAR_INT : VAR_NUM;
        v.num = lua_tointeger(L, 3);
        v.real = lua_tonumber(L, 3);
        break;
    case LUA_TSTRING:
        v.type = VAR_STR;
        v.str = script_slice(L, 3);
        break;
    default:
        return luaL_error(L, "vars.%s: a text, number or truth value can be kept, not a %s",
                          lua_tostring(L, 2), luaL_typename(L, 3));
    }
    check_rc(L, vars_set(vars, &v), "vars");
    return 0;
}

static int vars_pairs(lua_State *L)
{
    const struct vars *vars = vars_check(L);

    lua_getglobal(L, "next");
    lua_createtable(L, 0, (int)vars->n);
    for (size_t i = 0; i < vars->n; i++) {
        script_push(L, vars->v[i].key);
        push_var(L, &vars->v[i]);
        lua_rawset(L, -3);
    }
    return 2;
}

/*** @class vars
 * Variables of your own: `mail.vars.score = 3`. Texts, numbers and truth values; at most 256
 * and 65,536 octets each set. nil removes one; `pairs` walks through them. Those of mails and
 * recipients are kept in the spool, and cannot be written once it is queued.
 */
const struct class vars_class = {.name = "vars",
                                 .id = CLASS_VARS,
                                 .index = vars_index,
                                 .newindex = vars_newindex,
                                 .pairs = vars_pairs};

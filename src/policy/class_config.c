/*
 * policy/class_config.c: config, the declarations as hooks can read them. Frozen: the struct is
 * shared by all threads.
 */
#include "base/slice.h"
#include "policy/engine.h"

static const struct config *config_of(lua_State *L)
{
    struct script *s = script_of(L);

    if (s->loading)
        luaL_error(L,
                   "config can be read in hooks only: the declarations are not complete yet");
    return s->config;
}

static void push_list(lua_State *L, const char *const *v, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, v[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int get_hostname(lua_State *L, struct object *o)
{
    (void)o;
    lua_pushstring(L, config_of(L)->hostname);
    return 1;
}

static int get_domains(lua_State *L, struct object *o)
{
    const struct config *c = config_of(L);

    (void)o;
    push_list(L, c->domains, c->n_domains);
    return 1;
}

static int get_listen(lua_State *L, struct object *o)
{
    const struct config *c = config_of(L);

    (void)o;
    lua_createtable(L, (int)c->n_listen, 0);
    for (size_t i = 0; i < c->n_listen; i++) {
        lua_pushstring(L, c->listen[i].address);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int get_file(lua_State *L, struct object *o)
{
    (void)o;
    lua_pushstring(L, config_of(L)->file);
    return 1;
}

static int get_version(lua_State *L, struct object *o)
{
    (void)o;
    config_of(L);
    lua_pushinteger(L, (lua_Integer)engine_of(L)->policy->version);
    return 1;
}

static int get_maildir(lua_State *L, struct object *o)
{
    (void)o;
    lua_pushstring(L, config_of(L)->maildir_root);
    return 1;
}

static int get_archive(lua_State *L, struct object *o)
{
    (void)o;
    lua_pushstring(L, config_of(L)->archive_root);
    return 1;
}

static int get_subaddress(lua_State *L, struct object *o)
{
    char c = config_of(L)->subaddress;

    (void)o;
    if (c != '\0')
        lua_pushlstring(L, &c, 1);
    else
        lua_pushnil(L);
    return 1;
}

/*** @method config.is_local(domain)
 * Is the domain one of ours?
 * @param {string} domain
 * @return {boolean}
 */
static int is_local(lua_State *L)
{
    lua_pushboolean(L, domain_is_local(config_of(L), script_check_slice(L, 1)));
    return 1;
}

/*** @class config
 * The declarations, read-only, in hooks.
 * @field {string} hostname
 * @field {list} domains
 * @field {list} listen addresses as declared
 * @field {string} file path of the configuration
 * @field {number} version counts the configurations loaded since start
 * @field {string} maildir its root, nil when not declared
 * @field {string} archive its root, nil when not declared
 * @field {string} subaddress the separator, nil = none
 */
static const struct field fields[] = {
    {"hostname", .get = get_hostname}, {"domains", .get = get_domains},
    {"listen", .get = get_listen},     {"file", .get = get_file},
    {"version", .get = get_version},   {"maildir", .get = get_maildir},
    {"archive", .get = get_archive},   {"subaddress", .get = get_subaddress},
    {"is_local", .method = is_local},  {NULL}};
const struct class config_class = {.name = "config", .id = CLASS_CONFIG, .fields = fields};

void config_open(lua_State *L)
{
    struct object *o;

    class_open(L, &config_class);
    o = object_new(L, CLASS_CONFIG, sizeof(*o), 0);
    o->p = engine_of(L);
    lua_setfield(L, -2, "config");
}

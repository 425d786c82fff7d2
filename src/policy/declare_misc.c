/*
 * policy/declare_misc.c: declarations whose argument is no plain value: domains, networks,
 * aliases, replies, sni, user.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "policy/declare.h"

#define ALIAS_TARGETS_MAX 1000 /* of one alias: what one RCPT may fan out to */

/* --- domains --------------------------------------------------------------------------------
 */

static void lower(char *s)
{
    for (; *s != '\0'; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + 'a' - 'A');
    }
}

static bool has_domain(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_domains; i++) {
        if (strcmp(c->domains[i], name) == 0)
            return true;
    }
    return false;
}

void declare_domains(struct declare *d)
{
    struct config *c = d->config;
    size_t n;
    const char **v, **all;

    v = declare_strings(d, NULL, &n);
    all = declare_alloc(d, (c->n_domains + n + 1) * sizeof(*all));
    if (all == NULL)
        return;
    if (c->n_domains > 0)
        memcpy(all, c->domains, c->n_domains * sizeof(*all));
    c->domains = all;
    for (size_t i = 0; i < n; i++) {
        lower((char *)v[i]); /* our own copy */
        if (!barid_domain_valid(slice_str(v[i]), true))
            declare_mistake(d, "domains: \"%s\" is not a domain name", v[i]);
        else if (!has_domain(c, v[i]))
            c->domains[c->n_domains++] = v[i];
    }
}

/* --- networks -------------------------------------------------------------------------------
 */

void declare_networks_key(struct declare *d, const struct key *key, void *base)
{
    struct network_list *list = (struct network_list *)((char *)base + key->offset);
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    if (n == 0 || (list->v = declare_alloc(d, n * sizeof(*list->v))) == NULL)
        return;
    for (size_t i = 0; i < n; i++) {
        struct err err = {0};
        if (network_parse(slice_str(v[i]), &list->v[list->n], &err) == 0)
            list->n++;
        else
            declare_mistake(d, "networks.%s: %s", key->name, err.text);
    }
}

/* --- aliases --------------------------------------------------------------------------------
 */

static bool alias_address(struct declare *d, const char *s, bool catch_all)
{
    barid_path path;

    if (catch_all && s[0] == '@' && barid_domain_valid(slice_str(s + 1), true))
        return true;
    if (barid_mailbox_parse(slice_str(s), BARID_PATH_UTF8_OK, &path) == 0 && path.domain.n > 0)
        return true;
    declare_mistake(d, "aliases: \"%s\" is not an address%s", s,
                    catch_all ? ", write \"user@domain\" or \"@domain\"" : "");
    return false;
}

/* The domain in lower case; the local part as it is. */
static void lower_domain(char *s)
{
    char *at = strrchr(s, '@');

    if (at != NULL)
        lower(at);
}

static void read_alias(struct declare *d, const char *address)
{
    struct config *c = d->config;
    struct config_alias *v;
    size_t n;
    const char **targets = declare_strings(d, address, &n);
    bool good = alias_address(d, address, true);

    for (size_t i = 0; i < n; i++)
        good = alias_address(d, targets[i], false) && good;
    if (n > ALIAS_TARGETS_MAX)
        declare_mistake(d, "aliases: \"%s\" has more than %d targets", address,
                        ALIAS_TARGETS_MAX);
    if (n == 0)
        declare_mistake(d, "aliases: \"%s\" has no target", address);
    if (!good || n == 0)
        return;
    for (size_t i = 0; i < c->n_aliases; i++) {
        if (strcmp(c->aliases[i].address, address) == 0) {
            declare_mistake(d, "aliases: \"%s\" is declared twice", address);
            return;
        }
    }
    /* Room doubles: lists of aliases are long. */
    if ((c->n_aliases & (c->n_aliases - 1)) == 0) {
        v = declare_alloc(d, (c->n_aliases == 0 ? 1 : 2 * c->n_aliases) * sizeof(*v));
        if (v == NULL)
            return;
        if (c->n_aliases > 0)
            memcpy(v, c->aliases, c->n_aliases * sizeof(*v));
        c->aliases = v;
    }
    c->aliases[c->n_aliases++] = (struct config_alias){address, targets, n};
}

void declare_aliases(struct declare *d)
{
    lua_State *L = d->L;

    if (!lua_istable(L, -1)) {
        declare_mistake(d, "aliases: a table is expected, got %s", luaL_typename(L, -1));
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        char *address = NULL;
        if (lua_type(L, -2) == LUA_TSTRING)
            address = arena_strdup(&d->config->arena, script_slice(L, -2));
        else
            declare_mistake(d, "aliases: entries are [\"address\"] = target");
        if (address != NULL) {
            lower_domain(address);
            read_alias(d, address);
        }
        lua_pop(L, 1);
    }
}

/* --- subaddress, user -----------------------------------------------------------------------
 */

void declare_subaddress(struct declare *d)
{
    const char *s;

    if (lua_isboolean(d->L, -1) && !lua_toboolean(d->L, -1)) {
        d->config->subaddress = '\0';
        return;
    }
    if ((s = declare_string(d, NULL)) == NULL)
        return;
    if (strlen(s) != 1 || strchr("+-_=.#", s[0]) == NULL)
        declare_mistake(
            d, "subaddress: \"%s\" cannot separate, one of + - _ = . # is expected (or false)",
            s);
    else
        d->config->subaddress = s[0];
}

void declare_user(struct declare *d)
{
    static const struct key keys[] = {
        {"group", KEY_STRING, .offset = offsetof(struct config, group), .size = sizeof(char *)},
        {.name = NULL}};
    size_t n;
    const char **v;

    if (lua_istable(d->L, -1))
        declare_keys(d, keys, d->config, true);
    v = declare_strings(d, NULL, &n);
    if (n == 1)
        d->config->user = v[0];
    else if (n > 1 || lua_istable(d->L, -1))
        declare_mistake(d, "user: one name is expected, write user \"barid\"");
}

/* --- replies --------------------------------------------------------------------------------
 */

/* Fields of { code, enhanced, text } at the top of the stack. */
static bool reply_table(struct declare *d, const char *name, barid_reply *r)
{
    lua_State *L = d->L;
    const char *s;
    int exact;

    lua_rawgeti(L, -1, 1);
    r->code = (uint16_t)lua_tointegerx(L, -1, &exact);
    lua_pop(L, 1);
    for (int i = 2; exact && i <= 3; i++) {
        lua_rawgeti(L, -1, i);
        s = declare_string(d, name);
        lua_pop(L, 1);
        if (s == NULL)
            return false;
        *(i == 2 ? &r->enhanced : &r->text) = slice_str(s);
    }
    if (!exact)
        declare_mistake(d, "replies.%s: a text or { code, enhanced, text } is expected", name);
    return exact != 0;
}

static void read_reply(struct declare *d, const char *name)
{
    enum barid_reply_id id = barid_reply_by_name(slice_str(name));
    const barid_reply *was;
    barid_reply r;
    const char *s;

    if (id == BARID_REPLY_NONE) {
        const char *names[BARID_REPLY_IDS + 1], *near;
        for (int i = 1; i < BARID_REPLY_IDS; i++)
            names[i - 1] = barid_reply_name((enum barid_reply_id)i);
        names[BARID_REPLY_IDS - 1] = NULL;
        near = script_nearest(name, names);
        declare_mistake(d, "replies: no reply is named '%s'%s%s%s", name,
                        near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
        return;
    }
    was = barid_reply_default(id);
    r = *was;
    if (lua_istable(d->L, -1)) {
        if (!reply_table(d, name, &r))
            return;
    } else {
        if ((s = declare_string(d, name)) == NULL)
            return;
        r.text = slice_str(s);
    }
    if (r.code / 100 != was->code / 100)
        declare_mistake(d, "replies.%s: the code must stay a %uxx", name, was->code / 100u);
    else
        d->config->replies->row[id] = r;
}

void declare_replies(struct declare *d)
{
    lua_State *L = d->L;

    if (!lua_istable(L, -1)) {
        declare_mistake(d, "replies: a table is expected, got %s", luaL_typename(L, -1));
        return;
    }
    if (d->config->replies == NULL &&
        (d->config->replies = declare_alloc(d, sizeof(barid_replies))) == NULL)
        return;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) == LUA_TSTRING)
            read_reply(d, lua_tostring(L, -2));
        else
            declare_mistake(d, "replies: entries are name = text");
        lua_pop(L, 1);
    }
}

/* --- sni ------------------------------------------------------------------------------------
 */

void declare_sni_key(struct declare *d, const struct key *key, void *base)
{
    static const struct key keys[] = {
        {"certificate", KEY_FILE, .offset = offsetof(struct config_sni, cert),
         .size = sizeof(char *)},
        {"key", KEY_FILE, .offset = offsetof(struct config_sni, key), .size = sizeof(char *)},
        {.name = NULL}};
    struct config_tls *tls = base;
    lua_State *L = d->L;
    const char *path = d->path;
    size_t n = 0;

    if (!lua_istable(L, -1)) {
        declare_mistake(d, "tls.%s: a table is expected, got %s", key->name,
                        luaL_typename(L, -1));
        return;
    }
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        n++;
    tls->sni = declare_alloc(d, (n + 1) * sizeof(*tls->sni));
    lua_pushnil(L);
    while (tls->sni != NULL && lua_next(L, -2) != 0) {
        struct config_sni *sni = &tls->sni[tls->n_sni];
        lua_pushvalue(L, -2);
        sni->name = declare_string(d, key->name);
        lua_pop(L, 1);
        d->path = "tls.sni";
        declare_keys(d, keys, sni, false);
        d->path = path;
        if (sni->name != NULL && sni->cert != NULL && sni->key != NULL)
            tls->n_sni++;
        else if (sni->name != NULL)
            declare_mistake(d, "tls.sni: \"%s\" needs certificate and key", sni->name);
        lua_pop(L, 1);
    }
}

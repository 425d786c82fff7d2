/*
 * policy/declare_listen.c: listen { address, ..., key = value }. What depends on other
 * declarations (limits, tls, auth) is settled at the end of the file, so that order does not
 * matter.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "policy/declare.h"

#define LISTEN_MAX 256 /* entries: each is a socket per worker */

static const char *const protocols[] = {"smtp", "submission", "lmtp", NULL};
static const char *const tls_modes[] = {"none", "starttls", "implicit", NULL};
static const char *const auth_modes[] = {"off", "on", "required", NULL};

/* One listen declaration while it is read; -1 = not said. */
struct reading {
    struct config_listen entry;
    int32_t tls, tls_required, auth;
    bool has_limits;
};

static void read_mechanisms(struct declare *d, const struct key *key, void *base)
{
    struct reading *r = base;
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    for (size_t i = 0; i < n; i++) {
        enum barid_auth_mechanism m = BARID_AUTH_PLAIN;
        while (m <= BARID_AUTH_SCRAM_SHA_256 && strcmp(barid_auth_mechanism_name(m), v[i]) != 0)
            m++;
        if (m <= BARID_AUTH_SCRAM_SHA_256)
            r->entry.mechanisms |= 1u << m;
        else
            declare_mistake(d,
                            "listen.mechanisms: no such mechanism \"%s\", there are PLAIN, "
                            "LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256",
                            v[i]);
    }
}

static void read_hide(struct declare *d, const struct key *key, void *base)
{
    static const char *const names[] = {
        "PIPELINING", "SIZE",       "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
        "CHUNKING",   "BINARYMIME", "LIMITS",   "PRDR",     "HELP",
        "DSN",        NULL};
    static const uint32_t bits[] = {BARID_EXT_PIPELINING,
                                    BARID_EXT_SIZE,
                                    BARID_EXT_8BITMIME,
                                    BARID_EXT_SMTPUTF8,
                                    BARID_EXT_ENHANCEDSTATUSCODES,
                                    BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME,
                                    BARID_EXT_BINARYMIME,
                                    BARID_EXT_LIMITS,
                                    BARID_EXT_PRDR,
                                    BARID_EXT_HELP,
                                    BARID_EXT_DSN};
    struct reading *r = base;
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (names[at] != NULL && strcmp(names[at], v[i]) != 0)
            at++;
        if (names[at] != NULL)
            r->entry.extensions &= ~bits[at];
        else
            declare_mistake(d, "listen.hide: no such extension \"%s\"", v[i]);
    }
}

static void read_mode(struct declare *d, const struct key *key, void *base)
{
    struct reading *r = base;
    const char *s = declare_string(d, key->name);
    char *end;
    unsigned long mode;

    if (s == NULL)
        return;
    mode = strtoul(s, &end, 8);
    if (s[0] < '0' || s[0] > '7' || *end != '\0' || mode > 0777)
        declare_mistake(d, "listen.mode: \"%s\" is no file mode, write \"0660\"", s);
    else
        r->entry.mode = (unsigned)mode;
}

static void read_tls_required(struct declare *d, const struct key *key, void *base)
{
    const struct key plain = {.name = key->name, .type = KEY_BOOL, .size = sizeof(bool)};
    bool required = false;

    declare_value(d, &plain, &required);
    ((struct reading *)base)->tls_required = required;
}

/* Limits of the whole server cannot differ between listeners. */
static void refuse_server_wide(struct declare *d)
{
    static const char *const names[] = {"connections", "hook_ms",    "hook_instructions",
                                        "hook_cpu_ms", "lua_memory", "drain_ms"};

    for (size_t i = 0; lua_istable(d->L, -1) && i < sizeof(names) / sizeof(names[0]); i++) {
        if (lua_getfield(d->L, -1, names[i]) != LUA_TNIL)
            declare_mistake(
                d, "listen.limits.%s: counts for the whole server: declare it in limits",
                names[i]);
        lua_pop(d->L, 1);
    }
}

static void read_limits(struct declare *d, const struct key *key, void *base)
{
    struct reading *r = base;
    struct config_limits scratch = d->config->limits;
    const char *path = d->path;

    (void)key;
    /* Read now for the mistakes, read again at the end for the values: the global limits may
     * still come. */
    d->path = "listen.limits";
    declare_keys(d, declare_limit_keys, &scratch, false);
    refuse_server_wide(d);
    d->path = path;
    r->has_limits = lua_istable(d->L, -1);
}

#define AT(field)                                                                              \
    .offset = offsetof(struct reading, field), .size = sizeof(((struct reading *)0)->field)
static const struct key keys[] = {
    {"protocol", KEY_CHOICE, AT(entry.protocol), .choices = protocols,
     .doc = "\"smtp\", \"submission\" or \"lmtp\""},
    {"tls", KEY_CHOICE, AT(tls), .choices = tls_modes,
     .doc = "\"none\", \"starttls\" or \"implicit\""},
    {"tls_required", KEY_CUSTOM, .read = read_tls_required, .doc = "no mail before TLS"},
    {"auth", KEY_CHOICE, AT(auth), .choices = auth_modes,
     .doc = "\"off\", \"on\" or \"required\""},
    {"mechanisms", KEY_CUSTOM, .read = read_mechanisms, .doc = "SASL mechanisms to offer"},
    {"plain_auth_without_tls", KEY_BOOL, AT(entry.plain_auth_without_tls),
     .doc = "passwords in the clear"},
    {"proxy", KEY_BOOL, AT(entry.proxy),
     .doc = "a PROXY header from networks.proxy comes first"},
    {"mode", KEY_CUSTOM, .read = read_mode, .doc = "mode of a unix socket"},
    {"hide", KEY_CUSTOM, .read = read_hide, .doc = "extensions to leave out"},
    {"certificate", KEY_FILE, AT(entry.tls_files.cert), .doc = "its own certificate"},
    {"key", KEY_FILE, AT(entry.tls_files.key), .doc = "its own key"},
    {"limits", KEY_CUSTOM, .read = read_limits, .doc = "its own limits"},
    {.name = NULL}};

/* "192.0.2.1:25", "[::]:25", "unix:path". Whether it can be bound is seen at start. */
static const char *address(struct declare *d, const char *s)
{
    size_t colon;
    uint64_t port;
    barid_slice text = slice_str(s);

    if (strncmp(s, "unix:", 5) == 0) {
        const char *path = s[5] != '\0' ? declare_path(d, s + 5) : NULL;
        if (path != NULL)
            return arena_fmt(&d->config->arena, "unix:%s", path);
        declare_mistake(d, "listen: \"unix:\" needs a path");
        return NULL;
    }
    colon = slice_find_last(text, ':');
    if (colon == text.n || colon == 0 ||
        slice_u64(slice_from(text, colon + 1), 65535, &port) < 0) {
        declare_mistake(d,
                        "listen: \"%s\" is no address, write \"192.0.2.1:25\", \"[::]:25\" or "
                        "\"unix:/path\"",
                        s);
        return NULL;
    }
    barid_slice host = slice_head(text, colon);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_head(slice_from(host, 1), host.n - 2);
    else if (slice_find(host, ':') < host.n)
        host.n = 0; /* an IPv6 address without brackets is ambiguous */
    struct network n;
    if (host.n == 0 || network_parse(host, &n, NULL) < 0 || n.family == BARID_FAMILY_UNIX ||
        slice_find(host, '/') < host.n) {
        declare_mistake(d,
                        "listen: \"%s\" is no address, write \"192.0.2.1:25\", \"[::]:25\" or "
                        "\"unix:/path\"",
                        s);
        return NULL;
    }
    return s;
}

static void add(struct declare *d, const struct reading *r, const char *at, int limits_ref)
{
    struct config *c = d->config;
    struct config_listen *v;
    struct pending_listen *pending;

    for (size_t i = 0; i < c->n_listen; i++) {
        if (strcmp(c->listen[i].address, at) == 0) {
            declare_mistake(d, "listen: \"%s\" is declared twice, first at %s", at,
                            c->listen[i].where);
            return;
        }
    }
    if (c->n_listen >= LISTEN_MAX) {
        declare_mistake(d, "listen: more than %d addresses", LISTEN_MAX);
        return;
    }
    v = declare_alloc(d, (c->n_listen + 1) * sizeof(*v));
    pending = arena_alloc(&d->scratch, (c->n_listen + 1) * sizeof(*pending));
    if (v == NULL || pending == NULL) {
        d->nomem = true;
        return;
    }
    if (c->n_listen > 0) {
        memcpy(v, c->listen, c->n_listen * sizeof(*v));
        memcpy(pending, d->pending, c->n_listen * sizeof(*pending));
    }
    v[c->n_listen] = r->entry;
    v[c->n_listen].address = at;
    pending[c->n_listen] = (struct pending_listen){limits_ref, r->tls < 0};
    c->listen = v;
    d->pending = pending;
    c->n_listen++;
}

/* What was not said, by protocol: RFC 6409 for submission. */
static void by_protocol(struct reading *r)
{
    bool submission = r->entry.protocol == BARID_SUBMISSION;

    r->entry.tls = r->tls >= 0  ? (unsigned)r->tls
                   : submission ? LISTEN_TLS_STARTTLS
                                : LISTEN_TLS_NONE;
    r->entry.auth = r->auth >= 0 ? (unsigned)r->auth
                    : submission ? LISTEN_AUTH_REQUIRED
                                 : LISTEN_AUTH_OFF;
    if (r->tls_required >= 0)
        r->entry.tls_required = r->tls_required != 0;
    else
        r->entry.tls_required = submission && r->entry.tls != LISTEN_TLS_NONE;
}

static void check_entry(struct declare *d, const struct reading *r, const char *at)
{
    const char *port = strrchr(at, ':');

    if (r->entry.tls_required && r->entry.tls == LISTEN_TLS_NONE && r->tls >= 0)
        declare_mistake(d, "listen: tls_required cannot hold with tls = \"none\"");
    if (r->entry.protocol == BARID_LMTP && strncmp(at, "unix:", 5) != 0 && port != NULL &&
        strcmp(port, ":25") == 0)
        declare_warning(d, "listen: LMTP on TCP port 25 is what RFC 2033 section 5 forbids");
}

void declare_listen(struct declare *d)
{
    struct reading r = {.tls = -1, .tls_required = -1, .auth = -1};
    lua_State *L = d->L;
    int ref = LUA_NOREF;
    size_t n;
    const char **v;

    r.entry.mode = 0660;
    r.entry.extensions = BARID_EXT_DEFAULT | BARID_EXT_DSN;
    if (lua_istable(L, -1))
        declare_keys(d, keys, &r, true);
    by_protocol(&r);
    r.entry.where = arena_fmt(&d->config->arena, "%s:%d", d->chunk,
                              d->lines != NULL ? declare_line(d, "listen") : 0);
    if (r.has_limits) {
        lua_getfield(L, -1, "limits");
        ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    v = declare_strings(d, NULL, &n);
    if (n == 0 && lua_istable(L, -1) && lua_rawlen(L, -1) == 0)
        declare_mistake(d, "listen: an address is missing");
    for (size_t i = 0; i < n; i++) {
        const char *at = address(d, v[i]);
        if (at != NULL) {
            check_entry(d, &r, at);
            add(d, &r, at, ref);
        }
    }
}

/* --- at the end of the file -----------------------------------------------------------------
 */

static void finish_tls(struct declare *d, struct config_listen *l, bool unsaid)
{
    bool have = l->tls_files.cert != NULL || d->config->tls.cert != NULL;

    if (unsaid && have && l->tls == LISTEN_TLS_NONE && strncmp(l->address, "unix:", 5) != 0)
        l->tls = LISTEN_TLS_STARTTLS; /* a certificate is there to be used */
    if (l->tls != LISTEN_TLS_NONE && !have)
        declare_mistake(d,
                        "listen: \"%s\" needs TLS, but there is no tls { certificate = FILE, "
                        "key = FILE }%s",
                        l->address,
                        l->protocol == BARID_SUBMISSION
                            ? " (submission requires it; tls = \"none\" turns it off)"
                            : "");
    if ((l->tls_files.cert != NULL) != (l->tls_files.key != NULL))
        declare_mistake(d, "listen: certificate and key belong together");
}

static void finish_auth(struct declare *d, struct config_listen *l)
{
    bool able =
        d->config->users_file != NULL || (d->hooked & BARID_EVENT_BIT(BARID_EVENT_AUTH)) != 0;

    if (l->auth != LISTEN_AUTH_OFF && !able)
        declare_mistake(d,
                        "listen: \"%s\" offers AUTH, but there is neither auth { users = FILE "
                        "} nor on.auth",
                        l->address);
    if (l->auth != LISTEN_AUTH_OFF && l->tls == LISTEN_TLS_NONE && !l->plain_auth_without_tls)
        declare_warning(
            d, "listen: \"%s\" has AUTH but no TLS: PLAIN and LOGIN are not offered there",
            l->address);
}

void declare_listen_finish(struct declare *d)
{
    struct config *c = d->config;

    for (size_t i = 0; i < c->n_listen; i++) {
        struct config_listen *l = &c->listen[i];
        d->line = atoi(strrchr(l->where, ':') + 1);
        l->limits = c->limits;
        if (d->pending[i].limits_ref != LUA_NOREF) {
            size_t before = d->n_mistakes;
            struct mistake *head = d->mistakes;
            lua_rawgeti(d->L, LUA_REGISTRYINDEX, d->pending[i].limits_ref);
            d->path = "listen.limits";
            declare_keys(d, declare_limit_keys, &l->limits, false);
            d->path = NULL;
            lua_pop(d->L, 1);
            d->mistakes = head; /* they were reported when the declaration was read */
            d->n_mistakes = before;
        }
        finish_tls(d, l, d->pending[i].tls_unsaid);
        finish_auth(d, l);
    }
    d->line = 0;
}

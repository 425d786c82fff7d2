/*
 * policy/config.c: the defaults. Each has its reason beside it in config.h or barid/session.h;
 * the declarations that change them are in declare*.c.
 */
#include "policy/config.h"

#include <limits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slice.h"

#ifndef HOST_NAME_MAX
#define HOST_NAME_MAX 64
#endif

static void default_limits(struct config_limits *l)
{
    *l = (struct config_limits){
        .connections = 20000,
        .connections_per_client = 100,
        .hops = 100,
        .hook_ms = 30000,
        .hook_instructions = 10000000,
        .hook_cpu_ms = 10,
        .lua_memory = 256u << 20,
        .drain_ms = 60000,
    };
    barid_limits_default(&l->session);
}

/* The machine's name as it knows itself; nothing is looked up. */
static const char *default_hostname(struct arena *arena)
{
    char name[HOST_NAME_MAX + 1];

    if (gethostname(name, sizeof(name)) != 0 || name[0] == '\0')
        return arena_strdup(arena, BARID_S("localhost"));
    name[sizeof(name) - 1] = '\0';
    if (!barid_domain_valid(slice_str(name), false))
        return arena_strdup(arena, BARID_S("localhost"));
    return arena_strdup(arena, slice_str(name));
}

/* As hop_init has them: one place says what is usual. */
static void default_relay(struct config_relay *r)
{
    struct hop hop;

    hop_init(&hop);
    *r = (struct config_relay){
        .tls = hop.tls,
        .connect_ms = hop.connect_ms,
        .max_connections = hop.max_connections,
        .max_rcpts = hop.max_rcpts,
        .max_messages = 1000,
        .max_mails = hop.max_mails,
        .idle_s = 10,
        .chunk = hop.chunk,
        .downgrade = hop.downgrade,
    };
}

struct config *config_default(void)
{
    struct config *c = mem_zalloc(NULL, sizeof(*c));

    if (c == NULL)
        return NULL;
    arena_init(&c->arena, NULL, 0);
    default_limits(&c->limits);
    c->hostname = default_hostname(&c->arena);
    c->spool_segment = 64u << 20;
    c->control_listen = "unix:/run/barid/control";
    c->log_format = LOG_FORMAT_TEXT;
    c->log_level = LOG_LEVEL_INFO;
    c->subaddress = '+';
    c->retry.first_s = 300;
    c->retry.max_s = 28800;
    c->retry.tries = 20;
    c->retry.notice = 4;
    c->relayhost.tls = RELAYHOST_TLS_UNSAID;
    default_relay(&c->relay);
    c->history_days = 7;
    c->pool_threads = 8;
    c->tls.min_version = "1.2";
    if (c->hostname == NULL)
        config_del(&c);
    return c;
}

void config_del(struct config **c)
{
    struct config *gone = *c;

    *c = NULL;
    if (gone == NULL)
        return;
    arena_deinit(&gone->arena);
    mem_free(NULL, gone);
}

/*
 * policy/config_fuzz.c: any text as a configuration: loaded, or a report that says why not. What
 * loads keeps its bounds. The file stands in a folder that is not there, so that nothing it
 * requires is found.
 */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "policy/config.h"

#define FOLDER "/nonexistent/barid"
#define CPU_MS 50 /* endless loops are half of what a fuzzer finds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void keep_line(void *user, const char *text)
{
    size_t *lines = user;

    must(text[0] != '\0');
    (*lines)++;
}

static void check(const struct config *c)
{
    struct network_list all[] = {c->trusted, c->proxies, c->xclients};
    const struct config_limits *l = &c->limits;

    must(strcmp(c->file, FOLDER "/p.lua") == 0);
    must(c->retry.first_s <= c->retry.max_s);
    must(l->hook_ms > 0 && l->hook_cpu_ms > 0 && l->hook_instructions > 0);
    for (size_t i = 0; i < c->n_domains; i++)
        must(c->domains[i][0] != '\0');
    for (size_t i = 0; i < c->n_listen; i++)
        must(c->listen[i].address != NULL && c->listen[i].where != NULL);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (size_t k = 0; k < all[i].n; k++)
            must(all[i].v[k].bits <= 128);
    for (size_t i = 0; i < c->n_aliases; i++)
        must(c->aliases[i].address != NULL);
    must(c->relayhost.n_hosts <= HOP_LIST_MAX);
    must(c->relayhost.tls <= HOP_TLS_VERIFIED || c->relayhost.tls == RELAYHOST_TLS_UNSAID);
    must(c->relay.tls <= HOP_TLS_VERIFIED && c->relay.downgrade <= HOP_REFUSE);
    must(c->relay.max_mails > 0 && c->relay.max_messages > 0 && c->relay.chunk > 0 && c->relay.max_connections > 0);
    must(c->n_modules == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t lines = 0;
    struct config_report report = {.line = keep_line, .user = &lines};
    struct config *c = config_load_text(FOLDER "/p.lua", slice_of(data, size), CPU_MS, &report);

    must((c == NULL) == (report.errors > 0));
    must(lines == report.errors + report.warnings);
    if (c != NULL)
        check(c);
    config_del(&c);
    return 0;
}

/* daemon/generation.c: configuration file -> configuration, TLS contexts, users; every mistake reported. */
#include "daemon/generation.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "daemon/exit.h"
#include "daemon/routing.h"


static void say(const struct generation_report *r, bool is_error, const char *text)
{
    r->line(r->user, is_error, text);
}

static void config_line(void *user, const char *text)
{
    const struct generation_report *r = user;

    /* config_load counts warnings apart, but hands both over by one function: it marks warnings in the text. */
    say(r, strstr(text, ": warning: ") == NULL, text);
}

static const char *config_why(void *user, const char *path)
{
    const struct generation_report *r = user;

    return r->why != NULL ? r->why(r->user, path) : NULL;
}

static int load_config(struct generation *v, const char *file, const struct generation_report *report)
{
    struct config_report r = {.line = config_line, .why = config_why, .user = (void *)(uintptr_t)report};
    char text[384];

    if (access(file, R_OK) != 0) {
        int e = errno;

        snprintf(text, sizeof(text), "barid: %s: %s", file, strerror(e));
        say(report, true, text);
        return exit_code_errno(e);
    }
    v->config = config_load(file, &r);
    return v->config != NULL ? EX_OK : EX_CONFIG;
}

static int load_tls(struct generation *v, size_t i, const struct generation_report *report)
{
    const struct config_listen *l = &v->config->listen[i];
    const struct config_tls *t = l->tls_files.cert != NULL ? &l->tls_files : &v->config->tls;
    struct tls_sni *sni = NULL;
    struct err err = {0};
    char text[512], version[32] = "TLSv1.2";
    int rc;

    if (l->tls == LISTEN_TLS_NONE || t->cert == NULL)
        return EX_OK;
    sni = xalloc((t->n_sni + 1) * sizeof(*sni));
    for (size_t k = 0; k < t->n_sni; k++)
        sni[k] = (struct tls_sni){.name = t->sni[k].name, .cert_file = t->sni[k].cert, .key_file = t->sni[k].key};
    if (t->min_version != NULL) /* "1.2" as declared */
        snprintf(version, sizeof(version), "TLSv%s", t->min_version);
    rc = tls_server_new(&v->tls[i],
                        &(struct tls_server_options){.cert_file = t->cert, .key_file = t->key, .sni = sni,
                                                     .n_sni = t->n_sni, .min_version = version,
                                                     .ciphers = t->ciphers, .client_ca = t->client_ca},
                        &err);
    mem_free(NULL, sni);
    if (rc == 0)
        return EX_OK;
    snprintf(text, sizeof(text), "%s: %s", l->where != NULL ? l->where : v->config->file, err.text);
    say(report, true, text);
    return EX_CONFIG;
}

static int load_users(struct generation *v, const struct generation_report *report)
{
    const char *warning = NULL, *file = v->config->users_file;
    struct err err = {0};
    char text[512];

    if (file == NULL)
        return EX_OK;
    if (users_load(&v->users, file, &err, &warning) != 0) {
        say(report, true, err.text);
        return EX_CONFIG;
    }
    if (warning != NULL) {
        snprintf(text, sizeof(text), "%s: warning: %s", file, warning);
        say(report, false, text);
    }
    return EX_OK;
}

static int load_routing(struct generation *v, const struct generation_report *report)
{
    struct err err = {0};

    arena_init(&v->arena, NULL, 0);
    if (routing_make(&v->routing, &v->arena, v->config, &err) == 0)
        return EX_OK;
    say(report, true, err.text);
    return EX_CONFIG;
}

static int check_config(const struct generation *v, const struct generation_report *report)
{
    struct err err = {0};

    if (report->check == NULL || report->check(report->user, v->config, &err) >= 0)
        return EX_OK;
    say(report, true, err.text);
    return EX_CONFIG;
}

static int load_all(struct generation *v, const char *file, const struct generation_report *report)
{
    int first = load_config(v, file, report);

    if (first == EX_OK)
        first = check_config(v, report);
    if (first != EX_OK)
        return first;
    v->tls = xalloc((v->config->n_listen + 1) * sizeof(struct tls_ctx *));
    for (size_t i = 0; i < v->config->n_listen; i++) {
        int code = load_tls(v, i, report);

        first = first != EX_OK ? first : code;
    }
    int code = load_users(v, report);

    if (code == EX_OK)
        code = load_routing(v, report);
    return first != EX_OK ? first : code;
}

int generation_load(struct generation **v_r, const char *file, uint64_t number, const struct generation_report *report)
{
    struct generation *v = xalloc(sizeof(*v));
    int code;

    atomic_init(&v->refs, 1);
    v->number = number;
    code = load_all(v, file, report);
    if (code != EX_OK)
        generation_unref(&v);
    *v_r = v;
    return code;
}

struct generation *generation_ref(struct generation *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void generation_unref(struct generation **v_p)
{
    struct generation *v = *v_p;

    *v_p = NULL;
    if (v == NULL || atomic_fetch_sub(&v->refs, 1) != 1)
        return;
    for (size_t i = 0; v->tls != NULL && i < v->config->n_listen; i++)
        tls_unref(&v->tls[i]);
    mem_free(NULL, v->tls);
    users_unref(&v->users);
    arena_deinit(&v->arena);
    config_del(&v->config);
    mem_free(NULL, v);
}

/*
 * policy/config_load.c: a configuration file to a struct config, or to the list of all its
 * mistakes.
 *
 * The file is read once, and so is every module it requires: workers get these octets
 * (policy_lua_new), so two of them cannot differ. Evaluation stops only at what Lua itself
 * cannot pass, an error raised at the top level or a syntax error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "policy/declare.h"
#include "policy/engine.h"
#include "policy/module.h"

static void report_line(struct config_report *report, const char *text, bool warning)
{
    if (warning)
        report->warnings++;
    else
        report->errors++;
    if (report->line != NULL)
        report->line(report->user, text);
}

static int by_line(const void *a, const void *b)
{
    const struct mistake *x = *(const struct mistake *const *)a,
                         *y = *(const struct mistake *const *)b;
    int order;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* In the order of the file; a mistake noticed twice is one. */
static void report_all(struct declare *d, struct config_report *report)
{
    struct mistake **all =
        arena_alloc(&d->scratch, (d->n_mistakes + 1) * sizeof(struct mistake *));
    size_t n = 0;

    for (struct mistake *m = d->mistakes; all != NULL && m != NULL; m = m->next)
        all[n++] = m;
    if (all == NULL || d->nomem) {
        report_line(report, "out of memory", false);
        return;
    }
    qsort(all, n, sizeof(struct mistake *), by_line);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(all[i]->text, all[i - 1]->text) != 0)
            report_line(report, all[i]->text, all[i]->warning);
    }
}

/* --- checks over the whole ------------------------------------------------------------------
 */

static void check_tls(struct declare *d)
{
    const struct config_tls *t = &d->config->tls;

    d->line = declare_line(d, "tls");
    if (d->line > 0 && (t->cert != NULL) != (t->key != NULL) && d->n_mistakes == 0)
        declare_mistake(d, "tls: certificate and key belong together");
    d->line = 0;
}

static void check_retry(struct declare *d)
{
    if (d->config->retry.first_s <= d->config->retry.max_s)
        return;
    d->line = declare_line(d, "retry");
    declare_mistake(d, "retry: first is longer than max");
    d->line = 0;
}

/* That it can be read; what stands in it is judged by whoever uses it. */
static void check_users(struct declare *d)
{
    struct buf text;
    struct err err = {0};

    if (d->config->users_file == NULL)
        return;
    buf_init(&text, NULL, 0);
    d->line = declare_line(d, "auth");
    if (module_read(d->config->users_file, &text, &err) < 0)
        declare_mistake(d, "auth.users: %s", err.text);
    d->line = 0;
    buf_wipe(&text);
}

static void finish(struct declare *d)
{
    check_tls(d);
    check_retry(d);
    check_users(d);
    declare_listen_finish(d);
}

/* --- loading --------------------------------------------------------------------------------
 */

/* "policy.lua:17: ..." -> 17, so that it stands among the others. */
static int line_of(const char *text)
{
    const char *colon = strchr(text, ':');

    return colon != NULL ? atoi(colon + 1) : 0;
}

static int init_declare(struct declare *d, struct config *c, struct engine *e)
{
    struct script *s = &e->script;
    size_t n = 0;
    const char *slash = strrchr(c->file, '/');

    while (declarations[n].name != NULL)
        n++;
    *d = (struct declare){.config = c};
    arena_init(&d->scratch, NULL, 0);
    d->lines = arena_alloc(&d->scratch, (n + 1) * sizeof(int));
    d->chunk = slash != NULL ? slash + 1 : c->file;
    d->dir = slash == c->file ? ""
                              : arena_strdup(&c->arena, slice_head(slice_str(c->file),
                                                                   (size_t)(slash - c->file)));
    s->config = c;
    s->declare = d;
    s->engine = e;
    arena_init(&e->scratch, NULL, 0);
    s->max = SIZE_MAX / 2;
    s->clock = &clock_system;
    s->budget.instructions = SCRIPT_LOAD_INSTRUCTIONS;
    s->budget.cpu_ms = SCRIPT_LOAD_CPU_MS;
    return d->lines != NULL && d->dir != NULL ? 0 : BARID_ENOMEM;
}

static void evaluate(struct config *c, uint32_t cpu_ms, struct config_report *report)
{
    struct engine e = {0}; /* without a policy: hooks are only looked at */
    struct declare d;
    struct err err = {0};

    if (init_declare(&d, c, &e) < 0 || script_init(&e.script) < 0) {
        report_line(report, "out of memory", false);
        arena_deinit(&d.scratch);
        return;
    }
    d.report = report;
    d.L = e.script.L;
    e.script.load_cpu_ms = cpu_ms;
    /* As much as a worker's state will have: what does not fit there must fail here. */
    e.script.max_declared = &c->limits.lua_memory;
    if (script_load(&e.script, c->file, c->text, &err) < 0)
        declare_raw(&d, line_of(err.text), err.text);
    e.script.max_declared = NULL; /* no pcall around what follows */
    d.L = e.script.L;
    finish(&d);
    report_all(&d, report);
    script_deinit(&e.script);
    arena_deinit(&e.scratch);
    arena_deinit(&d.scratch);
}

static int read_text(struct config *c, const char *file, struct err *err)
{
    struct buf text;
    char *whole = realpath(file, NULL);
    int rc;

    if (whole == NULL)
        return err_errno(err, errno == ENOENT ? BARID_ENOTFOUND : BARID_EIO, errno,
                         "%s: cannot read the configuration", file);
    c->file = arena_strdup(&c->arena, slice_str(whole));
    free(whole);
    buf_init(&text, NULL, MODULE_TEXT_MAX);
    rc = c->file == NULL ? BARID_ENOMEM : module_read(c->file, &text, err);
    if (rc == 0)
        rc = arena_slice(&c->arena, buf_slice(&text), &c->text);
    buf_deinit(&text);
    return rc == BARID_ENOMEM ? err_set(err, rc, "%s: out of memory", file) : rc;
}

struct config *config_load_text(const char *file, barid_slice text, uint32_t cpu_ms,
                                struct config_report *report)
{
    struct config *c = config_default();

    if (c != NULL)
        c->file = arena_strdup(&c->arena, slice_str(file));
    if (c == NULL || c->file == NULL || arena_slice(&c->arena, text, &c->text) < 0)
        report_line(report, "out of memory", false);
    else
        evaluate(c, cpu_ms, report);
    if (report->errors > 0)
        config_del(&c);
    return c;
}

struct config *config_load(const char *file, struct config_report *report)
{
    struct config *c = config_default();
    struct err err = {0};

    if (c == NULL) {
        report_line(report, "out of memory", false);
        return NULL;
    }
    if (read_text(c, file, &err) < 0)
        report_line(report, err.text, false);
    else
        evaluate(c, 0, report);
    if (report->errors > 0)
        config_del(&c);
    return c;
}

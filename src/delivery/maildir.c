/*
 * delivery/maildir.c: final delivery into a Maildir. Knows the layout; root.c keeps it beneath
 * the root, deposit.c makes it durable. No mutable state after opening: safe from several
 * threads.
 */
#include "delivery/maildir_open.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "delivery/deposit.h"
#include "delivery/root.h"
#include "message/template.h"
#include "message/trace_field.h"

#define HOST_MAX  100 /* of the host name in file names: all fits NAME_MAX */
#define WHERE_MAX (TEMPLATE_RESULT_MAX + DEPOSIT_NAME_MAX + 8) /* target, "/new/", name */

struct maildir {
    struct transport transport;
    const barid_mem *mem;
    const struct log *log;
    struct root root;
    bool crlf;
    char host[HOST_MAX + 1];
};

/* The three directories of one Maildir. */
struct dirs {
    int tmp, new, cur;
};

static void close_dirs(const struct dirs *dirs)
{
    const int fds[] = {dirs->tmp, dirs->new, dirs->cur};

    for (size_t i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int open_one(const struct maildir *m, barid_slice target, const char *name, int *fd_r)
{
    char path[TEMPLATE_RESULT_MAX + 8];
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)target.n, target.p, name);

    if (target.n > TEMPLATE_RESULT_MAX || n < 0 || (size_t)n >= sizeof(path))
        return ENAMETOOLONG;
    return root_dir(&m->root, slice_of(path, (size_t)n), fd_r);
}

/* 0 or an errno value; close_dirs in either case. */
static int open_dirs(const struct maildir *m, barid_slice target, struct dirs *dirs)
{
    int rc;

    *dirs = (struct dirs){-1, -1, -1};
    rc = open_one(m, target, "tmp", &dirs->tmp);
    if (rc == 0)
        rc = open_one(m, target, "cur", &dirs->cur);
    return rc == 0 ? open_one(m, target, "new", &dirs->new) : rc;
}

static void make_name(const struct maildir *m, const struct delivery *d, char *out, size_t size)
{
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(d->mail->id, id);
    snprintf(out, size, "%lld.M%06lldI%sU%zu.%s", (long long)(d->mail->received_us / 1000000),
             (long long)(d->mail->received_us % 1000000), id, d->unit_index, m->host);
}

/* A reader moved it to cur/ and put flags behind its name. */
static bool in_cur(int cur, const char *name)
{
    int fd = dup(cur);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    size_t n = strlen(name);
    const struct dirent *entry;
    bool found = false;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false; /* then it may be delivered twice, and we say so */
    }
    rewinddir(
        dir); /* the position belongs to the directory that was opened, and dup shares it */
    while (!found && (entry = readdir(dir)) != NULL)
        found = strncmp(entry->d_name, name, n) == 0 &&
                (entry->d_name[n] == '\0' || entry->d_name[n] == ':');
    closedir(dir);
    return found;
}

static int write_front(const struct delivery *d, struct buf *front)
{
    int rc = trace_return_path(front, d->mail);

    for (size_t i = 0; rc == 0 && i < d->unit->n_rcpts; i++)
        rc = trace_delivered_to(front, d->mail->rcpts[d->unit->rcpts[i]]);
    return rc;
}

static void store(struct maildir *m, const struct delivery *d, struct deposit *p,
                  const struct dirs *dirs, const char *where, struct delivery_result *r)
{
    bool again = d->attempts > 0 || d->after_restart;
    enum deposit_step step = DEPOSIT_BEFORE;
    struct fault fault = {.error = 0};

    if (!deposit_exists(p, &fault) && !(again && in_cur(dirs->cur, p->final)))
        step = deposit(p, &fault);
    if (step == DEPOSIT_FAILED || fault.error != 0) {
        fault_result(&fault, where, r);
        return;
    }
    done_result(step == DEPOSIT_BEFORE, step == DEPOSIT_DONE && again, where, r);
    if (r->maybe_duplicate)
        log_record(m->log, LOG_LEVEL_WARN, "maildir", "delivered, maybe for the second time",
                   LOG_CSTR("file", where));
}

static void deliver(struct transport *t, const struct delivery *d, struct delivery_result *r)
{
    struct maildir *m = (struct maildir *)t; /* transport is its first member */
    struct deposit p = {.mem = m->mem,
                        .delivery = d,
                        .left_out = BARID_S("Return-Path"),
                        .always_blank = true,
                        .lf = !m->crlf && d->mail->params.body != BARID_BODY_BINARYMIME};
    char where[WHERE_MAX];
    struct fault fault = {.error = 0};
    struct dirs dirs;
    struct buf front;

    make_name(m, d, p.final, sizeof(p.final));
    memcpy(p.temp, p.final, sizeof(p.temp));
    snprintf(where, sizeof(where), "%.*s/new/%s",
             (int)slice_head(d->unit->target, TEMPLATE_RESULT_MAX).n,
             d->unit->target.n > 0 ? d->unit->target.p : "", p.final);
    buf_init(&front, m->mem, 0);
    fault.error = open_dirs(m, d->unit->target, &dirs);
    if (fault.error == 0 && write_front(d, &front) < 0)
        fault.text = "out of memory";
    p.front = buf_slice(&front);
    p.temp_dir = dirs.tmp;
    p.final_dir = dirs.new;
    if (fault.error != 0 || fault.text != NULL)
        fault_result(&fault, where, r);
    else
        store(m, d, &p, &dirs, where, r);
    close_dirs(&dirs);
    buf_deinit(&front);
}

static void close_maildir(struct transport *t)
{
    struct maildir *m = (struct maildir *)t;

    root_close(&m->root);
    mem_free(m->mem, m);
}

/* Maildir names must not hold "/" or ":"; anything unusual becomes "_". */
static void set_host(struct maildir *m, barid_slice host)
{
    size_t n = host.n < HOST_MAX ? host.n : HOST_MAX;

    for (size_t i = 0; i < n; i++) {
        char c = host.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-';

        m->host[i] = ok ? c : '_';
    }
    m->host[n] = '\0';
}

int maildir_open(struct transport **t_r, const struct maildir_options *o, struct err *err)
{
    struct maildir *m = mem_zalloc(o->mem, sizeof(*m));
    int rc;

    if (m == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    m->transport = (struct transport){.name = "maildir",
                                      .kind = DISPOSITION_STORE,
                                      .deliver = deliver,
                                      .close = close_maildir};
    m->mem = o->mem;
    m->log = o->log;
    m->crlf = o->crlf;
    set_host(m, o->hostname);
    rc = root_open(&m->root, o->root, o->log, err);
    if (rc < 0) {
        mem_free(o->mem, m);
        return rc;
    }
    *t_r = &m->transport;
    return 0;
}

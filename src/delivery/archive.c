/*
 * delivery/archive.c: one file per message. Knows names; root.c keeps them beneath the root,
 * deposit.c makes them durable. No mutable state after opening: safe from several threads.
 */
#include "delivery/archive_open.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "delivery/deposit.h"
#include "delivery/root.h"
#include "message/template.h"

#define WHERE_MAX (TEMPLATE_RESULT_MAX + DEPOSIT_NAME_MAX + 8)

struct archive {
    struct transport transport;
    const barid_mem *mem;
    struct root root;
};

static void deliver(struct transport *t, const struct delivery *d, struct delivery_result *r)
{
    struct archive *a = (struct archive *)t; /* transport is its first member */
    struct deposit p = {.mem = a->mem, .delivery = d};
    enum deposit_step step = DEPOSIT_FAILED;
    char id[MAIL_ID_TEXT_SIZE], where[WHERE_MAX];
    struct fault fault = {.error = 0};
    int dir = -1;

    mail_id_text(d->mail->id, id);
    snprintf(p.final, sizeof(p.final), "%s.eml", id);
    /* A leading dot hides it from whoever reads the archive while it grows. */
    snprintf(p.temp, sizeof(p.temp), ".%s.part%zu", id, d->unit_index);
    snprintf(where, sizeof(where), "%.*s/%s",
             (int)slice_head(d->unit->target, TEMPLATE_RESULT_MAX).n,
             d->unit->target.n > 0 ? d->unit->target.p : "", p.final);
    fault.error = root_dir(&a->root, d->unit->target, &dir);
    p.temp_dir = p.final_dir = dir;
    if (fault.error == 0)
        step = deposit(&p, &fault);
    if (step == DEPOSIT_FAILED)
        fault_result(&fault, where, r);
    else
        done_result(step == DEPOSIT_BEFORE, false, where, r);
    if (dir >= 0)
        close(dir);
}

static void close_archive(struct transport *t)
{
    struct archive *a = (struct archive *)t;

    root_close(&a->root);
    mem_free(a->mem, a);
}

int archive_open(struct transport **t_r, const struct archive_options *o, struct err *err)
{
    struct archive *a = mem_zalloc(o->mem, sizeof(*a));
    int rc;

    if (a == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    a->transport = (struct transport){.name = "archive",
                                      .kind = DISPOSITION_ARCHIVE,
                                      .deliver = deliver,
                                      .close = close_archive};
    a->mem = o->mem;
    rc = root_open(&a->root, o->root, o->log, err);
    if (rc < 0) {
        mem_free(o->mem, a);
        return rc;
    }
    *t_r = &a->transport;
    return 0;
}

/* queue/source.c: see source.h. */
#include "queue/source.h"

#include "base/mem.h"
#include "base/slice.h"

static const struct spool_ops *ops_of(const struct source *s)
{
    return s->work->queue->o.spool->ops;
}

static void run(struct pool_job *job)
{
    struct source *s = (struct source *)((char *)job - offsetof(struct source, job));
    uint64_t size;
    int64_t got;

    if (s->body == NULL)
        s->rc = ops_of(s)->body_open(s->work->queue->o.spool, s->work->claim.id, &s->body, &size);
    if (s->rc != 0)
        return;
    got = ops_of(s)->body_read(s->body, s->offset, s->piece, SOURCE_PIECE_MAX);
    s->n = got > 0 ? (size_t)got : 0;
    s->rc = got < 0 ? (int)got : got == 0 ? BARID_ECORRUPT : 0; /* asked only for what should be there */
}

static void end(struct source *s)
{
    if (s->body != NULL)
        ops_of(s)->body_close(s->body);
    s->body = NULL;
    mem_free(s->work->queue->o.mem, s->piece);
    s->piece = NULL;
    s->idle(s);
}

static void on_run(struct pool_job *job)
{
    struct source *s = (struct source *)((char *)job - offsetof(struct source, job));
    struct transport *t = queue_transport(s->work->queue, DISPOSITION_SEND);

    s->is_busy = false;
    if (s->idle != NULL)
        end(s);
    else if (s->consignment != NULL)
        t->body_ready(t, s->consignment);
}

static int begin(struct source *s, uint64_t offset)
{
    const struct queue *q = s->work->queue;

    if (s->piece == NULL && (s->piece = mem_alloc(q->o.mem, SOURCE_PIECE_MAX)) == NULL)
        return BARID_ENOMEM;
    s->offset = offset;
    s->n = 0;
    s->rc = 0;
    s->job.run = run;
    s->job.done = on_run;
    if (pool_start(q->o.pool, q->o.loop, &s->job) != 0)
        return BARID_EFULL;
    s->is_busy = true;
    return 0;
}

static int give(const char *p, size_t have, size_t n, barid_slice *p_r)
{
    *p_r = slice_of(p, have < n ? have : n);
    return 1;
}

int source_read(struct source *s, uint64_t offset, size_t n, barid_slice *p_r)
{
    const struct work *w = s->work;

    if (offset >= w->body_size)
        return give(NULL, 0, n, p_r);
    if (w->body != NULL)
        return give(w->body + offset, (size_t)(w->body_size - offset), n, p_r);
    if (s->is_busy)
        return 0;
    if (s->rc != 0)
        return s->rc;
    if (offset >= s->offset && offset - s->offset < s->n)
        return give(s->piece + (offset - s->offset), s->n - (size_t)(offset - s->offset), n, p_r);
    return begin(s, offset);
}

void source_end(struct source *s, void (*idle)(struct source *s))
{
    s->consignment = NULL;
    s->idle = idle;
    if (!s->is_busy)
        end(s);
}

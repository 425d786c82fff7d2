/*
 * queue/notice_store.c: a report becomes a mail in the store. Pool thread: it reads the body of the mail that it is about.
 *
 * Its sender is null and it asks for no reports (RFC 3461 6.2), so no report is ever about a report. To a sender whose domain is ours it
 * goes as a recipient that nobody has decided about: when it is due, which is at once, the queue asks policy where it belongs
 * (question.h). To all others it is sent.
 */
#include "queue/notice.h"

#include "base/slice.h"
#include "message/record.h"

#define PIECE     65536           /* of the reported body */
#define META_MAX  (1u << 20)      /* one recipient */
#define REPORT_ARENA_MAX ((size_t)4 << 20) /* the report's header, parsed, and its envelope */

struct store_state {
    struct notice *n;
    struct queue *queue;
    struct spool_put *put;
    struct report_text text;
    struct arena arena;
    struct mail mail;
    struct session_facts facts;
    struct unit unit;
    size_t rcpt; /* 0 */
    bool is_unreadable; /* the body of the reported mail */
};

static void on_commit(void *user, int err) /* any thread */
{
    struct notice *n = user;

    n->commit_rc = err;
    loop_post(n->settling->work->queue->o.loop, &n->committed);
}

/* --- body --- */

static int put(struct store_state *s, barid_slice p)
{
    return p.n == 0 ? 0 : s->queue->o.spool->ops->put_body(s->put, p.p, p.n);
}

static int put_source(struct store_state *s)
{
    const struct spool_ops *ops = s->queue->o.spool->ops;
    char piece[PIECE];
    uint64_t size, at = 0;
    void *body;
    int64_t got = ops->body_open(s->queue->o.spool, s->n->settling->work->claim.id, &body, &size);
    int rc = 0;

    if (got == 0) {
        while (rc == 0 && (got = ops->body_read(body, at, piece, sizeof(piece))) > 0) {
            rc = put(s, slice_of(piece, (size_t)got));
            at += (uint64_t)got;
        }
        ops->body_close(body);
    }
    s->is_unreadable = rc == 0 && (got == BARID_ECORRUPT || got == BARID_EIO);
    return rc == 0 && got < 0 ? (int)got : rc;
}

static int put_text(struct store_state *s)
{
    int rc = put(s, buf_slice(&s->text.before));

    if (rc == 0 && s->text.has_source)
        rc = put_source(s);
    return rc == 0 ? put(s, buf_slice(&s->text.after)) : rc;
}

static int write_text(struct store_state *s)
{
    int rc = report_write(&s->n->report, &s->text);

    return rc == 0 ? put_text(s) : rc;
}

/* What a damaged disk took from the mail must not keep its sender from hearing of it. */
static int write_without_source(struct store_state *s)
{
    int rc = s->queue->o.spool->ops->put_truncate(s->put);

    report_text_deinit(&s->text);
    s->n->report.attach = REPORT_ATTACH_HEADER;
    return rc == 0 ? write_text(s) : rc;
}

/* --- envelope --- */

/* The sender as it was accepted, which may be a name without a domain; or whom policy wants to hear of it. */
static int box_of(struct store_state *s, struct mailbox *box)
{
    const struct mailbox *sender = &s->n->settling->work->mail.sender;

    if (!slice_eq(s->n->asked.to, sender->address))
        return mailbox_from_text(box, &s->arena, s->n->asked.to, s->queue->o.subaddress);
    *box = *sender;
    return 0;
}

static int address(struct store_state *s)
{
    struct notice *n = s->n;
    struct mailbox box;
    struct rcpt *rcpt;
    int rc = box_of(s, &box);

    if (rc == 0)
        rc = mail_add_rcpt(&s->mail, &box, n->asked.to, &rcpt);
    if (rc != 0)
        return rc;
    rcpt->is_local = n->is_local;
    rcpt->notify = BARID_NOTIFY_NEVER;
    rcpt->verdict = rcpt->is_local ? RCPT_TEMPFAILED : RCPT_ACCEPTED;
    s->mail.params.smtputf8 = box.utf8;
    s->unit = (struct unit){
        .kind = rcpt->is_local ? (enum disposition_kind)0 : DISPOSITION_SEND, .rcpts = &s->rcpt, .n_rcpts = 1};
    return 0;
}

static int compose(struct store_state *s)
{
    int rc = mail_init(&s->mail, &s->arena, &s->facts, s->n->report.now_us);

    if (rc == 0)
        rc = mail_set_header(&s->mail, buf_slice(&s->text.header), true);
    if (rc != 0)
        return rc;
    s->mail.sender.null = true;
    s->mail.id = s->n->id;
    s->mail.body_size = s->queue->o.spool->ops->put_size(s->put);
    s->mail.params.body = s->text.is_8bit ? BARID_BODY_8BITMIME : BARID_BODY_7BIT;
    return address(s);
}

/* --- all of it --- */

static int describe(struct store_state *s)
{
    struct spool *spool = s->queue->o.spool;
    struct unit_state state = {.due_us = s->n->report.now_us, .group = s->n->group};
    struct buf meta;
    int rc;

    buf_init(&meta, s->queue->o.mem, META_MAX);
    rc = record_encode(&s->mail, &s->unit, 1, &meta);
    if (rc == 0)
        rc = spool->ops->put_describe(s->put, SPOOL_ACTIVE, buf_slice(&meta), buf_slice(&s->text.header), &state, 1);
    buf_deinit(&meta);
    return rc;
}

static int store(struct store_state *s)
{
    struct notice *n = s->n;
    int rc = s->queue->o.spool->ops->put_begin(s->queue->o.spool, &s->put);

    if (rc != 0)
        return rc;
    n->id = n->report.id = s->queue->o.spool->ops->put_id(s->put);
    rc = write_text(s);
    if (rc != 0 && s->is_unreadable)
        rc = write_without_source(s);
    if (rc == 0)
        rc = compose(s);
    return rc == 0 ? describe(s) : rc;
}

int notice_store(struct notice *n)
{
    struct store_state s = {.n = n, .queue = n->settling->work->queue};
    struct spool *spool = s.queue->o.spool;
    int rc;

    arena_init(&s.arena, s.queue->o.mem, REPORT_ARENA_MAX);
    rc = store(&s);
    report_text_deinit(&s.text);
    arena_deinit(&s.arena);
    if (rc == 0)
        return spool->ops->commit(spool, &s.put, 1, on_commit, n);
    if (s.put != NULL)
        spool->ops->put_abort(s.put);
    return rc;
}

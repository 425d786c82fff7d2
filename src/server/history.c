/* server/history.c: a mail that was stored, told to the history: who it is from and for, and what policy said about it. */
#include "server/transaction.h"

#include "base/buf.h"
#include "base/slice.h"

/* As many as there is room for: cut between two addresses. */
static void join_rcpts(const struct mail *m, struct buf *out)
{
    for (size_t i = 0; i < m->n_rcpts; i++) {
        barid_slice address = m->rcpts[i]->box.address;

        if (out->len + 1 + address.n > HISTORY_TEXT_MAX || buf_reserve(out, 1 + address.n) < 0)
            return;
        if (out->len > 0)
            buf_byte(out, ' ');
        buf_append(out, address);
    }
}

void transaction_tell_history(const struct transaction *tx)
{
    struct history *h = tx->c->server->o.history;
    const struct mail *m = &tx->mail;
    struct history_entry e = {.kind = HISTORY_SPOOLED,
                              .id = m->id,
                              .sender = m->sender.address,
                              .text = explain_data(&m->explain)};
    struct buf rcpts;

    if (h == NULL)
        return;
    buf_init(&rcpts, NULL, HISTORY_TEXT_MAX);
    join_rcpts(m, &rcpts);
    e.rcpts = buf_slice(&rcpts);
    history_note(h, &e);
    buf_deinit(&rcpts);
    if (m->state != MAIL_HELD && m->state != MAIL_QUARANTINED)
        return;
    e = (struct history_entry){.kind =
                                   m->state == MAIL_HELD ? HISTORY_HELD : HISTORY_QUARANTINED,
                               .id = m->id,
                               .text = m->state_reason};
    history_note(h, &e);
}

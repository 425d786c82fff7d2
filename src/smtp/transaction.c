/* smtp/transaction.c: see transaction.h. */
#include "smtp/transaction.h"

#include <string.h>

#include "base/mem.h"
#include "smtp/verdict.h"

struct transaction *tx_new(const barid_mem *mem)
{
    struct transaction *tx = mem_zalloc(mem, sizeof(*tx));

    if (tx == NULL)
        return NULL;
    tx->mem = mem;
    /* What fills it is bounded by the limits on lines, errors and recipients. */
    arena_init(&tx->arena, mem, 0);
    rx_init(&tx->rx, mem);
    tx->end = &tx->first;
    return tx;
}

void tx_del(struct transaction **tx)
{
    if (*tx == NULL)
        return;
    rx_deinit(&(*tx)->rx);
    arena_deinit(&(*tx)->arena);
    mem_free((*tx)->mem, *tx);
    *tx = NULL;
}

/* Steps in which the text of a candidate grows: a line has a limit, so the waste has one too.
 */
#define TEXT_STEP 128

static bool fit_text(struct transaction *tx, struct recipient *rcpt, size_t n)
{
    size_t size = (n / TEXT_STEP + 1) * TEXT_STEP;

    if (n < rcpt->text_size)
        return true;
    rcpt->text = arena_alloc(&tx->arena, size);
    rcpt->text_size = rcpt->text != NULL ? size : 0;
    return rcpt->text != NULL;
}

struct recipient *tx_candidate(struct transaction *tx, barid_slice arg)
{
    struct recipient *rcpt = tx->candidate, kept;

    if (rcpt == NULL)
        rcpt = tx->candidate = arena_alloc(&tx->arena, sizeof(*rcpt));
    if (rcpt == NULL || !fit_text(tx, rcpt, arg.n))
        return NULL;
    kept = *rcpt;
    *rcpt = (struct recipient){.text = kept.text, .text_size = kept.text_size};
    if (arg.n > 0)
        memcpy(rcpt->text, arg.p, arg.n);
    return rcpt;
}

void tx_accept_recipient(struct transaction *tx)
{
    *tx->end = tx->candidate;
    tx->end = &tx->candidate->next;
    tx->candidate = NULL;
    tx->count++;
}

size_t tx_accepted(const struct transaction *tx)
{
    size_t n = 0;

    for (const struct recipient *r = tx->first; r != NULL; r = r->next)
        n += !verdict_refuses(r->outcome.kind);
    return n;
}

const struct outcome *tx_strongest_refusal(const struct transaction *tx)
{
    const struct outcome *found = NULL;

    for (const struct recipient *r = tx->first; r != NULL; r = r->next) {
        if (r->outcome.kind == BARID_REJECT)
            return &r->outcome;
        if (r->outcome.kind == BARID_TEMPFAIL && found == NULL)
            found = &r->outcome;
    }
    return found;
}

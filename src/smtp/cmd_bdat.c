/*
 * smtp/cmd_bdat.c: BDAT (RFC 3030 2). Knows chunks, not what is in them.
 *
 * The octets of every chunk are consumed, whatever becomes of it; the reply comes after them.
 * Only an argument that does not say how many they are leaves no way on: what follows might be
 * taken for commands, so 501 is said and the session closes. verbs.c does the same for a line
 * that is none.
 *
 * A chunk that fails breaks the transaction: later ones get 503 until RSET. In LMTP the last of
 * them gets it once per recipient, as the client counts on so many replies.
 */
#include "smtp/chunks.h"
#include "smtp/message.h"
#include "smtp/steps.h"
#include "smtp/verbs.h"

/* Far above any message, far below overflow. */
#define CHUNK_MAX (UINT64_C(1) << 62)

static bool parse(barid_slice arg, uint64_t *size_r, bool *last_r)
{
    barid_slice rest;

    if (slice_u64(slice_cut(arg, ' ', &rest), CHUNK_MAX, size_r) < 0)
        return false;
    rest = slice_trim(rest);
    *last_r = rest.n > 0;
    return rest.n == 0 || slice_eq_nocase(rest, BARID_S("LAST"));
}

/* Read past the octets, then give this reply. */
static void skip(struct barid_session *s, uint64_t size, enum barid_reply_id row,
                 const char *detail, size_t count)
{
    s->skip_left = size;
    s->skip_row = (uint16_t)row;
    s->skip_detail = detail;
    s->skip_count = count;
    session_enter(s, PHASE_SKIP);
}

bool step_skip(struct barid_session *s)
{
    barid_slice in = session_input(s);
    uint64_t most = SESSION_LIMIT(s, message);
    size_t n = in.n < s->skip_left ? in.n : (size_t)s->skip_left;

    /* More than a message's worth of octets that nobody asked for. */
    if (s->skip_left > most) {
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_TOO_MANY_ERRORS);
        return true;
    }
    session_take(s, n);
    s->skip_left -= n;
    if (s->skip_left > 0)
        return false;
    session_enter(s, PHASE_COMMAND);
    if (s->shut == SHUT_TLS)
        reply_outcome(s, &s->held->outcome);
    else
        for (size_t i = 0; i < s->skip_count; i++)
            reply_detail(s, (enum barid_reply_id)s->skip_row, slice_str(s->skip_detail));
    return true;
}

/* Why no chunk can be taken now: false, and its octets are skipped. */
static bool check(struct barid_session *s, uint64_t size, bool last)
{
    enum verb_state state = verb_state(s);
    size_t replies = is_lmtp(s) && last && state == STATE_BROKEN ? s->tx->count : 1;

    if (s->shut != SHUT_NOT)
        skip(s, size, BARID_REPLY_NOT_AFTER_REFUSAL, "", 1);
    else if ((session_extensions(s) & BARID_EXT_CHUNKING) == 0)
        skip(s, size, BARID_REPLY_NOT_IMPLEMENTED, "", 1);
    else if (state == STATE_NEW)
        skip(s, size, BARID_REPLY_BAD_SEQUENCE, "HELO first", 1);
    else if (state == STATE_READY)
        skip(s, size, BARID_REPLY_BAD_SEQUENCE, "MAIL first", 1);
    else if (state == STATE_BROKEN)
        skip(s, size, BARID_REPLY_BDAT_FAILED, "", replies);
    else if (state == STATE_MAIL)
        skip(s, size, BARID_REPLY_BAD_SEQUENCE, "RCPT first", 1);
    else
        return true;
    return false;
}

void cmd_bdat(struct barid_session *s, const struct command *c)
{
    uint64_t size;
    bool last;

    if (!parse(c->arg, &size, &last)) {
        reply_syntax(s, "BDAT size [LAST]");
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_NONE);
        return;
    }
    if (!check(s, size, last))
        return;
    s->tx->chunk_size = s->tx->chunk_left = size;
    s->tx->chunk_last = last;
    if (s->tx->bdat)
        session_enter(s, PHASE_CHUNK);
    else
        session_ask(s, BARID_EVENT_DATA)->bdat = true;
}

void act_first_chunk(struct barid_session *s, const barid_verdict *v)
{
    struct transaction *tx = s->tx;

    if (v->kind == BARID_DISCONNECT) {
        session_refused(s, v);
        return;
    }
    tx->bdat = true;
    if (verdict_refuses(v->kind))
        message_refuse(s, v);
    session_enter(s, PHASE_CHUNK);
}

static void chunk_done(struct barid_session *s)
{
    struct transaction *tx = s->tx;

    if (tx->chunk_last) {
        session_enter(s, PHASE_MESSAGE);
        return;
    }
    session_enter(s, PHASE_COMMAND);
    if (message_is_refused(s)) {
        tx->broken = true;
        reply_outcome(s, &tx->refusal);
    } else {
        reply_number(s, BARID_REPLY_BDAT_OK, tx->chunk_size);
    }
}

bool step_chunk(struct barid_session *s)
{
    struct transaction *tx = s->tx;
    barid_slice in = session_input(s);
    enum rx_result result;
    size_t used = 0;

    if (tx->chunk_left == 0) {
        chunk_done(s);
        return true;
    }
    if (in.n == 0)
        return false;
    if (in.n > tx->chunk_left)
        in.n = (size_t)tx->chunk_left;
    result = rx_chunk(&tx->rx, in, &used);
    session_take(s, used);
    tx->chunk_left -= used;
    message_received(s, result);
    return true;
}

/*
 * smtp/receiver.c: message octets; see receiver.h. Knows no session.
 *
 * States (of the input), and what the next octet does:
 *
 *   AT_BOL     after CRLF or at the start    '.' with DATA -> AT_DOT, else IN_LINE
 *   AT_DOT     a leading dot, not kept       CR -> AT_DOT_CR, else IN_LINE (RFC 5321 4.5.2)
 *   AT_DOT_CR  dot and CR                    LF -> end of data, else a bare CR
 *   IN_LINE                                  CR -> AT_CR, LF -> a bare LF
 *   AT_CR      a CR, not kept yet            LF -> CRLF kept, AT_BOL; else a bare CR
 *
 * A bare CR or LF never leads to AT_BOL, whatever becomes of it: so nothing but CRLF.CRLF ends
 * DATA and nothing but CRLF makes a dot a stuffed one (no smuggling).
 *
 * Invariants: all decisions depend on the sequence of octets only, never on the cuts: every
 * limit is met at an exact octet and everything before it was kept. A full chunk is reported
 * when one more octet is to be kept. Searching is done with memchr over whole runs; `struct
 * run` remembers where the next CR and LF are so that an input of bare ones stays linear.
 */
#include "smtp/receiver.h"

#include <string.h>

#include "base/slice.h"

/* The input of one call. */
struct run {
    const char *p, *end;
    const char *cr, *lf; /* the next CR and LF at or after p, or end; stale when before p */
};

void rx_init(struct receiver *rx, const barid_mem *mem)
{
    *rx = (struct receiver){.state = RX_AT_BOL};
    buf_init(&rx->block, mem, 0);
}

void rx_deinit(struct receiver *rx)
{
    buf_deinit(&rx->block);
}

void rx_drop(struct receiver *rx)
{
    rx->dropping = true;
    rx->owed = false;
    rx->headers_due = false;
    buf_deinit(&rx->block);
}

static void refuse(struct receiver *rx, enum barid_reply_id why)
{
    if (rx->refusal == BARID_REPLY_NONE)
        rx->refusal = why;
    rx_drop(rx);
}

void rx_release(struct receiver *rx)
{
    if (rx->headers_due) {
        rx->headers_due = false;
        rx->in_body = true;
    }
    buf_clear(&rx->block);
}

/* The chunk is full: nothing can be kept before it is released. */
static bool is_full(const struct receiver *rx)
{
    return rx->in_body && !rx->dropping && rx->block.len == RX_CHUNK;
}

/* How many of n octets can be kept now; 0 = the message was refused because of them. */
static size_t room(struct receiver *rx, size_t n)
{
    uint64_t left = rx->size_max - rx->size;
    size_t most = rx->in_body ? RX_CHUNK - rx->block.len : rx->header_max - rx->block.len;

    if (left == 0 || most == 0)
        refuse(rx, left == 0 ? BARID_REPLY_MESSAGE_TOO_BIG : BARID_REPLY_HEADER_TOO_BIG);
    else if (buf_reserve(&rx->block, n < most ? n : most) < 0)
        refuse(rx, BARID_REPLY_LOCAL_ERROR);
    if (rx->dropping)
        return 0;
    if (most > left)
        most = (size_t)left;
    return n < most ? n : most;
}

/* Keep octets: returns how many, at least one. The caller has made sure of !is_full. */
static size_t keep(struct receiver *rx, const char *p, size_t n)
{
    size_t k = rx->dropping ? 0 : room(rx, n);

    if (rx->dropping) {
        rx->dropped += n;
        return n;
    }
    memcpy(rx->block.p + rx->block.len, p, k);
    rx->block.len += k;
    rx->size += k;
    return k;
}

/* A line end, which may fill the chunk with its CR. */
static void keep_crlf(struct receiver *rx)
{
    if (keep(rx, "\r\n", 2) == 1)
        rx->owed = true;
    rx->line = 0;
}

/* CRLF in the header: a blank line ends it and is not kept, but counted. */
static void end_line(struct receiver *rx)
{
    if (rx->in_body || rx->line > 0 || rx->dropping) {
        keep_crlf(rx);
        return;
    }
    if (rx->size_max - rx->size < 2) {
        refuse(rx, BARID_REPLY_MESSAGE_TOO_BIG);
        return;
    }
    rx->size += 2;
    rx->has_blank_line = true;
    rx->headers_due = true;
}

/* One octet of a line, where it is not worth looking for a run. */
static void keep_octet(struct receiver *rx, char c)
{
    if (rx->line >= rx->line_max && !rx->dropping)
        refuse(rx, BARID_REPLY_DATA_LINE_TOO_LONG);
    keep(rx, &c, 1);
    rx->line++;
}

/* The one place that decides what a CR or LF alone becomes. */
static void bare_newline(struct receiver *rx, char c)
{
    rx->state = RX_IN_LINE;
    if (rx->binary)
        keep_octet(rx, c);
    else if (rx->normalise)
        end_line(rx);
    else
        refuse(rx, BARID_REPLY_BARE_NEWLINE);
}

static const char *next_of(const char *known, const struct run *run, const char *p, char c)
{
    if (known != NULL && known >= p)
        return known;
    known = memchr(p, c, (size_t)(run->end - p));
    return known != NULL ? known : run->end;
}

/*
 * The octets from run->p on that are kept as they are: in the body as many lines as follow each
 * other without a dot to undo, in the header one line without its end. *line_r gets the
 * octets of the last, unfinished line among them, *bol_r whether they end with CRLF.
 */
static size_t clean_run(const struct receiver *rx, struct run *run, size_t *line_r, bool *bol_r)
{
    const char *p = run->p;
    size_t line = rx->line;

    *bol_r = false;
    for (;;) {
        size_t most = rx->line_max - line, n;
        const char *stop;

        run->cr = next_of(run->cr, run, p, '\r');
        run->lf = next_of(run->lf, run, p, '\n');
        stop = run->cr < run->lf ? run->cr : run->lf;
        n = (size_t)(stop - p);
        if (n > most && !rx->dropping) {
            *line_r = rx->line_max;
            *bol_r = false;
            return (size_t)(p + most - run->p);
        }
        *line_r = line + n;
        if (n > 0)
            *bol_r = false;
        if (!rx->in_body || run->lf == run->end || run->lf != run->cr + 1)
            return (size_t)(stop - run->p);
        p = run->lf + 1;
        *bol_r = true;
        *line_r = line = 0;
        if (p == run->end || (rx->dots && *p == '.'))
            return (size_t)(p - run->p);
    }
}

/* After k of n octets of a clean run were kept, where the input stands. */
static void after_run(struct receiver *rx, struct run *run, size_t k)
{
    char last = run->p[k - 1];

    run->p += k;
    rx->state = RX_IN_LINE;
    if (last == '\r') { /* the chunk ends between CR and LF */
        run->p++;
        rx->owed = true;
        last = '\n';
    }
    if (last == '\n') {
        rx->state = RX_AT_BOL;
        rx->line = 0;
    } else {
        const char *nl = memrchr(run->p - k, '\n', k);

        rx->line = nl != NULL ? (size_t)(run->p - 1 - nl) : rx->line + k;
    }
}

static enum rx_result step_line(struct receiver *rx, struct run *run)
{
    size_t line, n, k;
    bool bol;

    if (is_full(rx))
        return RX_BODY;
    n = clean_run(rx, run, &line, &bol);
    if (n == 0) {
        char c = *run->p;

        if (c != '\r' && c != '\n') {
            refuse(rx, BARID_REPLY_DATA_LINE_TOO_LONG);
            return RX_MORE;
        }
        run->p++;
        if (c == '\r')
            rx->state = RX_AT_CR;
        else
            bare_newline(rx, c);
        return RX_MORE;
    }
    k = keep(rx, run->p, n);
    if (k < n) {
        after_run(rx, run, k);
        return RX_MORE;
    }
    run->p += n;
    rx->line = line;
    rx->state = bol ? RX_AT_BOL : RX_IN_LINE;
    return RX_MORE;
}

static enum rx_result step_bol(struct receiver *rx, struct run *run)
{
    if (rx->dots && *run->p == '.') {
        run->p++;
        rx->state = RX_AT_DOT;
        return RX_MORE;
    }
    rx->state = RX_IN_LINE;
    return RX_MORE;
}

static enum rx_result step_dot(struct receiver *rx, struct run *run)
{
    rx->state = RX_IN_LINE;
    if (*run->p == '\r') {
        run->p++;
        rx->state = RX_AT_DOT_CR;
    }
    return RX_MORE;
}

static enum rx_result step_dot_cr(struct receiver *rx, struct run *run)
{
    if (*run->p == '\n') {
        run->p++;
        return RX_END;
    }
    if (is_full(rx))
        return RX_BODY;
    bare_newline(rx, '\r');
    return RX_MORE;
}

static enum rx_result step_cr(struct receiver *rx, struct run *run)
{
    if (is_full(rx))
        return RX_BODY;
    if (*run->p != '\n') {
        bare_newline(rx, '\r');
        return RX_MORE;
    }
    run->p++;
    rx->state = RX_AT_BOL;
    end_line(rx);
    return RX_MORE;
}

static enum rx_result (*const steps[RX_STATES])(struct receiver *, struct run *) = {
    [RX_AT_BOL] = step_bol,   [RX_AT_DOT] = step_dot, [RX_AT_DOT_CR] = step_dot_cr,
    [RX_IN_LINE] = step_line, [RX_AT_CR] = step_cr,
};

/* Bodies of BODY=BINARYMIME: octets, no lines. */
static enum rx_result step_binary(struct receiver *rx, struct run *run)
{
    if (is_full(rx))
        return RX_BODY;
    run->p += keep(rx, run->p, (size_t)(run->end - run->p));
    return RX_MORE;
}

/* The LF that did not fit behind its CR. */
static enum rx_result settle_debt(struct receiver *rx)
{
    if (is_full(rx))
        return RX_BODY;
    rx->owed = false;
    keep(rx, "\n", 1);
    return RX_MORE;
}

static enum rx_result next_step(struct receiver *rx, struct run *run)
{
    if (rx->owed)
        return settle_debt(rx);
    if (rx->binary && rx->in_body)
        return step_binary(rx, run);
    return steps[rx->state](rx, run);
}

static enum rx_result take(struct receiver *rx, barid_slice in, size_t *used_r)
{
    struct run run = {.p = in.p, .end = in.p + in.n};
    enum rx_result result = RX_MORE;

    /* An LF that is owed without a full chunk stands at a limit: that is known now. */
    while (result == RX_MORE && (run.p < run.end || (rx->owed && !is_full(rx)))) {
        result = next_step(rx, &run);
        if (rx->headers_due)
            result = RX_HEADERS;
        else if (rx->dropped > rx->size_max && result != RX_END)
            result = RX_OVERRUN;
    }
    *used_r = (size_t)(run.p - in.p);
    return result;
}

enum rx_result rx_data(struct receiver *rx, barid_slice in, size_t *used_r)
{
    rx->dots = true;
    return take(rx, in, used_r);
}

enum rx_result rx_chunk(struct receiver *rx, barid_slice in, size_t *used_r)
{
    rx->dots = false;
    return take(rx, in, used_r);
}

enum rx_result rx_finish(struct receiver *rx)
{
    if (rx->owed && settle_debt(rx) == RX_BODY)
        return RX_BODY;
    if (!rx->dropping && rx->state == RX_AT_CR) { /* BDAT LAST ended with a CR */
        if (is_full(rx))
            return RX_BODY;
        bare_newline(rx, '\r');
    }
    if (rx->owed && is_full(rx))
        return RX_BODY;
    if (rx->dropping)
        return RX_END;
    if (!rx->in_body) {
        rx->headers_due = true;
        return RX_HEADERS;
    }
    return rx->block.len > 0 ? RX_BODY : RX_END;
}

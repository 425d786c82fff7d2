/*
 * smtp/client_body.c: the message as it goes on the wire.
 *
 * Every CR that leaves is followed by LF and every LF preceded by CR; a line that begins with a
 * dot gets another one in DATA. So the only CRLF.CRLF that a server of any opinion can see is
 * ours (RFC 5321 4.1.1.4, 4.5.2). BINARYMIME is passed as it is: it has no lines (RFC 3030 3).
 */
#include "smtp/client_int.h"

#include "base/slice.h"

static int put_newline(struct barid_client *c, struct buf *out)
{
    c->body.mid_line = false;
    return buf_append(out, BARID_S("\r\n"));
}

static int bare_newline(struct barid_client *c, struct buf *out)
{
    return c->config->bare_newline == BARID_BARE_NORMALISE ? put_newline(c, out)
                                                           : BARID_ESYNTAX;
}

/* Octets without CR and LF. */
static int put_run(struct barid_client *c, struct buf *out, barid_slice run)
{
    int r;

    if (run.n == 0)
        return 0;
    if (!c->body.mid_line && run.p[0] == '.' && !c->use_bdat && (r = buf_byte(out, '.')) < 0)
        return r;
    c->body.mid_line = true;
    return buf_append(out, run);
}

static size_t run_length(barid_slice s)
{
    size_t n = slice_find(s, '\n');

    return slice_find(slice_head(s, n), '\r');
}

/* The CR that was held back meets what follows it; *s loses an LF. */
static int settle_cr(struct barid_client *c, struct buf *out, barid_slice *s)
{
    c->body.cr = false;
    if (s->n == 0 || s->p[0] != '\n')
        return bare_newline(c, out);
    *s = slice_from(*s, 1);
    return put_newline(c, out);
}

static int put_lines(struct barid_client *c, struct buf *out, barid_slice s)
{
    while (s.n > 0) {
        size_t n;
        int r;

        if (c->body.cr) {
            if ((r = settle_cr(c, out, &s)) < 0)
                return r;
            continue;
        }
        n = run_length(s);
        if ((r = put_run(c, out, slice_head(s, n))) < 0)
            return r;
        s = slice_from(s, n);
        if (s.n == 0)
            break;
        if (s.p[0] == '\r')
            c->body.cr = true;
        else if ((r = bare_newline(c, out)) < 0)
            return r;
        s = slice_from(s, 1);
    }
    return 0;
}

int client_body_put(struct barid_client *c, struct buf *out, barid_slice piece, bool last)
{
    barid_slice none = {0};
    int r;

    if (c->mail->params.body == BARID_BODY_BINARYMIME)
        return buf_append(out, piece);
    if ((r = put_lines(c, out, piece)) < 0 || !last)
        return r;
    if (c->body.cr && (r = settle_cr(c, out, &none)) < 0)
        return r;
    /* RFC 5321 4.1.1.4: the end needs a line end before it; BDAT ends by count. */
    if (c->body.mid_line && !c->use_bdat)
        return put_newline(c, out);
    return 0;
}

/*
 * smtp/reply_parse.c: the replies of a server (RFC 5321 4.2.1), as they come.
 *
 *   Reply-line = *( code "-" [text] CRLF ) code [ SP text ] CRLF
 *
 * State: `line` holds an unfinished line, `text` the finished ones. The enhanced code is taken
 * from the first line only where its class is that of the code (RFC 2034 4), and left out of
 * the text of each line that repeats it.
 */
#include "smtp/reply_parse.h"

#include "base/slice.h"

void reply_parser_init(struct reply_parser *p, const barid_mem *mem)
{
    *p = (struct reply_parser){0};
    buf_init(&p->line, mem, REPLY_LINE_MAX);
    buf_init(&p->text, mem, REPLY_MAX);
}

void reply_parser_deinit(struct reply_parser *p)
{
    buf_deinit(&p->line);
    buf_deinit(&p->text);
}

static void begin(struct reply_parser *p)
{
    buf_clear(&p->line);
    buf_clear(&p->text);
    p->code = 0;
    p->lines = p->octets = 0;
    p->enhanced = (barid_slice){0};
    p->done = false;
}

static size_t digits(barid_slice s, size_t at)
{
    size_t n = 0;

    while (at + n < s.n && s.p[at + n] >= '0' && s.p[at + n] <= '9')
        n++;
    return n;
}

/* class "." subject "." detail (RFC 3463 2), then a space or the end. Octets, 0 when none. */
static size_t scan_enhanced(barid_slice s, uint16_t code)
{
    size_t subject, detail, n;

    if (s.n < 5 || s.p[0] != (char)('0' + code / 100) || memchr("245", s.p[0], 3) == NULL ||
        s.p[1] != '.')
        return 0;
    subject = digits(s, 2);
    if (subject == 0 || subject > 3 || 2 + subject >= s.n || s.p[2 + subject] != '.')
        return 0;
    detail = digits(s, 3 + subject);
    n = 3 + subject + detail;
    return detail > 0 && detail <= 3 && (n == s.n || s.p[n] == ' ') ? n : 0;
}

/* The code of a line, or 0. The first digit is 2 to 5 (RFC 5321 4.2: 1yz is not used). */
static uint16_t line_code(barid_slice s)
{
    if (digits(s, 0) != 3 || s.p[0] < '2' || s.p[0] > '5')
        return 0;
    return (uint16_t)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0'));
}

static void take_enhanced(struct reply_parser *p, barid_slice *text)
{
    size_t n = scan_enhanced(*text, p->code);

    if (n == 0)
        return;
    if (p->lines == 0) {
        memcpy(p->enhanced_text, text->p, n);
        p->enhanced = slice_of(p->enhanced_text, n);
    } else if (!slice_eq(p->enhanced, slice_head(*text, n))) {
        return;
    }
    *text = slice_from(*text, n < text->n ? n + 1 : n);
}

/* A whole line without its end. 1 = it was the last. */
static int take_line(struct reply_parser *p, barid_slice line)
{
    uint16_t code = line_code(line);
    barid_slice text = slice_from(line, 4);
    bool last = line.n == 3 || (line.n > 3 && line.p[3] == ' ');
    int r;

    if (code == 0 || (!last && line.p[3] != '-'))
        return BARID_ESYNTAX;
    if (p->code != 0 && p->code != code) /* RFC 5321 4.2.1: the same on every line */
        return BARID_ESYNTAX;
    if (p->lines == REPLY_LINES_MAX)
        return BARID_ELIMIT;
    p->code = code;
    take_enhanced(p, &text);
    if (p->lines > 0 && (r = buf_byte(&p->text, '\n')) < 0)
        return r;
    if ((r = buf_append(&p->text, text)) < 0)
        return r;
    p->lines++;
    return last;
}

/* Line ends: CRLF or LF. Controls are of no use to anybody and would end up in logs and
 * reports. */
static void clean(struct buf *line)
{
    if (line->len > 0 && line->p[line->len - 1] == '\r')
        line->len--;
    for (size_t i = 0; i < line->len; i++)
        if ((unsigned char)line->p[i] < 32 || line->p[i] == 127)
            line->p[i] = ' ';
}

int reply_parser_feed(struct reply_parser *p, barid_slice in, size_t *used_r)
{
    *used_r = 0;
    if (p->done)
        begin(p);
    while (in.n > 0) {
        size_t n = slice_find(in, '\n');
        bool whole = n < in.n;
        int r;

        p->octets += n + whole;
        *used_r += n + whole;
        if (p->octets > REPLY_MAX)
            return BARID_ELIMIT;
        if ((r = buf_append(&p->line, slice_head(in, n))) < 0)
            return r;
        if (!whole)
            return 0;
        in = slice_from(in, n + 1);
        clean(&p->line);
        r = take_line(p, buf_slice(&p->line));
        buf_clear(&p->line);
        if (r != 0) {
            p->done = r == 1;
            return r;
        }
    }
    return 0;
}

/* smtp/client_out.c: command lines and the transcript of the client session. */
#include "smtp/client_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"

/* A line of the dialogue is at most this long here: addresses and parameters have limits. */
#define FORMATTED_MAX 4096

/* Lines that do not fit are dropped: the transcript is for people, the mail must go on. */
void client_transcript(struct barid_client *c, bool from_server, barid_slice line)
{
    if (!c->config->transcript || buf_reserve(&c->transcript, line.n + 2) < 0)
        return;
    (void)buf_byte(&c->transcript, from_server ? 'S' : 'C');
    (void)buf_append(&c->transcript, line);
    (void)buf_byte(&c->transcript, '\n');
}

/* The reply at hand, line by line, as it would be written. */
void client_transcript_reply(struct barid_client *c)
{
    barid_slice rest = buf_slice(&c->reply.text);
    bool more = true;

    if (!c->config->transcript)
        return;
    while (more) {
        size_t n = slice_find(rest, '\n');
        barid_slice enhanced = c->reply.enhanced;
        char line[FORMATTED_MAX + 32];
        int length;

        more = n < rest.n;
        length = snprintf(line, sizeof(line), "%u%c%.*s%s%.*s", c->reply.code, more ? '-' : ' ',
                          (int)enhanced.n, enhanced.n > 0 ? enhanced.p : "",
                          enhanced.n > 0 && n > 0 ? " " : "",
                          (int)(n < FORMATTED_MAX ? n : FORMATTED_MAX), n > 0 ? rest.p : "");
        client_transcript(c, true, slice_of(line, (size_t)length));
        rest = slice_from(rest, n + 1);
    }
}

void client_line(struct barid_client *c, barid_slice line, barid_slice shown)
{
    if (buf_reserve(&c->out, line.n + 2) < 0) {
        client_lost(c, BARID_ENOMEM);
        return;
    }
    (void)buf_append(&c->out, line);
    (void)buf_str(&c->out, "\r\n");
    client_transcript(c, false, shown.n > 0 ? shown : line);
}

void client_fmt(struct barid_client *c, const char *fmt, ...)
{
    char line[FORMATTED_MAX];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(line))
        client_lost(c, BARID_ELIMIT); /* cannot be: send() checked the lengths */
    else
        client_line(c, slice_of(line, (size_t)n), (barid_slice){0});
}

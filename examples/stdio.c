/*
 * examples/stdio.c: the smallest embedder of libbarid: one SMTP session over standard input and
 * output, without an event loop. Prints what it accepted to standard error; stores nothing, and
 * therefore answers every message 451.
 *
 *   printf 'EHLO me\r\nQUIT\r\n' | ./stdio
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <barid/session.h>

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void answer(barid_session *s, const barid_event *ev)
{
    barid_verdict v = {.kind = BARID_CONTINUE};
    if (ev->id == BARID_EVENT_RCPT)
        fprintf(stderr, "recipient %.*s\n", (int)ev->path->raw.n, ev->path->raw.p);
    if (ev->id == BARID_EVENT_COMMIT)
        v.kind = BARID_TEMPFAIL; /* nothing was stored: no 250 */
    if (ev->token)
        barid_session_answer(s, ev->token, &v);
}

static int pump(barid_session *s)
{
    barid_event ev;
    const uint8_t *p;
    size_t n;
    while (barid_session_next(s, &ev) == 1)
        answer(s, &ev);
    while ((n = barid_session_output(s, &p)) > 0) {
        ssize_t k = write(STDOUT_FILENO, p, n);
        if (k < 0)
            return -1;
        barid_session_sent(s, (size_t)k);
    }
    return (barid_session_wants(s) & BARID_WANT_CLOSE) ? -1 : 0;
}

int main(void)
{
    barid_session_config config = {.size = sizeof config,
                                   .hostname = BARID_S("mx.example.com"),
                                   .events = BARID_EVENT_BIT(BARID_EVENT_RCPT),
                                   .extensions = BARID_EXT_DEFAULT};
    barid_endpoint peer = {.family = BARID_FAMILY_UNIX};
    barid_session *s;
    char buf[4096];
    if (barid_session_new(&s, &config, &peer, NULL, now_ms()) < 0)
        return 1;
    while (pump(s) == 0) {
        ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
        if (n <= 0)
            barid_session_eof(s);
        else if (barid_session_feed(s, buf, (size_t)n, now_ms()) < 0)
            break;
    }
    barid_session_del(&s);
    return 0;
}

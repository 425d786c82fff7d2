/*
 * bench/fill.c: fills a spool that nobody serves with messages to be sent, all of them due: what a queue is measured with.
 *
 *   fill SPOOL COUNT OCTETS DESTINATIONS TARGET
 *
 * TARGET is a next hop as in a policy ("[127.0.0.1]:2525"); a %d in it becomes 0 to DESTINATIONS - 1, in turn. Message number N is from
 * bench@sender.test to uN@rcpt.test. OCTETS: of the body.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/hop.h"
#include "message/record.h"
#include "spool/spool_open.h"

#define OUTSTANDING 500
#define HEADER_MAX  512

struct fill {
    struct spool *s;
    size_t octets, destinations;
    char *before, *after; /* TARGET around %d; after NULL: it has none */
    char *body;
    struct clock clock;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t outstanding;
};

static void die(const char *what, int rc)
{
    fprintf(stderr, "fill: %s: %s\n", what, barid_strerror(rc));
    exit(70);
}

static void must(const char *what, int rc)
{
    if (rc != 0)
        die(what, rc);
}

static void on_durable(void *user, int err)
{
    struct fill *f = user;

    must("commit", err);
    pthread_mutex_lock(&f->lock);
    f->outstanding--;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static barid_slice target_of(const struct fill *f, struct arena *arena, size_t number)
{
    if (f->after == NULL)
        return slice_str(f->before);
    return slice_str(
        arena_fmt(arena, "%s%zu%s", f->before, number % f->destinations, f->after));
}

static uint32_t group_of(const struct fill *f, struct arena *arena, barid_slice target)
{
    struct err err = {0};
    struct hop hop;

    hop_init(&hop);
    if (hop_parse(&hop, arena, target, &err) != 0) {
        fprintf(stderr, "fill: %s\n", err.text);
        exit(64);
    }
    return hop_group(&hop, f->s->key);
}

static void add_rcpt(struct mail *m, struct arena *arena, size_t number)
{
    struct mailbox box;
    struct rcpt *rcpt;
    barid_slice text = slice_str(arena_fmt(arena, "u%zu@rcpt.test", number));

    must("sender", mailbox_from_text(&m->sender, arena, BARID_S("bench@sender.test"), 0));
    must("recipient", mailbox_from_text(&box, arena, text, 0));
    must("recipient", mail_add_rcpt(m, &box, text, &rcpt));
    rcpt->relayed = true;
}

static void put(struct fill *f, size_t number)
{
    struct session_facts facts = {.id = "0123456789abcdef"};
    const struct spool_ops *ops = f->s->ops;
    char header[HEADER_MAX];
    struct unit_state state = {.status = UNIT_PENDING};
    struct spool_put *put;
    struct arena arena;
    struct buf meta;
    struct mail m;
    size_t index = 0;
    struct unit unit = {.kind = DISPOSITION_SEND, .rcpts = &index, .n_rcpts = 1};
    int n = snprintf(header, sizeof(header),
                     "Received: from client.test ([127.0.0.1])\r\n\tby bench.test with "
                     "ESMTP\r\n\tfor <u%zu@rcpt.test>\r\n"
                     "From: <bench@sender.test>\r\nTo: <u%zu@rcpt.test>\r\nSubject: %zu\r\n",
                     number, number, number);

    arena_init(&arena, NULL, 0);
    buf_init(&meta, NULL, 0);
    must("mail", mail_init(&m, &arena, &facts, clock_wall_us(&f->clock)));
    add_rcpt(&m, &arena, number);
    unit.target = target_of(f, &arena, number);
    state.due_us = clock_wall_us(&f->clock);
    state.group = group_of(f, &arena, unit.target);
    must("record", record_encode(&m, &unit, 1, &meta));
    must("put", ops->put_begin(f->s, &put));
    must("put", ops->put_body(put, f->body, f->octets));
    must("put", ops->put_describe(put, SPOOL_ACTIVE, buf_slice(&meta),
                                  slice_of(header, (size_t)n), &state, 1));
    must("commit", ops->commit(f->s, &put, 1, on_durable, f));
    buf_deinit(&meta);
    arena_deinit(&arena);
}

static void fill_all(struct fill *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&f->lock);
        while (f->outstanding == OUTSTANDING)
            pthread_cond_wait(&f->cond, &f->lock);
        f->outstanding++;
        pthread_mutex_unlock(&f->lock);
        put(f, i);
    }
    pthread_mutex_lock(&f->lock);
    while (f->outstanding > 0)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void make_body(struct fill *f)
{
    f->body = malloc(f->octets + 1);
    if (f->body == NULL)
        die("body", BARID_ENOMEM);
    memset(f->body, 'x', f->octets);
    for (size_t i = 78; i < f->octets; i += 80)
        memcpy(f->body + i - 1, "\r\n", 2);
    if (f->octets >= 2)
        memcpy(f->body + f->octets - 2, "\r\n", 2);
}

int main(int argc, char **argv)
{
    struct fill f = {.lock = PTHREAD_MUTEX_INITIALIZER,
                     .cond = PTHREAD_COND_INITIALIZER,
                     .clock = clock_system};
    struct spool_log_options options = {0};
    struct err err = {0};

    if (argc != 6) {
        fprintf(stderr, "usage: fill SPOOL COUNT OCTETS DESTINATIONS TARGET\n");
        return 64;
    }
    f.octets = strtoul(argv[3], NULL, 10);
    f.destinations = strtoul(argv[4], NULL, 10);
    f.before = argv[5];
    if ((f.after = strstr(argv[5], "%d")) != NULL) {
        *f.after = '\0';
        f.after += 2;
    }
    if (f.destinations == 0)
        f.destinations = 1;
    make_body(&f);
    options.dir = argv[1];
    if (spool_log_open(&f.s, &options, &err) != 0) {
        fprintf(stderr, "fill: %s\n", err.text);
        return 70;
    }
    fill_all(&f, strtoul(argv[2], NULL, 10));
    f.s->ops->close(f.s);
    free(f.body);
    return 0;
}

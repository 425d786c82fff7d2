/* history/bench_history.c: by hand: what a note costs its caller, and how fast a mail is found among many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/slice.h"
#include "history/history.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool count(void *user, const struct history_entry *e)
{
    (void)e;
    ++*(int *)user;
    return true;
}

int main(int argc, char **argv)
{
    const int n = argc > 2 ? atoi(argv[2]) : 1000000;
    struct history *h;
    struct err err = {0};
    struct history_stats st;
    double start, noted;
    int found = 0;

    if (argc < 2 || history_open(&h, &(struct history_options){.dir = argv[1]}, &err) < 0) {
        fprintf(stderr, "usage: bench_history DIR [ENTRIES]; %s\n", err.text);
        return 1;
    }
    for (start = now(), noted = 0; noted < n; noted++) {
        struct history_entry e = {.kind = HISTORY_DELIVERED,
                                  .id = (uint64_t)noted / 4 + 1,
                                  .time_us = 1764400000000000,
                                  .rcpts = BARID_S("somebody@example.com"),
                                  .hop = BARID_S("example.com:25"),
                                  .remote = BARID_S("mx.example.com (192.0.2.1:25)"),
                                  .reply = BARID_S("250 2.0.0 Ok: queued as 1M7WG8MRP0000")};

        history_note(h, &e);
        if ((int)noted % 4096 == 0) /* else it measures how fast the disk is */
            history_flush(h);
    }
    noted = now() - start;
    history_flush(h);
    history_stats(h, &st);
    printf("%d notes: %.3f us each, flushes included; %llu dropped\n", n, noted / n * 1e6,
           (unsigned long long)st.dropped);
    start = now();
    h->ops->read(h, 17, count, &found);
    printf("%d entries of one mail read in %.1f ms\n", found, (now() - start) * 1e3);
    history_close(&h);
    return 0;
}

/*
 * daemon/daemon.h: the mail server as a process.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

struct daemon_options {
    const char *config_file; /* not NULL */
    int ready_fd;            /* gets "ready ADDRESS ..." when everything listens; -1 = none */
    const char *clock_file;  /* testing: see clock_file.h; NULL = the system's clock */
    bool seeded;             /* testing: random numbers repeat for the seed */
    uint64_t seed;
};

/* Serves until a signal or the control socket ends it. An exit code of sysexits(3); every mistake is a line on stderr. */
int daemon_run(const struct daemon_options *options);

/* What `serve` would refuse at start, without touching a socket or the disk. Lines go to stderr. An exit code. */
int daemon_check(const char *config_file);

#endif

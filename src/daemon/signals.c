/*
 * daemon/signals.c: what SIGTERM, SIGINT, SIGHUP and SIGUSR1 mean, by the state of the daemon.
 *
 * They are blocked in every thread but the main one, and there, too, before its loop runs and after: one that comes while
 * things are made waits for the loop, and one that comes while they are closed finds nothing left to do. Otherwise the end of
 * an orderly stop would depend on who sends what in its last milliseconds.
 */
#include "daemon/daemon_int.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "daemon/exit.h"

static void mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(how, &set, NULL);
}

void signals_hold(void)
{
    mask(SIG_BLOCK);
}

void signals_let(void)
{
    mask(SIG_UNBLOCK);
}

static void on_stop_signal(void *user, int signum)
{
    struct daemon *d = user;

    if (d->stopped) /* it was on its way when the loop ended */
        return;
    if (!d->stopping) {
        daemon_stop(d, strsignal(signum));
        return;
    }
    log_record(d->log, LOG_LEVEL_WARN, "daemon", "second signal: ending at once",
               LOG_CSTR("why", strsignal(signum)));
    log_sink_flush(d->sink);
    /* Nothing is lost: accepted mail is durable, and recovery is an ordinary start. */
    _exit(EX_TEMPFAIL);
}

static void reopen_log(struct daemon *d)
{
    struct err err = {0};

    if (log_sink_reopen(d->sink, &err) < 0)
        log_record(d->log, LOG_LEVEL_ERROR, "daemon",
                   "the log file cannot be opened again, going on with the old one",
                   LOG_CSTR("error", err.text));
}

static void on_reload_signal(void *user, int signum)
{
    struct daemon *d = user;
    struct err err = {0};

    (void)signum;
    reopen_log(d);
    daemon_reload(d, &err); /* says itself what went wrong */
}

static void on_reopen_signal(void *user, int signum)
{
    (void)signum;
    reopen_log(user);
}

int signals_watch(struct daemon *d, struct err *err)
{
    int rc = loop_signal(d->loop, SIGTERM, on_stop_signal, d, err);

    if (rc == 0)
        rc = loop_signal(d->loop, SIGINT, on_stop_signal, d, err);
    if (rc == 0)
        rc = loop_signal(d->loop, SIGHUP, on_reload_signal, d, err);
    if (rc == 0)
        rc = loop_signal(d->loop, SIGUSR1, on_reopen_signal, d, err);
    return rc;
}

/*
 * smtp/session_testing.h: test code: runs a server session through a dialogue written as text.
 * One line per step; a line ends with '\n', and \r \n \0 \t \\ and \xHH in it are escapes.
 *
 *   O: WORD ...       options, before anything else: see the tables in session_words_testing.c
 *   V: EVENT[#N] KIND [code=] [enh=] [id=] [user=] [plain=] [verifier=] [hide=] [silent]
 * [text=...] a verdict for every, or the N-th, such event (1 is the first) C: LINE the client
 * sends LINE and CRLF R: TEXT           the client sends TEXT as it is Z: N X            the
 * client sends N octets X S: LINE           the server must say LINE (compared at the next T,
 * W, P, E and at the end) T:                the server must want a handshake now; it succeeds
 * ("T: fail": fails) W: MS             time passes E:                the client closes P:
 * soft|force     barid_session_stop F: TEXT           what is known must be TEXT: peer helo
 * user mechanism tls name dest, "-" = none L: TEXT           the events so far must be TEXT
 * (since the last L)
 *
 * Verdicts that no V gives: commit is accepted with id Q, the rest continue.
 */
#ifndef SMTP_SESSION_TESTING_H
#define SMTP_SESSION_TESTING_H

#include "base/buf.h"
#include "base/rng.h"
#include "barid/session.h"

struct script_mode {
    size_t cut; /* octets per feed; 0 = all that the dialogue has up to the next other step */
    bool random_cuts; /* 1..cut octets */
    bool late;        /* answer only when the session takes no more input, or there is none */
    const barid_mem *mem; /* NULL = malloc; with it nothing is compared but the invariants */
    uint64_t seed;
};

struct script_result {
    bool ok;
    char why[256];    /* not ok: the first difference */
    struct buf out;   /* everything the server said */
    struct buf log;   /* everything it raised */
    size_t size_idle; /* octets of session memory at the end, when it was idle then */
};

void script_run(const char *text, const struct script_mode *mode, struct script_result *r);
void script_result_deinit(struct script_result *r);

/* Runs it whole, byte by byte, in random cuts, with late answers, and with each allocation
 * failing. False: *why_r (static) says what went wrong. */
bool script_check(const char *text, const char **why_r);

#endif

/*
 * daemon/sandbox.h: what the kernel lets this process do once everything is open: files beneath named paths (Landlock) and
 * no system calls that a mail server never makes (seccomp). Whoever takes the process over gets no more than that.
 *
 *   sandbox_new -> sandbox_allow, as often as needed -> sandbox_enter, once -> sandbox_permits (what a reload asks for)
 *
 * sandbox_enter holds for the calling thread and for those made by it later: it must come before the first thread. There is
 * no way out of it but the end of the process. Landlock rules bind to the directories as they are then, not to their names.
 */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"

enum sandbox_access {
    SANDBOX_READ = 1,    /* files and directories beneath */
    SANDBOX_WRITE = 2,   /* a tree that is ours: files and directories are read, made, renamed and removed */
    SANDBOX_APPEND = 4,  /* files are made and written, nothing is read or removed: logs */
    SANDBOX_SOCKETS = 8, /* unix sockets are made and removed */
    SANDBOX_DEVICE = 16  /* one file, read and written: /dev/null */
};

/* Rules of one process: directories of a configuration and of the system. A reload that declares hundreds of certificates,
 * each in a directory of its own, is served; more is refused rather than forgotten. */
#define SANDBOX_RULES_MAX 4096

struct sandbox;

struct sandbox *sandbox_new(void);
void sandbox_del(struct sandbox **s); /* the list; what is in force stays so. Accepts NULL */

/* path and everything beneath it, with links followed; one that does not exist (or may not be looked at) is left out. */
void sandbox_allow(struct sandbox *s, const char *path, unsigned access);
/* The directory that holds path, and the one that holds what path links to: the file may be replaced. A file in the root
 * directory is allowed alone. */
void sandbox_allow_near(struct sandbox *s, const char *path, unsigned access);

/* 0, also where the kernel lacks one or both (see sandbox_say); else a barid_err: nothing may go on then. */
int sandbox_enter(struct sandbox *s, struct err *err);
/* One line of the log: what is in force. s NULL = declared off. */
void sandbox_say(const struct sandbox *s, const struct log *log);
/* May the file at path be opened, made or bound so? True for everything without Landlock. */
bool sandbox_permits(const struct sandbox *s, const char *path, unsigned access);
int sandbox_landlock_abi(const struct sandbox *s); /* 0 = not in force */

/* sandbox_calls.c. 1 = in force, 0 = the kernel has none, or a barid_err. */
int sandbox_refuse_calls(struct err *err);

/* A build with a sanitizer stops its own threads by ptrace, looks symbols up in files and runs a symbolizer: those stay
 * allowed there, the rest of the sandbox is in force. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANDBOX_SANITIZER 1
#endif
#endif
#ifndef SANDBOX_SANITIZER
#define SANDBOX_SANITIZER 0
#endif

#endif

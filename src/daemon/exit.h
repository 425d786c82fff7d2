/*
 * daemon/exit.h: exit codes of sysexits(3) for errors of the library, the same for every command.
 */
#ifndef DAEMON_EXIT_H
#define DAEMON_EXIT_H

#include <sysexits.h>

#include "barid/types.h"

/* EX_OK for 0; EX_SOFTWARE for what has no better name. */
int exit_code(int err);
/* For an errno: ENOENT is EX_NOINPUT, EACCES and EPERM are EX_NOPERM, others EX_OSERR. */
int exit_code_errno(int errno_value);

#endif

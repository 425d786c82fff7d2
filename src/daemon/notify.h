/*
 * daemon/notify.h: telling a supervisor what we do: the sd_notify(3) datagram where NOTIFY_SOCKET is set, and a descriptor
 * that gets one line when the daemon is ready.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include "barid/types.h"

/* state: "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=..."; a lost datagram is nobody's error. */
void notify_supervisor(const char *state);
/* "RELOADING=1" with the time stamp that systemd asks for. */
void notify_reloading(void);
/* Write "ready ADDRESS ADDRESS ...\n" to fd and close it. fd -1 = nothing to do. */
void notify_ready_fd(int fd, const char *addresses);

#endif

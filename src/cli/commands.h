/* cli/commands.h: the commands, one file each. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct command command_certificate, command_check, command_help, command_passwd, command_queue_bounce, command_queue_count, command_queue_events,
    command_queue_hold, command_queue_list, command_queue_recover, command_queue_release, command_queue_remove, command_queue_retry,
    command_queue_show,
    command_reload, command_send, command_serve, command_sink, command_status, command_stop, command_trace, command_verify_address, command_verify_mime, command_version;

#endif

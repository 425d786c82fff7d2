/* cli/queue_print.h: messages and their stories for a person; what a peer chose (addresses, replies) does not act on the terminal. */
#ifndef CLI_QUEUE_PRINT_H
#define CLI_QUEUE_PRINT_H

#include <jansson.h>

void print_json(json_t *o);         /* on one line */
void print_message_line(json_t *m); /* of queue list */
void print_message(json_t *m);      /* of queue show */
void print_trace(json_t *trace);    /* of trace */

#endif

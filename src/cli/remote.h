/* cli/remote.h: the daemon of a configuration, or its spool where no daemon runs. */
#ifndef CLI_REMOTE_H
#define CLI_REMOTE_H

#include <jansson.h>

#include "cli/cli.h"
#include "interface/history.h"
#include "interface/spool.h"

struct remote {
    const char *config_file; /* -c */
    const char *control;     /* --control */
    struct config *config;   /* loaded when it was needed */
};
#define REMOTE_LETTERS "c:"
#define REMOTE_OPTIONS {"config", required_argument, NULL, 'c'}, {"control", required_argument, NULL, REMOTE_OPT_CONTROL}
#define REMOTE_HELP                                                                                                   \
    "  -c, --config FILE     the configuration that names the control socket\n"                                       \
    "  --control ADDRESS     ask there: unix:PATH or 127.0.0.1:PORT\n"
enum { REMOTE_OPT_CONTROL = 512 };

/* True when value was one of ours. */
bool remote_option(struct remote *r, int value);
void remote_deinit(struct remote *r);

/* EX_OK and the answer of a 2xx; else an exit code after it complained. EX_UNAVAILABLE without a word when nobody answers and
 * quiet: the caller may try the spool. */
int remote_ask(const struct command *c, struct remote *r, const char *method, const char *path, bool quiet, json_t **answer_r);
/* Lines of an answer that does not end: line is called for each, without its LF, until it says false or the daemon ends it. EX_OK, or an
 * exit code after it complained. */
int remote_listen(const struct command *c, struct remote *r, const char *path, bool (*line)(void *user, const char *p, size_t n), void *user);
/* The history that the configuration declares, for reading; NULL: it declares none. */
int remote_history(const struct command *c, struct remote *r, struct history **history_r);
/* The spool that the configuration declares, owned by us meanwhile. */
int remote_spool(const struct command *c, struct remote *r, struct spool **spool_r);
/* The same, but NULL without a word when a daemon has it, or there is none. */
int remote_spool_if_free(const struct command *c, struct remote *r, struct spool **spool_r);

#endif

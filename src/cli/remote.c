/* cli/remote.c: asking the daemon, or opening its spool. */
#include "cli/remote.h"

#include <string.h>
#include <unistd.h>

#include "control/client.h"
#include "daemon/exit.h"
#include "history/history.h"
#include "spool/spool_open.h"

bool remote_option(struct remote *r, int value)
{
    if (value == 'c')
        r->config_file = optarg;
    else if (value == REMOTE_OPT_CONTROL)
        r->control = optarg;
    else
        return false;
    return true;
}

void remote_deinit(struct remote *r)
{
    config_del(&r->config);
}

static int need_config(const struct command *c, struct remote *r)
{
    return r->config != NULL ? EX_OK : cli_load_config(c, r->config_file, &r->config);
}

static int find_control(const struct command *c, struct remote *r)
{
    int code;

    if (r->control != NULL)
        return EX_OK;
    code = need_config(c, r);
    if (code != EX_OK)
        return code;
    r->control = r->config->control_listen;
    return EX_OK;
}

static int complain(const struct command *c, unsigned status, json_t *answer)
{
    const char *text = json_string_value(json_object_get(json_object_get(answer, "error"), "text"));
    int code = status == 404 ? EX_NOINPUT : status == 409 ? EX_CONFIG : status >= 500 ? EX_TEMPFAIL : EX_DATAERR;

    return cli_fail(c, code, "%s", text != NULL ? text : "the daemon refused the request");
}

static int no_control(const struct command *c, const struct remote *r)
{
    return cli_fail(c, EX_CONFIG, "%s declares no control socket: add  control { listen = \"unix:PATH\" }", r->config->file);
}

int remote_ask(const struct command *c, struct remote *r, const char *method, const char *path, bool quiet, json_t **answer_r)
{
    struct err err = {0};
    json_t *answer = NULL;
    unsigned status = 0;
    int code = find_control(c, r), rc;

    if (code != EX_OK)
        return code;
    if (r->control == NULL)
        return quiet ? EX_UNAVAILABLE : no_control(c, r);
    rc = control_ask(r->control, method, path, &status, &answer, &err);
    if (rc == BARID_ECLOSED && quiet)
        return EX_UNAVAILABLE;
    if (rc < 0)
        return cli_fail(c, rc == BARID_ESYNTAX ? EX_PROTOCOL : exit_code(rc), "%s", err.text);
    if (status >= 300) {
        code = complain(c, status, answer);
        json_decref(answer);
        return code;
    }
    *answer_r = answer;
    return EX_OK;
}

int remote_listen(const struct command *c, struct remote *r, const char *path, bool (*line)(void *user, const char *p, size_t n), void *user)
{
    struct err err = {0};
    json_t *answer = NULL;
    unsigned status = 0;
    int code = find_control(c, r), rc;

    if (code != EX_OK)
        return code;
    if (r->control == NULL)
        return no_control(c, r);
    rc = control_listen(r->control, path, &status, &answer, line, user, &err);
    if (rc < 0)
        code = cli_fail(c, rc == BARID_ESYNTAX ? EX_PROTOCOL : exit_code(rc), "%s", err.text);
    else if (status >= 300)
        code = complain(c, status, answer);
    json_decref(answer);
    return code;
}

int remote_history(const struct command *c, struct remote *r, struct history **history_r)
{
    struct err err = {0};
    int code = need_config(c, r);

    *history_r = NULL;
    if (code != EX_OK || r->config->history_dir == NULL || access(r->config->history_dir, F_OK) != 0)
        return code;
    if (access(r->config->history_dir, R_OK | X_OK) != 0)
        return cli_fail(c, EX_NOPERM, "the history in %s cannot be read", r->config->history_dir);
    return history_open(history_r, &(struct history_options){.dir = r->config->history_dir, .read_only = true}, &err) < 0
               ? cli_fail(c, EX_OSERR, "%s", err.text)
               : EX_OK;
}

static int open_spool(struct remote *r, struct spool **spool_r, struct err *err)
{
    return spool_log_open(spool_r, &(struct spool_log_options){.dir = r->config->spool_dir, .read_only = true}, err);
}

int remote_spool_if_free(const struct command *c, struct remote *r, struct spool **spool_r)
{
    struct err err = {0};
    int code = need_config(c, r), rc;

    *spool_r = NULL;
    if (code != EX_OK || r->config->spool_dir == NULL || access(r->config->spool_dir, F_OK) != 0)
        return code;
    rc = open_spool(r, spool_r, &err);
    return rc < 0 && rc != BARID_ELOCKED ? cli_fail(c, exit_code(rc), "%s", err.text) : EX_OK;
}

int remote_spool(const struct command *c, struct remote *r, struct spool **spool_r)
{
    struct err err = {0};
    int code = need_config(c, r), rc;

    if (code != EX_OK)
        return code;
    if (r->config->spool_dir == NULL)
        return cli_fail(c, EX_CONFIG, "%s declares no spool", r->config->file);
    if (access(r->config->spool_dir, F_OK) != 0)
        return cli_fail(c, EX_NOINPUT, "%s: no spool there yet", r->config->spool_dir);
    rc = open_spool(r, spool_r, &err);
    return rc < 0 ? cli_fail(c, exit_code(rc), "%s", err.text) : EX_OK;
}

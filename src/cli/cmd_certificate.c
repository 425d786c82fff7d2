/* cli/cmd_certificate.c: barid certificate: a self-signed certificate for a first start. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "io/tls.h"

enum { OPT_CERT = 256, OPT_KEY };

static int run_certificate(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"cert", required_argument, NULL, OPT_CERT},
                                            {"key", required_argument, NULL, OPT_KEY},
                                            {0}};
    const char *cert = NULL, *key = NULL;
    struct err err = {0};
    int value;

    while ((value = cli_option(c, argc, argv, "", options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        if (value == OPT_CERT)
            cert = optarg;
        else
            key = optarg;
    }
    if (optind + 1 != argc || cert == NULL || key == NULL)
        return cli_usage(c, "a host name, --cert and --key are needed");
    if (access(cert, F_OK) == 0 || access(key, F_OK) == 0)
        return cli_fail(c, EX_CANTCREAT, "%s exists: remove it first", access(cert, F_OK) == 0 ? cert : key);
    if (tls_self_signed(argv[optind], cert, key, &err) < 0)
        return cli_fail(c, EX_CANTCREAT, "%s", err.text);
    return EX_OK;
}

const struct command command_certificate = {
    "certificate", run_certificate, "HOST --cert FILE --key FILE", "make a self-signed certificate, for a first start",
    "  --cert FILE   where the certificate goes (PEM)\n"
    "  --key FILE    where its key goes (PEM, mode 0600)\n"};

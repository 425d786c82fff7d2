/*
 * policy/declare_table.c: every declaration there is, with its type, its range and one line of
 * documentation: what `barid check
 * --defaults` prints and the reference is made from. Defaults are values of config_default, not
 * texts.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/pool.h"
#include "policy/declare.h"

#define AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define LIMIT(field)    AT(struct config_limits, session.field)
#define END                                                                                    \
    {                                                                                          \
        .name = NULL                                                                           \
    }

/* Largest values: not a judgement, only what the arithmetic behind them can bear. */
#define MAX_SIZE  (INT64_C(1) << 40)
#define MAX_COUNT 100000000
#define MAX_MS    (INT64_C(1) << 31)

const struct key declare_limit_keys[] = {
    {"line", KEY_NUMBER, LIMIT(line), 512, 65536, .doc = "octets of a command line"},
    {"auth_line", KEY_NUMBER, LIMIT(auth_line), 512, 65536, .doc = "octets of an AUTH line"},
    {"data_line", KEY_NUMBER, LIMIT(data_line), 998, INT32_MAX,
     .doc = "octets of a message line"},
    {"commands", KEY_NUMBER, LIMIT(commands), 1, MAX_COUNT, .doc = "commands of a session"},
    {"errors", KEY_NUMBER, LIMIT(errors), 1, MAX_COUNT, .doc = "refused commands of a session"},
    {"auth_failures", KEY_NUMBER, LIMIT(auth_failures), 1, 1000,
     .doc = "failed AUTH of a session"},
    {"noops", KEY_NUMBER, LIMIT(noops), 1, MAX_COUNT,
     .doc = "commands in a row that do nothing useful"},
    {"recipients", KEY_NUMBER, LIMIT(recipients), 1, 10000,
     .doc = "recipients of a mail; then 452"},
    {"transactions", KEY_NUMBER, LIMIT(transactions), 0, MAX_COUNT,
     .doc = "mails of a session; 0 = no limit"},
    {"pipelined", KEY_NUMBER, LIMIT(pipelined), 4096, 16777216,
     .doc = "octets buffered while a hook waits"},
    {"output", KEY_NUMBER, LIMIT(output), 4096, 16777216,
     .doc = "octets of replies that a client has not read"},
    {"header", KEY_NUMBER, LIMIT(header), 1024, 16777216, .doc = "octets of a header block"},
    {"message", KEY_NUMBER, LIMIT(message), 1024, MAX_SIZE,
     .doc = "octets of a message; also SIZE="},
    {"command_ms", KEY_MS, LIMIT(command_ms), 1, MAX_MS,
     .doc = "a whole command line arrives within"},
    {"data_idle_ms", KEY_MS, LIMIT(data_idle_ms), 1, MAX_MS, .doc = "silence within DATA"},
    {"data_min_rate", KEY_NUMBER, LIMIT(data_min_rate), 0, MAX_COUNT,
     .doc = "octets per second within DATA"},
    {"data_rate_window_ms", KEY_MS, LIMIT(data_rate_window_ms), 100, MAX_MS,
     .doc = "the time that rate is measured over"},
    {"session_ms", KEY_MS, LIMIT(session_ms), 0, MAX_MS,
     .doc = "a whole session; 0 = no limit"},
    {"proxy_ms", KEY_MS, LIMIT(proxy_ms), 1, MAX_MS, .doc = "the PROXY header arrives within"},
    {"tls_ms", KEY_MS, LIMIT(tls_ms), 1, MAX_MS, .doc = "a TLS handshake ends within"},
    {"connections", KEY_NUMBER, AT(struct config_limits, connections), 1, MAX_COUNT,
     .doc = "sessions in total"},
    {"connections_per_client", KEY_NUMBER, AT(struct config_limits, connections_per_client), 1,
     MAX_COUNT,
     .doc = "sessions per IPv4 address or IPv6 /64; loopback and trusted are not counted"},
    {"hops", KEY_NUMBER, AT(struct config_limits, hops), 1, 1000,
     .doc = "Received fields; above it a loop is assumed"},
    {"hook_ms", KEY_MS, AT(struct config_limits, hook_ms), 1, MAX_MS,
     .doc = "a waiting hook answers within"},
    {"hook_instructions", KEY_NUMBER, AT(struct config_limits, hook_instructions), 1000,
     MAX_SIZE, .doc = "Lua instructions of one hook call"},
    {"hook_cpu_ms", KEY_MS, AT(struct config_limits, hook_cpu_ms), 1, 60000,
     .doc = "CPU time of one hook call"},
    {"lua_memory", KEY_NUMBER, AT(struct config_limits, lua_memory), 1048576, MAX_SIZE,
     .doc = "octets of a worker's Lua state"},
    {"drain_ms", KEY_MS, AT(struct config_limits, drain_ms), 0, MAX_MS,
     .doc = "running mails finish within, at stop and reload"},
    END};

static const char *const tls_versions[] = {"1.2", "1.3", NULL};

static void read_min_version(struct declare *d, const struct key *key, void *base)
{
    const struct key word = {.name = key->name,
                             .type = KEY_CHOICE,
                             .offset = 0,
                             .size = sizeof(uint32_t),
                             .choices = tls_versions};
    uint32_t choice = UINT32_MAX;

    declare_value(d, &word, &choice);
    if (choice != UINT32_MAX)
        ((struct config_tls *)base)->min_version = tls_versions[choice];
}

const struct key declare_tls_keys[] = {
    {"certificate", KEY_FILE, AT(struct config_tls, cert),
     .doc = "PEM file: certificate, then its chain"},
    {"key", KEY_FILE, AT(struct config_tls, key), .doc = "PEM file: private key"},
    {"min_version", KEY_CUSTOM, AT(struct config_tls, min_version), .shown = "\"1.2\"",
     .doc = "\"1.2\" or \"1.3\"", .read = read_min_version},
    {"ciphers", KEY_STRING, AT(struct config_tls, ciphers),
     .doc = "OpenSSL cipher list for TLS 1.2"},
    {"client_ca", KEY_FILE, AT(struct config_tls, client_ca),
     .doc = "PEM file: client certificates signed by these are verified"},
    {"sni", KEY_CUSTOM, AT(struct config_tls, sni), .shown = "{}",
     .doc = "[\"name\"] = { certificate = FILE, key = FILE }", .read = declare_sni_key},
    END};

static const struct key auth_keys[] = {{"users", KEY_FILE, AT(struct config, users_file),
                                        .doc = "users file, made by barid passwd"},
                                       END};

#define SEGMENT_MOST INT64_C(4294963200) /* whole blocks of 4096 within 32 bits: the spool's offsets */

static const struct key spool_keys[] = {
    {"dir", KEY_PATH, AT(struct config, spool_dir), .doc = "directory of the spool"},
    {"segment", KEY_NUMBER, AT(struct config, spool_segment), 1048576, SEGMENT_MOST,
     .doc = "octets of one segment file"},
    END};

static const struct key maildir_keys[] = {
    {"root", KEY_PATH, AT(struct config, maildir_root), .doc = "every mailbox lies beneath it"},
    END};

static const struct key archive_keys[] = {
    {"root", KEY_PATH, AT(struct config, archive_root), .doc = "every archive lies beneath it"},
    END};

static const struct key dns_keys[] = {
    {"servers", KEY_STRINGS, AT(struct config, dns_servers),
     .shown = "those of /etc/resolv.conf",
     .doc = "\"127.0.0.1:5353\": no other source of answers"},
    {"trust_ad", KEY_BOOL, AT(struct config, dns_trust_ad),
     .doc = "these servers validate DNSSEC and the path to them is safe"},
    END};

static void read_control(struct declare *d, const struct key *key, void *base)
{
    const char *s = declare_string(d, key->name);

    if (s == NULL)
        return;
    if (strncmp(s, "unix:", 5) == 0 && s[5] != '\0') {
        s = declare_path(d, s + 5);
        s = s != NULL ? arena_fmt(&d->config->arena, "unix:%s", s) : NULL;
        d->nomem = d->nomem || s == NULL;
    }
    ((struct config *)base)->control_listen = s;
}

static const struct key control_keys[] = {
    {"listen", KEY_CUSTOM, AT(struct config, control_listen),
     .shown = "\"unix:/run/barid/control\"", .doc = "control socket", .read = read_control},
    END};

static const char *const formats[] = {"text", "json", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const struct key log_keys[] = {
    {"file", KEY_PATH, AT(struct config, log_file), .shown = "standard error",
     .doc = "log file"},
    {"format", KEY_CHOICE, AT(struct config, log_format), .choices = formats,
     .doc = "\"text\" or \"json\": one object a line"},
    {"level", KEY_CHOICE, AT(struct config, log_level), .choices = levels,
     .doc = "\"error\", \"warn\", \"info\" or \"debug\""},
    END};

static const struct key network_keys[] = {
    {"trusted", KEY_CUSTOM, AT(struct config, trusted), .shown = "{}", .doc = "may relay",
     .read = declare_networks_key},
    {"proxy", KEY_CUSTOM, AT(struct config, proxies), .shown = "{}",
     .doc = "may send PROXY headers", .read = declare_networks_key},
    {"xclient", KEY_CUSTOM, AT(struct config, xclients), .shown = "{}",
     .doc = "may use XCLIENT, unless they send a PROXY header", .read = declare_networks_key},
    END};

static const struct key retry_keys[] = {
    {"first", KEY_SECONDS, AT(struct config, retry.first_s), 1, 86400,
     .doc = "wait before the second attempt; doubled each time"},
    {"max", KEY_SECONDS, AT(struct config, retry.max_s), 1, 604800, .doc = "longest wait"},
    {"tries", KEY_NUMBER, AT(struct config, retry.tries), 1, 1000,
     .doc = "attempts; then it is given up, and the sender is told"},
    {"notice", KEY_NUMBER, AT(struct config, retry.notice), 0, 1000,
     .doc = "after so many failures the sender is told that it is late; 0 = never"},
    END};

static const struct key history_keys[] = {
    {"dir", KEY_PATH, AT(struct config, history_dir),
     .doc = "directory of what became of finished mail, for barid trace; none = not kept"},
    {"days", KEY_NUMBER, AT(struct config, history_days), 1, 3650, .doc = "kept for"},
    END};

static const char *const undecided[] = {"reject", "tempfail", "hold", NULL};
static const char *const mixed[] = {"accept", "strict", NULL};
static const char *const bare_newline[] = {"refuse", "normalise", NULL};
static const char *const sandbox[] = {"on", "off", NULL};

static void read_hostname(struct declare *d, const struct key *key, void *base)
{
    const char *s = declare_string(d, key->name);

    if (s == NULL)
        return;
    if (!barid_domain_valid((barid_slice){s, strlen(s)}, false))
        declare_mistake(d, "hostname: \"%s\" is not a host name", s);
    else
        ((struct config *)base)->hostname = s;
}

#define WHOLE .offset = 0
const struct declaration declarations[] = {
    {"hostname", .usage = "hostname \"mx.example.com\"",
     .value = {"hostname", KEY_CUSTOM, AT(struct config, hostname),
               .doc = "our name: greeting, Received", .read = read_hostname}},
    {"domains", .usage = "domains { \"example.com\", ... }", .many = true,
     .read = declare_domains,
     .value = {"domains", .shown = "{}", .doc = "domains whose mail is ours"}},
    {"listen", .usage = "listen { \"0.0.0.0:25\", protocol = \"smtp\", ... }", .many = true,
     .read = declare_listen,
     .value = {"listen", .shown = "none",
               .doc = "addresses: \"192.0.2.1:25\", \"[::]:25\", \"unix:/path\"; protocol "
                      "smtp, submission, lmtp"}},
    {"tls", .usage = "tls { certificate = FILE, key = FILE }", .keys = declare_tls_keys,
     .offset = offsetof(struct config, tls)},
    {"auth", .usage = "auth { users = FILE }", .keys = auth_keys},
    {"spool", .usage = "spool { dir = DIRECTORY }", .keys = spool_keys},
    {"maildir", .usage = "maildir { root = DIRECTORY }", .keys = maildir_keys},
    {"archive", .usage = "archive { root = DIRECTORY }", .keys = archive_keys},
    {"dns", .usage = "dns { servers = { \"127.0.0.1:53\" } }", .keys = dns_keys},
    {"control", .usage = "control { listen = \"unix:/run/barid/control\" }",
     .keys = control_keys},
    {"limits", .usage = "limits { message = \"50M\", ... }", .keys = declare_limit_keys,
     .offset = offsetof(struct config, limits)},
    {"log", .usage = "log { file = FILE, format = \"json\" }", .keys = log_keys},
    {"networks", .usage = "networks { trusted = { \"192.0.2.0/24\", \"unix\" } }",
     .keys = network_keys},
    {"aliases",
     .usage =
         "aliases { [\"a@example.com\"] = \"b@example.com\", [\"@example.com\"] = { ... } }",
     .many = true, .read = declare_aliases,
     .value =
         {"aliases", .shown = "{}",
          .doc = "other addresses of a recipient; \"@domain\" catches what nothing else does"}},
    {"subaddress", .usage = "subaddress \"+\"", .read = declare_subaddress,
     .value = {"subaddress", .shown = "\"+\"",
               .doc = "what separates user and tag; false = nothing does"}},
    {"retry", .usage = "retry { first = \"5m\", max = \"8h\", tries = 20, notice = 4 }",
     .keys = retry_keys},
    {"relayhost", .usage = "relayhost { \"[smtp.example.net]:587\", user = \"u\", password = \"p\" }",
     .keys = declare_relayhost_keys, .read = declare_relayhost},
    {"relay", .usage = "relay { helo = \"mx.example.com\", tls = \"verified\" }",
     .keys = declare_relay_keys},
    {"history", .usage = "history { dir = DIRECTORY, days = 7 }", .keys = history_keys},
    {"undecided", .usage = "undecided \"reject\"",
     .value = {"undecided", KEY_CHOICE, AT(struct config, undecided), .choices = undecided,
               .doc = "a recipient that no row serves: \"reject\", \"tempfail\" or \"hold\""}},
    {"mixed", .usage = "mixed \"accept\"",
     .value =
         {"mixed", KEY_CHOICE, AT(struct config, mixed_strict), .choices = mixed,
          .doc =
              "SMTP, recipients disagree after DATA: \"accept\" or \"strict\" (451 for all)"}},
    {"bare_newline", .usage = "bare_newline \"refuse\"",
     .value = {"bare_newline", KEY_CHOICE, AT(struct config, bare_newline),
               .choices = bare_newline,
               .doc = "a CR or LF alone in a message: \"refuse\" or \"normalise\""}},
    {"workers", .usage = "workers(2)",
     .value = {"workers", KEY_NUMBER, AT(struct config, workers), 0, 1024,
               .doc = "threads with a loop of their own; 0 = one per CPU"}},
    {"pool_threads", .usage = "pool_threads(8)",
     .value = {"pool_threads", KEY_NUMBER, AT(struct config, pool_threads), 1, POOL_THREADS_MAX,
               .doc = "threads for hashing of passwords, and as many for deliveries"}},
    {"user", .usage = "user \"barid\" or user { \"barid\", group = \"mail\" }",
     .read = declare_user,
     .value = {"user", .shown = "stay", .doc = "who to become after binding"}},
    {"sandbox", .usage = "sandbox \"on\"",
     .value = {"sandbox", KEY_CHOICE, AT(struct config, sandbox), .choices = sandbox,
               .doc = "\"on\": files beyond the declared ones and calls that a mail server never "
                      "makes are refused by the kernel; \"off\""}},
    {"replies",
     .usage = "replies { greeting = \"%h ready\", relay_denied = { 550, \"5.7.1\", \"no\" } }",
     .read = declare_replies,
     .value = {"replies", .shown = "{}", .doc = "other texts of our own replies"}},
    {.name = NULL}};

const char *const *declaration_names(void)
{
    static const char *const names[] = {
        "hostname",     "domains", "listen",       "tls",     "auth",      "spool",
        "maildir",      "archive", "dns",          "control", "limits",    "log",
        "networks",     "aliases", "subaddress",   "retry",   "undecided", "mixed",
        "bare_newline", "workers", "pool_threads", "user",    "sandbox",   "replies",
        "relayhost",    "relay",   "history",
        NULL};
    return names;
}

/* --- printing defaults ----------------------------------------------------------------------
 */

static int64_t load(const struct key *key, const void *base)
{
    const char *field = (const char *)base + key->offset;

    switch (key->size) {
    case 1:
        return *(const uint8_t *)field;
    case 4:
        return *(const uint32_t *)field;
    default:
        return (int64_t) * (const uint64_t *)field;
    }
}

static void value_text(const struct key *key, const void *base, char *out, size_t size)
{
    const char *s;

    if (key->shown != NULL) {
        snprintf(out, size, "%s", key->shown);
    } else if (key->type == KEY_BOOL) {
        snprintf(out, size, "%s", load(key, base) ? "true" : "false");
    } else if (key->type == KEY_CHOICE) {
        snprintf(out, size, "\"%s\"", key->choices[load(key, base)]);
    } else if (key->type == KEY_NUMBER || key->type == KEY_MS || key->type == KEY_SECONDS) {
        snprintf(out, size, "%lld", (long long)load(key, base));
    } else {
        s = *(const char *const *)((const char *)base + key->offset);
        snprintf(out, size, s != NULL ? "\"%s\"" : "none", s);
    }
}

void config_print_defaults(void (*line)(void *user, const char *text), void *user)
{
    struct config *c = config_default();
    char value[300], text[600];

    if (c == NULL)
        return;
    for (const struct declaration *d = declarations; d->name != NULL; d++) {
        if (d->keys == NULL) {
            value_text(&d->value, c, value, sizeof(value));
            snprintf(text, sizeof(text), "%s = %s -- %s", d->name, value, d->value.doc);
            line(user, text);
        }
        for (const struct key *key = d->keys; key != NULL && key->name != NULL; key++) {
            value_text(key, (const char *)c + d->offset, value, sizeof(value));
            snprintf(text, sizeof(text), "%s.%s = %s -- %s", d->name, key->name, value,
                     key->doc);
            line(user, text);
        }
    }
    config_del(&c);
}

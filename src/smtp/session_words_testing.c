/* smtp/session_words_testing.c: see session_words_testing.h. Test code only. */
#include "smtp/session_words_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

/* --- options --- */

struct flag {
    const char *name;
    size_t at;
};
/* clang-format off */
#define FLAG(name, field) {name, offsetof(barid_session_config, field)}
/* clang-format on */
static const struct flag flags[] = {
    FLAG("tls_required", tls_required),
    FLAG("auth_required", auth_required),
    FLAG("proxy", proxy),
    FLAG("implicit_tls", implicit_tls),
    FLAG("xclient", xclient),
    FLAG("plain_auth", plain_auth_without_tls),
    FLAG("no_helo_needed", switches.no_helo_needed),
    FLAG("second_helo_refused", switches.second_helo_refused),
    FLAG("lenient_paths", switches.lenient_paths),
    FLAG("no_enhanced_codes", switches.no_enhanced_codes),
    FLAG("strict_mixed", switches.strict_mixed),
    FLAG("no_null_rcpt_postmaster", switches.no_null_rcpt_postmaster),
    FLAG("strict_helo_name", switches.strict_helo_name),
};

/* clang-format off */
#define LIMIT(field) {#field, offsetof(barid_limits, field), sizeof(((barid_limits *)0)->field)}
/* clang-format on */
static const struct {
    const char *name;
    size_t at, size;
} limits[] = {
    LIMIT(line),
    LIMIT(auth_line),
    LIMIT(data_line),
    LIMIT(commands),
    LIMIT(errors),
    LIMIT(auth_failures),
    LIMIT(noops),
    LIMIT(recipients),
    LIMIT(transactions),
    LIMIT(pipelined),
    LIMIT(output),
    LIMIT(header),
    LIMIT(message),
    LIMIT(command_ms),
    LIMIT(data_idle_ms),
    LIMIT(data_min_rate),
    LIMIT(data_rate_window_ms),
    LIMIT(session_ms),
    LIMIT(proxy_ms),
    LIMIT(tls_ms),
};

static bool set_limit(barid_session_config *config, const char *word)
{
    const char *eq = strchr(word, '=');

    for (size_t i = 0; eq != NULL && i < sizeof(limits) / sizeof(limits[0]); i++) {
        char *at = (char *)&config->limits + limits[i].at;
        unsigned long long value = strtoull(eq + 1, NULL, 10);

        if (strncmp(word, limits[i].name, (size_t)(eq - word)) != 0 ||
            limits[i].name[eq - word] != '\0')
            continue;
        if (limits[i].size == 4)
            *(uint32_t *)(void *)at = (uint32_t)value;
        else
            *(uint64_t *)(void *)at = value;
        return true;
    }
    return false;
}

static bool set_flag(barid_session_config *config, const char *word)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(word, flags[i].name) == 0) {
            *((bool *)(void *)((char *)config + flags[i].at)) = true;
            return true;
        }
    }
    return set_limit(config, word);
}

static void set_option(barid_session_config *config, const char *word)
{
    if (strcmp(word, "lmtp") == 0)
        config->protocol = BARID_LMTP;
    else if (strcmp(word, "submission") == 0)
        config->protocol = BARID_SUBMISSION;
    else if (strcmp(word, "starttls") == 0)
        config->extensions |= BARID_EXT_STARTTLS;
    else if (strcmp(word, "auth") == 0)
        config->extensions |= BARID_EXT_AUTH;
    else if (strcmp(word, "with_xclient") == 0)
        config->extensions |= BARID_EXT_XCLIENT;
    else if (strcmp(word, "normalise") == 0)
        config->switches.bare_newline = BARID_BARE_NORMALISE;
    else if (strcmp(word, "no_events") == 0)
        config->events = 0;
    else if (strcmp(word, "no_chunking") == 0)
        config->extensions &= ~(uint32_t)(BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME);
    else if (!set_flag(config, word)) {
        fprintf(stderr, "script: no option %s\n", word);
        abort();
    }
}

void words_options(barid_session_config *config, char *text)
{
    for (char *save, *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        set_option(config, w);
}

/* --- verdicts --- */

static const struct {
    const char *key;
    size_t at;
} slices[] = {
    {"enh=", offsetof(barid_verdict, enhanced)},    {"id=", offsetof(barid_verdict, id)},
    {"user=", offsetof(barid_verdict, user)},       {"plain=", offsetof(barid_verdict, secret)},
    {"verifier=", offsetof(barid_verdict, secret)},
};

static enum barid_verdict_kind kind_by_name(const char *name)
{
    for (unsigned k = 0; k < BARID_VERDICT_KINDS; k++) {
        if (strcmp(barid_verdict_name((enum barid_verdict_kind)k), name) == 0)
            return (enum barid_verdict_kind)k;
    }
    fprintf(stderr, "script: no verdict %s\n", name);
    abort();
}

static void verdict_word(barid_verdict *v, const char *w)
{
    if (strncmp(w, "code=", 5) == 0)
        v->code = (uint16_t)atoi(w + 5);
    if (strncmp(w, "hide=", 5) == 0)
        v->hide_extensions = (uint32_t)strtoul(w + 5, NULL, 0);
    if (strcmp(w, "silent") == 0)
        v->silent = true;
    if (strncmp(w, "plain=", 6) == 0)
        v->secret_kind = BARID_SECRET_PLAIN;
    if (strncmp(w, "verifier=", 9) == 0)
        v->secret_kind = BARID_SECRET_VERIFIER;
    for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
        size_t n = strlen(slices[i].key);

        if (strncmp(w, slices[i].key, n) == 0)
            *(barid_slice *)(void *)((char *)v + slices[i].at) = slice_str(w + n);
    }
}

void words_verdict(struct script_verdict *v, const char *line)
{
    char *text, *save, *w;

    if (strlen(line) >= sizeof(v->text))
        abort();
    strcpy(v->text, line);
    text = strstr(v->text, " text=");
    if (text != NULL) {
        v->verdict.text = slice_str(text + 6);
        *text = '\0';
    }
    w = strtok_r(v->text, " ", &save);
    if (strchr(w, '#') != NULL)
        v->nth = (unsigned)atoi(strchr(w, '#') + 1);
    v->event = barid_event_by_name(slice_head(slice_str(w), strcspn(w, "#")));
    if (v->event == BARID_EVENT_NONE)
        abort();
    v->verdict.kind = kind_by_name(strtok_r(NULL, " ", &save));
    while ((w = strtok_r(NULL, " ", &save)) != NULL)
        verdict_word(&v->verdict, w);
}

/* cli/queue_print.c: see queue_print.h. */
#include "cli/queue_print.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s != NULL ? s : "";
}

static void print_safe(const char *s)
{
    for (; *s != '\0'; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* before, the text, after; nothing when it is empty. */
static void print_text(const char *before, const char *text, const char *after)
{
    if (text[0] == '\0')
        return;
    fputs(before, stdout);
    print_safe(text);
    fputs(after, stdout);
}

static void print_addresses(json_t *list)
{
    json_t *address;
    size_t i;

    json_array_foreach(list, i, address)
    {
        printf(" <");
        print_safe(json_is_string(address) ? json_string_value(address)
                                           : text_of(address, "address"));
        printf(">");
    }
}

void print_json(json_t *o)
{
    json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
}

/* --- list ----------------------------------------------------------------------------------------------- */

void print_message_line(json_t *m)
{
    printf("%s %-11s %8lld %.19sZ <", text_of(m, "id"), text_of(m, "state"),
           (long long)json_integer_value(json_object_get(m, "size")), text_of(m, "received"));
    print_safe(text_of(m, "sender"));
    printf(">");
    print_addresses(json_object_get(m, "recipients"));
    putchar('\n');
    if (text_of(m, "last_reply")[0] != '\0' || text_of(m, "reason")[0] != '\0' ||
        text_of(m, "error")[0] != '\0') {
        printf("    ");
        print_safe(text_of(m, "error"));
        print_safe(text_of(m, "reason"));
        print_safe(text_of(m, "last_reply"));
        if (strcmp(text_of(m, "next_attempt"), "now") == 0)
            printf(" (again now)");
        else if (json_is_string(json_object_get(m, "next_attempt")))
            printf(" (again at %.19sZ)", text_of(m, "next_attempt"));
        putchar('\n');
    }
}

/* --- show ----------------------------------------------------------------------------------------------- */

static void print_unit(json_t *u)
{
    json_t *interval;
    size_t i;

    printf(" ");
    if (json_array_size(json_object_get(u, "recipients")) > 0)
        print_addresses(json_object_get(u, "recipients"));
    else
        print_text(" ", text_of(u, "kind"), "");
    printf(": %s, attempts %lld", text_of(u, "status"),
           (long long)json_integer_value(json_object_get(u, "attempts")));
    print_text(", due ", text_of(u, "due"), "");
    print_text(", to ", text_of(u, "next_hop"), "");
    if (text_of(u, "next_hop")[0] == '\0' && text_of(u, "target")[0] != '\0') {
        printf(", %s ", text_of(u, "kind"));
        print_safe(text_of(u, "target"));
    }
    json_array_foreach(json_object_get(u, "intervals"), i, interval) printf(
        "%s %lld s", i == 0 ? ", then after" : ",", (long long)json_integer_value(interval));
    if (json_is_true(json_object_get(u, "suspect")))
        printf(", may have been delivered already");
    putchar('\n');
    print_text("      ", text_of(u, "reply"), "\n");
}

void print_message(json_t *m)
{
    json_t *unit;
    size_t i;

    printf("%s: %s, %lld octets, received %s\n  from <", text_of(m, "id"), text_of(m, "state"),
           (long long)json_integer_value(json_object_get(m, "size")), text_of(m, "received"));
    print_safe(text_of(m, "sender"));
    printf(">\n");
    print_text("  because: ", text_of(m, "reason"), "\n");
    json_array_foreach(json_object_get(m, "units"), i, unit) print_unit(unit);
}

/* --- trace ---------------------------------------------------------------------------------------------- */

static void print_verdict(json_t *e)
{
    printf("%s  %-11s %s", text_of(e, "at"), text_of(e, "event"), text_of(e, "verdict"));
    if (json_is_integer(json_object_get(e, "code")))
        printf(" %lld", (long long)json_integer_value(json_object_get(e, "code")));
    print_text(" ", text_of(e, "text"), "");
    if (json_is_integer(json_object_get(e, "recipient")))
        printf("  (recipient %lld)",
               (long long)json_integer_value(json_object_get(e, "recipient")) + 1);
    print_text("  [",
               text_of(e, "where")[0] != '\0' ? text_of(e, "where") : text_of(e, "handler"),
               "]");
    putchar('\n');
}

static void print_entry(json_t *e)
{
    printf("%s  %-11s", text_of(e, "at"), text_of(e, "event"));
    print_addresses(json_object_get(e, "recipients"));
    print_text(" to ", text_of(e, "next_hop"), "");
    print_text(", ", text_of(e, "remote"), "");
    print_text(": ", text_of(e, "reply"), "");
    print_text("  ", text_of(e, "text"), "");
    if (json_is_integer(json_object_get(e, "attempts")))
        printf(", attempt %lld", (long long)json_integer_value(json_object_get(e, "attempts")));
    print_text(", again at ", text_of(e, "due"), "");
    print_text(", see ", text_of(e, "other"), "");
    if (json_is_true(json_object_get(e, "suspect")))
        printf(", may have been delivered already");
    print_text("  [", text_of(e, "where"), "]");
    putchar('\n');
}

/* Who it is from and for: of the record, else of the history's first entry. */
static void print_head(json_t *trace, json_t *message)
{
    json_t *first = json_array_get(json_object_get(trace, "history"), 0);
    json_t *from = json_is_object(message) ? message : first;

    printf("%s", text_of(trace, "id"));
    if (json_object_get(from, "sender") != NULL) {
        printf(" from <");
        print_safe(text_of(from, "sender"));
        printf("> to");
        print_addresses(json_object_get(from, "recipients"));
    }
    printf(": %s\n",
           json_is_object(message) ? text_of(message, "state") : "no longer in the spool");
}

void print_trace(json_t *trace)
{
    json_t *message = json_object_get(trace, "message"), *e;
    size_t i;

    print_head(trace, message);
    json_array_foreach(json_object_get(trace, "explain"), i, e) print_verdict(e);
    json_array_foreach(json_object_get(trace, "history"), i, e) print_entry(e);
    if (json_is_true(json_object_get(trace, "cut")))
        printf("(and more: --json is cut here, too)\n");
    if (!json_is_object(message))
        return;
    printf("now:\n");
    json_array_foreach(json_object_get(message, "units"), i, e) print_unit(e);
}

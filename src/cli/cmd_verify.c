/* cli/cmd_verify.c: barid verify address, barid verify mime: one engine on given input, one JSON object. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "barid/address.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "cli/commands.h"
#include "control/json_text.h"
#include "message/mime.h"

enum { OPT_PATH = 256, OPT_LENIENT, OPT_ASCII, OPT_DATA };

static int print_json(json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(o);
    return EX_OK;
}

/* --- address -------------------------------------------------------------------------------------------- */

static json_t *address_json(barid_slice text, int rc, const barid_path *p)
{
    json_t *o = json_object();
    char *local = mem_alloc(NULL, p->local.n + 1);

    json_object_set_new(o, "input", json_text(text));
    json_object_set_new(o, "valid", json_boolean(rc == 0));
    if (rc < 0) {
        json_object_set_new(o, "error", json_string(barid_strerror(rc)));
    } else if (local != NULL) {
        json_object_set_new(o, "null", json_boolean(p->null));
        json_object_set_new(o, "local", json_text(p->local));
        json_object_set_new(o, "unquoted", json_text(slice_of(local, barid_local_unquote(p, local))));
        json_object_set_new(o, "domain", json_text(p->domain));
        json_object_set_new(o, "route", json_text(p->route));
        json_object_set_new(o, "quoted", json_boolean(p->quoted));
        json_object_set_new(o, "literal", json_boolean(p->literal));
        json_object_set_new(o, "utf8", json_boolean(p->utf8));
    }
    mem_free(NULL, local);
    return o;
}

static int run_address(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"path", no_argument, NULL, OPT_PATH},
                                            {"lenient", no_argument, NULL, OPT_LENIENT},
                                            {"ascii", no_argument, NULL, OPT_ASCII},
                                            {0}};
    unsigned flags = BARID_PATH_UTF8_OK;
    bool path = false;
    barid_path parsed = {0};
    barid_slice text;
    size_t used = 0;
    int value, rc;

    while ((value = cli_option(c, argc, argv, "", options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        path |= value == OPT_PATH;
        if (value == OPT_PATH)
            flags |= BARID_PATH_NULL_OK | BARID_PATH_POSTMASTER_OK;
        if (value == OPT_LENIENT)
            flags |= BARID_PATH_LENIENT;
        if (value == OPT_ASCII)
            flags &= ~(unsigned)BARID_PATH_UTF8_OK;
    }
    if (optind + 1 != argc)
        return cli_usage(c, "one address is needed");
    text = slice_str(argv[optind]);
    rc = path ? barid_path_parse(text, flags, &parsed, &used) : barid_mailbox_parse(text, flags, &parsed);
    if (rc == 0 && path && used != text.n)
        rc = BARID_ESYNTAX;
    print_json(address_json(text, rc, &parsed));
    return rc == 0 ? EX_OK : EX_DATAERR;
}

const struct command command_verify_address = {
    "verify address", run_address, "ADDRESS", "parse an address as RCPT TO would; one JSON object",
    "  --path      a path with angle brackets: <>, <postmaster> and source routes, too\n"
    "  --lenient   take what lenient_paths takes: Mr X <a@b>\n"
    "  --ascii     refuse UTF-8, as without SMTPUTF8\n"
    "\n"
    "Ends with 0 when it is valid, with 65 when it is not.\n"};

/* --- mime ------------------------------------------------------------------------------------------------ */

static json_t *headers_json(const struct mime_part *p)
{
    json_t *list = json_array();

    for (size_t i = 0; i < mime_header_count(p); i++) {
        barid_slice name, value;
        json_t *pair = json_array();

        mime_header(p, i, &name, &value);
        json_array_append_new(pair, json_text(name));
        json_array_append_new(pair, json_text(value));
        json_array_append_new(list, pair);
    }
    return list;
}

static void put_text(json_t *o, const char *key, barid_slice s)
{
    if (s.n > 0)
        json_object_set_new(o, key, json_text(s));
}

static void put_data(json_t *o, const struct mime_part *p, bool with_data)
{
    bool is_text = slice_starts_nocase(mime_type(p), BARID_S("text/"));
    barid_slice data;
    struct buf encoded;
    int rc = mime_data(p, is_text, &data);

    if (rc < 0) {
        json_object_set_new(o, "error", json_string(barid_strerror(rc)));
        return;
    }
    json_object_set_new(o, "size", json_integer((json_int_t)data.n));
    if (!with_data)
        return;
    if (is_text) {
        json_object_set_new(o, "text", json_text(data));
        return;
    }
    buf_init(&encoded, NULL, 0);
    if (base64_encode(&encoded, data) == 0)
        json_object_set_new(o, "base64", json_text(buf_slice(&encoded)));
    buf_deinit(&encoded);
}

/* Depth is bounded by MIME_DEPTH_MAX. */
static json_t *part_json(const struct mime_part *p, bool with_data)
{
    json_t *o = json_object(), *children;

    json_object_set_new(o, "type", json_text(mime_type(p)));
    put_text(o, "charset", mime_charset(p));
    put_text(o, "disposition", mime_disposition(p));
    put_text(o, "file_name", mime_file_name(p));
    put_text(o, "encoding", mime_encoding(p));
    put_text(o, "content_id", mime_content_id(p));
    json_object_set_new(o, "headers", headers_json(p));
    if (mime_children(p) == 0) {
        put_data(o, p, with_data);
        return o;
    }
    children = json_array();
    for (size_t i = 0; i < mime_children(p); i++)
        json_array_append_new(children, part_json(mime_child(p, i), with_data));
    json_object_set_new(o, "parts", children);
    return o;
}

static int run_mime(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"data", no_argument, NULL, OPT_DATA}, {0}};
    bool with_data = false;
    struct mime *m = NULL;
    struct err err = {0};
    struct buf in;
    int value, code;

    while ((value = cli_option(c, argc, argv, "", options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        with_data |= value == OPT_DATA;
    }
    if (optind + 1 < argc)
        return cli_usage(c, "unexpected argument \"%s\"", argv[optind + 1]);
    buf_init(&in, NULL, 0);
    code = cli_read_file(c, optind < argc ? argv[optind] : "-", MIME_SIZE_MAX, &in);
    mime_library_init();
    if (code == EX_OK && mime_parse(&m, buf_slice(&in), &err) < 0)
        code = cli_fail(c, EX_DATAERR, "%s", err.text);
    if (code == EX_OK)
        print_json(part_json(mime_root(m), with_data));
    mime_del(&m);
    buf_deinit(&in);
    return code;
}

const struct command command_verify_mime = {
    "verify mime", run_mime, "[FILE]", "show a message's parts as a policy sees them; one JSON object",
    "  --data   the decoded contents, too: text as UTF-8, anything else in base64\n"
    "\n"
    "Without FILE, or with -, the message comes from standard input.\n"};

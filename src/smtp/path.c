/*
 * smtp/path.c: reverse-paths, forward-paths and mailboxes (RFC 5321 4.1.2, RFC 6531 3.3).
 *
 * One grammar with UTF-8 always; whether UTF-8 may be used is asked last, so that the error for
 * "needs SMTPUTF8" is given only to what is an address otherwise. Lengths come after grammar
 * for the same reason. Nothing is decoded here: a session keeps what was written.
 */
#include "barid/address.h"

#include "base/encode.h"
#include "base/slice.h"

/* RFC 5322 3.2.3 atext, and UTF8-non-ascii (RFC 6531 3.3); form of UTF-8 is checked on the
 * whole. */
static bool is_atext(unsigned char c)
{
    if (c >= 128 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

/* Dot-string = Atom *("." Atom). Returns the octets, 0 when there is none. */
static size_t scan_dot_string(barid_slice s)
{
    size_t i = 0, atom = 0;

    for (; i < s.n; i++) {
        if (is_atext((unsigned char)s.p[i]))
            atom++;
        else if (s.p[i] == '.' && atom > 0)
            atom = 0;
        else
            break;
    }
    return atom > 0 ? i : 0;
}

/* Quoted-string, both quotes included. qtextSMTP = %d32-33 / %d35-91 / %d93-126 / UTF-8. */
static size_t scan_quoted(barid_slice s)
{
    for (size_t i = 1; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"')
            return i + 1;
        if (c == '\\') {
            /* quoted-pairSMTP = "\" %d32-126: no UTF-8 (RFC 6531 3.3 extends qtext only). */
            if (++i == s.n)
                return 0;
            c = (unsigned char)s.p[i];
            if (c > 126)
                return 0;
        }
        if (c < 32 || c == 127)
            return 0;
    }
    return 0;
}

/* The octets of a domain or literal: up to a character that can belong to neither. */
static size_t scan_domain(barid_slice s)
{
    size_t i = 0;

    if (s.n > 0 && s.p[0] == '[') {
        i = slice_find(s, ']');
        return i == s.n ? 0 : i + 1;
    }
    while (i < s.n && memchr(" <>,:@\"()[]\\;", s.p[i], 13) == NULL)
        i++;
    return i;
}

static bool domain_or_literal(barid_slice d)
{
    return d.n > 0 && d.p[0] == '[' ? barid_address_literal_valid(d)
                                    : barid_domain_valid(d, true);
}

/* Mailbox at the start of s; *used_r octets. flags decide whether "@domain" may be missing. */
static int parse_mailbox(barid_slice s, unsigned flags, barid_path *path, size_t *used_r)
{
    size_t n;

    path->quoted = s.n > 0 && s.p[0] == '"';
    n = path->quoted ? scan_quoted(s) : scan_dot_string(s);
    if (n == 0)
        return BARID_ESYNTAX;
    path->local = slice_head(s, n);
    *used_r = n;
    if (n < s.n && s.p[n] == '@') {
        barid_slice rest = slice_from(s, n + 1);

        path->domain = slice_head(rest, scan_domain(rest));
        path->literal = path->domain.n > 0 && path->domain.p[0] == '[';
        /* Told apart from bad grammar: DNS could never hold it (RFC 5321 4.5.3.1.2). */
        if (path->domain.n > BARID_DOMAIN_MAX)
            return BARID_ELIMIT;
        if (!domain_or_literal(path->domain))
            return BARID_ESYNTAX;
        *used_r = n + 1 + path->domain.n;
    } else if (!(flags & BARID_PATH_LOCAL_OK) &&
               !((flags & BARID_PATH_POSTMASTER_OK) &&
                 slice_eq_nocase(path->local, BARID_S("postmaster")))) {
        return BARID_ESYNTAX;
    }
    path->raw = slice_head(s, *used_r);
    return 0;
}

/* Lengths and UTF-8 of a mailbox whose grammar is right. whole: octets of the path. */
static int check_mailbox(barid_path *path, unsigned flags, size_t whole)
{
    if (path->local.n > BARID_LOCAL_PART_MAX || whole > BARID_PATH_MAX)
        return BARID_ELIMIT;
    path->utf8 = !ascii_only(path->raw) || !ascii_only(path->route);
    if (!path->utf8)
        return 0;
    if (!utf8_valid(path->raw) || !utf8_valid(path->route))
        return BARID_ESYNTAX;
    return flags & BARID_PATH_UTF8_OK ? 0 : BARID_EUNSUPPORTED;
}

/* A-d-l = At-domain *("," At-domain) and its ":". Must be accepted, should be ignored
 * (4.1.1.3). */
static int parse_route(barid_slice s, barid_path *path, size_t *used_r)
{
    size_t i = 0;

    for (;;) {
        barid_slice rest, domain;

        if (i >= s.n || s.p[i] != '@')
            return BARID_ESYNTAX;
        rest = slice_from(s, i + 1);
        domain = slice_head(rest, scan_domain(rest));
        if (!barid_domain_valid(domain, true))
            return BARID_ESYNTAX;
        i += 1 + domain.n;
        if (i >= s.n)
            return BARID_ESYNTAX;
        if (s.p[i] == ':')
            break;
        if (s.p[i++] != ',')
            return BARID_ESYNTAX;
    }
    path->route = slice_head(s, i);
    *used_r = i + 1;
    return 0;
}

/* Path = "<" [ A-d-l ":" ] Mailbox ">" */
static int parse_bracketed(barid_slice text, unsigned flags, barid_path *path, size_t *used_r)
{
    size_t at = 1, n;
    int r;

    if (text.n < 2 || text.p[0] != '<')
        return BARID_ESYNTAX;
    if (text.p[1] == '>') {
        if (!(flags & BARID_PATH_NULL_OK))
            return BARID_ESYNTAX;
        path->null = true;
        path->raw = (barid_slice){text.p + 1, 0};
        *used_r = 2;
        return 0;
    }
    if (text.p[1] == '@') {
        if ((r = parse_route(slice_from(text, 1), path, &n)) < 0)
            return r;
        at += n;
    }
    if ((r = parse_mailbox(slice_from(text, at), flags, path, &n)) < 0)
        return r;
    at += n;
    if (at >= text.n || text.p[at] != '>')
        return BARID_ESYNTAX;
    *used_r = at + 1;
    return check_mailbox(path, flags, *used_r);
}

/* Octets before the '<' that a display name leads up to; s.n when it is none. */
static size_t scan_display_name(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '<')
            return i;
        if (c < 32 || c == 127 || c == '>')
            break;
        if (c == '"') {
            size_t n = scan_quoted(slice_from(s, i));

            if (n == 0)
                break;
            i += n - 1;
        }
    }
    return s.n;
}

static int parse_lenient(barid_slice text, unsigned flags, barid_path *path, size_t *used_r)
{
    size_t spaces = 0, name;
    barid_slice s;
    int r;

    while (spaces < text.n && text.p[spaces] == ' ')
        spaces++;
    s = slice_from(text, spaces);
    r = parse_mailbox(s, flags, path, used_r);
    /* A mailbox ends the text or is followed by parameters. First, as AUTH=<> has brackets
     * too. */
    if (r == 0 && (*used_r == s.n || s.p[*used_r] == ' ')) {
        r = check_mailbox(path, flags, *used_r + 2);
    } else {
        *path = (barid_path){0};
        name = scan_display_name(s);
        r = parse_bracketed(slice_from(s, name), flags, path, used_r);
        *used_r += name;
    }
    *used_r += spaces;
    return r;
}

int barid_path_parse(barid_slice text, unsigned flags, barid_path *path_r, size_t *used_r)
{
    *path_r = (barid_path){0};
    *used_r = 0;
    if ((flags & BARID_PATH_LENIENT) && (text.n == 0 || text.p[0] != '<'))
        return parse_lenient(text, flags, path_r, used_r);
    return parse_bracketed(text, flags, path_r, used_r);
}

int barid_mailbox_parse(barid_slice text, unsigned flags, barid_path *path_r)
{
    size_t used;
    int r;

    *path_r = (barid_path){0};
    if (text.n == 0 && (flags & BARID_PATH_NULL_OK)) {
        path_r->null = true;
        return 0;
    }
    if (flags & BARID_PATH_LENIENT)
        r = barid_path_parse(text, flags, path_r, &used);
    else if ((r = parse_mailbox(text, flags, path_r, &used)) == 0)
        r = check_mailbox(path_r, flags, used + 2);
    return r < 0 ? r : used == text.n ? 0 : BARID_ESYNTAX;
}

size_t barid_local_unquote(const barid_path *path, char *out)
{
    barid_slice s = path->local;
    size_t n = 0;

    if (!path->quoted) {
        if (s.n > 0)
            memcpy(out, s.p, s.n);
        return s.n;
    }
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] == '\\' && i + 2 < s.n)
            i++;
        out[n++] = s.p[i];
    }
    return n;
}

/*
 * smtp/params.c: the parameters of MAIL and RCPT (RFC 5321 4.1.2 Mail-parameters).
 *
 * A table per command: keyword, the extension that makes it legal, the function that reads its
 * value. A keyword given twice is refused (RFC 3461 4 says so for DSN; nothing gives a meaning
 * to the others).
 */
#include "barid/address.h"

#include "barid/session.h"
#include "base/encode.h"
#include "base/slice.h"
#include "smtp/xtext.h"

/* RFC 3461 4.2 and 4.4: the longest values that a server must take; none needs more. */
#define ORCPT_MAX 500
#define ENVID_MAX 100
/* RFC 1870 4: 1*20DIGIT */
#define SIZE_DIGITS_MAX 20

struct param {
    barid_slice keyword;
    uint32_t extension; /* 0 = always legal */
    /* params is the struct of the command; given: a "=" and a value were there. */
    int (*read)(void *params, barid_slice value, bool given, uint32_t allowed);
};

static int read_size(void *params, barid_slice value, bool given, uint32_t allowed)
{
    barid_mail_params *p = params;
    int r;

    (void)allowed;
    if (!given || value.n > SIZE_DIGITS_MAX)
        return BARID_ESYNTAX;
    r = slice_u64(value, UINT64_MAX, &p->size);
    if (r == BARID_ELIMIT) /* twenty digits can exceed 64 bits: too big in any case */
        p->size = UINT64_MAX;
    else if (r < 0)
        return BARID_ESYNTAX;
    p->size_given = true;
    return 0;
}

static int read_body(void *params, barid_slice value, bool given, uint32_t allowed)
{
    barid_mail_params *p = params;

    if (!given)
        return BARID_ESYNTAX;
    if (slice_eq_nocase(value, BARID_S("7BIT")))
        p->body = BARID_BODY_7BIT;
    else if (slice_eq_nocase(value, BARID_S("8BITMIME")))
        p->body = BARID_BODY_8BITMIME;
    else if (slice_eq_nocase(value, BARID_S("BINARYMIME")) && (allowed & BARID_EXT_BINARYMIME))
        p->body = BARID_BODY_BINARYMIME;
    else
        return BARID_EUNSUPPORTED;
    return 0;
}

static int read_smtputf8(void *params, barid_slice value, bool given, uint32_t allowed)
{
    (void)value;
    (void)allowed;
    ((barid_mail_params *)params)->smtputf8 = true;
    return given ? BARID_ESYNTAX : 0; /* RFC 6531 3.4: no value */
}

static int read_prdr(void *params, barid_slice value, bool given, uint32_t allowed)
{
    (void)value;
    (void)allowed;
    ((barid_mail_params *)params)->prdr = true;
    return given ? BARID_ESYNTAX : 0;
}

static int read_ret(void *params, barid_slice value, bool given, uint32_t allowed)
{
    barid_mail_params *p = params;

    (void)allowed;
    (void)given;
    if (slice_eq_nocase(value, BARID_S("FULL")))
        p->ret = BARID_RET_FULL;
    else if (slice_eq_nocase(value, BARID_S("HDRS")))
        p->ret = BARID_RET_HDRS;
    else
        return BARID_ESYNTAX;
    return 0;
}

static int read_envid(void *params, barid_slice value, bool given, uint32_t allowed)
{
    (void)allowed;
    if (!given || value.n > ENVID_MAX || !xtext_valid(value))
        return BARID_ESYNTAX;
    ((barid_mail_params *)params)->envid = value;
    return 0;
}

static int read_auth(void *params, barid_slice value, bool given, uint32_t allowed)
{
    barid_mail_params *p = params;

    (void)allowed;
    /* RFC 4954 5: xtext, or "<>", which is xtext as well. */
    if (!given || !xtext_valid(value))
        return BARID_ESYNTAX;
    p->auth_given = true;
    p->auth = value;
    return 0;
}

static int read_notify(void *params, barid_slice value, bool given, uint32_t allowed)
{
    static const struct {
        barid_slice name;
        unsigned bit;
    } word[] = {{{"NEVER", 5}, BARID_NOTIFY_NEVER},
                {{"SUCCESS", 7}, BARID_NOTIFY_SUCCESS},
                {{"FAILURE", 7}, BARID_NOTIFY_FAILURE},
                {{"DELAY", 5}, BARID_NOTIFY_DELAY}};
    barid_rcpt_params *p = params;
    bool more = true;

    (void)allowed;
    (void)given;
    while (more) {
        size_t n = slice_find(value, ',');
        barid_slice item = slice_head(value, n);
        size_t i = 0;

        more = n < value.n;
        value = slice_from(value, n + 1);
        while (i < 4 && !slice_eq_nocase(item, word[i].name))
            i++;
        if (i == 4)
            return BARID_ESYNTAX;
        p->notify |= word[i].bit;
    }
    /* RFC 3461 4.1: NEVER stands alone. */
    if ((p->notify & BARID_NOTIFY_NEVER) && p->notify != BARID_NOTIFY_NEVER)
        return BARID_ESYNTAX;
    return 0;
}

/* RFC 6533 3: utf-8-addr-xtext or utf-8-addr-unitext: "\x{HEX}" and, raw, UTF-8. */
static bool utf8_address_valid(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        size_t start = i + 3;

        if (c == '\\') {
            if (s.n - i < 5 || s.p[i + 1] != 'x' || s.p[i + 2] != '{')
                return false;
            for (i = start; i < s.n && memchr("0123456789ABCDEF", s.p[i], 16) != NULL;)
                i++;
            if (i == s.n || s.p[i] != '}' || i == start || i - start > 6)
                return false;
        } else if (c < 33 || c == 127 || c == '+' || c == '=') {
            return false;
        }
    }
    return s.n > 0 && utf8_valid(s);
}

static int read_orcpt(void *params, barid_slice value, bool given, uint32_t allowed)
{
    barid_slice type, address;
    size_t n = slice_find(value, ';');

    if (!given || n == 0 || n == value.n || value.n > ORCPT_MAX)
        return BARID_ESYNTAX;
    type = slice_head(value, n);
    address = slice_from(value, n + 1);
    for (size_t i = 0; i < type.n; i++) {
        char c = type.p[i];

        /* addr-type = atom; what is registered with IANA has no other characters. */
        if (!(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z') && c != '-')
            return BARID_ESYNTAX;
    }
    if (slice_eq_nocase(type, BARID_S("utf-8"))) {
        if (!utf8_address_valid(address))
            return BARID_ESYNTAX;
        if (!ascii_only(address) && !(allowed & BARID_EXT_SMTPUTF8))
            return BARID_ESYNTAX;
    } else if (address.n == 0 || !xtext_valid(address)) {
        return BARID_ESYNTAX;
    }
    ((barid_rcpt_params *)params)->orcpt = value;
    return 0;
}

static const struct param mail_params[] = {
    {{"SIZE", 4}, BARID_EXT_SIZE, read_size},
    {{"BODY", 4}, BARID_EXT_8BITMIME, read_body},
    {{"SMTPUTF8", 8}, BARID_EXT_SMTPUTF8, read_smtputf8},
    {{"PRDR", 4}, BARID_EXT_PRDR, read_prdr},
    {{"RET", 3}, 0, read_ret},
    {{"ENVID", 5}, 0, read_envid},
    {{"AUTH", 4}, BARID_EXT_AUTH, read_auth},
};

static const struct param rcpt_params[] = {
    {{"NOTIFY", 6}, 0, read_notify},
    {{"ORCPT", 5}, 0, read_orcpt},
};

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool keyword_valid(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z') &&
            (c != '-' || i == 0))
            return false;
    }
    return s.n > 0;
}

/* esmtp-value = 1*(%d33-60 / %d62-126 / UTF8-non-ascii) */
static bool value_valid(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 33 || c == '=' || c == 127)
            return false;
    }
    return s.n > 0;
}

static int parse_one(const struct param *table, size_t rows, barid_slice item, uint32_t allowed,
                     void *params, uint32_t *seen)
{
    size_t eq = slice_find(item, '=');
    bool given = eq < item.n;
    barid_slice keyword = slice_head(item, eq), value = slice_from(item, eq + 1);

    if (!keyword_valid(keyword) || (given && !value_valid(value)))
        return BARID_ESYNTAX;
    for (size_t i = 0; i < rows; i++) {
        if (!slice_eq_nocase(keyword, table[i].keyword))
            continue;
        if (table[i].extension != 0 && !(allowed & table[i].extension))
            return BARID_ENOTFOUND;
        if (*seen & 1u << i)
            return BARID_ESYNTAX;
        *seen |= 1u << i;
        return table[i].read(params, value, given, allowed);
    }
    return BARID_ENOTFOUND;
}

static int parse_all(const struct param *table, size_t rows, barid_slice text, uint32_t allowed,
                     void *params, barid_slice *bad_r)
{
    uint32_t seen = 0;

    /* A space parts the path and the parameters. */
    if (text.n > 0 && text.p[0] != ' ') {
        *bad_r = slice_head(text, slice_find(text, ' '));
        return BARID_ESYNTAX;
    }
    while (text.n > 0) {
        barid_slice item = slice_cut(text, ' ', &text);
        int r;

        if (item.n == 0) /* more than one space, or at the end: common and harmless */
            continue;
        if ((r = parse_one(table, rows, item, allowed, params, &seen)) < 0) {
            *bad_r = item;
            return r;
        }
    }
    return 0;
}

int barid_mail_params_parse(barid_slice text, uint32_t allowed, barid_mail_params *params_r,
                            barid_slice *bad_r)
{
    *params_r = (barid_mail_params){0};
    *bad_r = (barid_slice){0};
    return parse_all(mail_params, sizeof(mail_params) / sizeof(mail_params[0]), text, allowed,
                     params_r, bad_r);
}

int barid_rcpt_params_parse(barid_slice text, uint32_t allowed, barid_rcpt_params *params_r,
                            barid_slice *bad_r)
{
    *params_r = (barid_rcpt_params){0};
    *bad_r = (barid_slice){0};
    return parse_all(rcpt_params, sizeof(rcpt_params) / sizeof(rcpt_params[0]), text, allowed,
                     params_r, bad_r);
}

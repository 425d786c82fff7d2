/* smtp/verdict.c: names and well-formedness of verdicts. */
#include "barid/verdict.h"

#include "base/slice.h"

const char *barid_verdict_name(enum barid_verdict_kind kind)
{
    static const char *const names[BARID_VERDICT_KINDS] = {
        [BARID_CONTINUE] = "continue", [BARID_ACCEPT] = "accept",
        [BARID_REJECT] = "reject",     [BARID_TEMPFAIL] = "tempfail",
        [BARID_DISCARD] = "discard",   [BARID_QUARANTINE] = "quarantine",
        [BARID_HOLD] = "hold",         [BARID_DISCONNECT] = "disconnect",
    };

    return kind < BARID_VERDICT_KINDS ? names[kind] : "?";
}

/* What the code of each kind may be: lowest and highest; 0 = the code is not looked at. */
static const uint16_t code_range[BARID_VERDICT_KINDS][2] = {
    [BARID_ACCEPT] = {200, 299},
    [BARID_REJECT] = {500, 599},
    [BARID_TEMPFAIL] = {400, 499},
    [BARID_DISCONNECT] = {400, 599},
};

static size_t digits(barid_slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* class "." subject "." detail, the last two of one to three digits. */
static bool enhanced_fits(barid_slice s, char class)
{
    size_t n;

    if (s.n < 5 || s.p[0] != class || s.p[1] != '.')
        return false;
    s = slice_from(s, 2);
    n = digits(s);
    if (n < 1 || n > 3 || n == s.n || s.p[n] != '.')
        return false;
    s = slice_from(s, n + 1);
    n = digits(s);
    return n >= 1 && n <= 3 && n == s.n;
}

static char class_of(const barid_verdict *v)
{
    if (v->code != 0)
        return (char)('0' + v->code / 100);
    if (v->kind == BARID_REJECT)
        return '5';
    return v->kind == BARID_TEMPFAIL || v->kind == BARID_DISCONNECT ? '4' : '2';
}

bool barid_verdict_fits(enum barid_event_id event, const barid_verdict *v)
{
    const barid_event_info *info = barid_event_info_get(event);

    if (info == NULL || v->kind >= BARID_VERDICT_KINDS)
        return false;
    if (v->kind == BARID_CONTINUE)
        return info->kind != BARID_KIND_HOST;
    if ((info->verdicts & BARID_CAN_BIT(v->kind)) == 0)
        return false;
    if (v->code != 0 && code_range[v->kind][0] != 0 &&
        (v->code < code_range[v->kind][0] || v->code > code_range[v->kind][1]))
        return false;
    return v->enhanced.n == 0 || enhanced_fits(v->enhanced, class_of(v));
}

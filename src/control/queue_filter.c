/* control/queue_filter.c: which messages are meant. */
#include "control/queue_int.h"

#include "base/slice.h"

static const char *const state_names[] = {"active", "held", "removed", "quarantined"};

void queue_filter_init(struct queue_filter *f)
{
    *f = (struct queue_filter){.state = -1, .after_us = INT64_MIN, .before_us = INT64_MAX};
}

const char *queue_state_name(enum spool_state state)
{
    return (unsigned)state < 4 ? state_names[state] : "?";
}

int queue_state_by_name(barid_slice name)
{
    for (int i = 0; i < 4; i++)
        if (slice_eq(name, slice_str(state_names[i])))
            return i;
    return slice_eq(name, BARID_S("deferred")) ? QUEUE_STATE_DEFERRED : -1;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Back to the last '*' where it does not fit: no more than the product of both lengths. */
bool glob_matches(barid_slice pattern, barid_slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;

    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.n &&
                   (pattern.p[p] == '?' || lower(pattern.p[p]) == lower(text.p[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

static bool address_matches(const struct mailbox *box, barid_slice pattern)
{
    if (slice_eq(pattern, BARID_S("<>")))
        return box->null || box->address.n == 0;
    if (pattern.p[0] == '@')
        return glob_matches(slice_from(pattern, 1), box->domain);
    return glob_matches(pattern, box->address);
}

static bool any_recipient(const struct mail *m, barid_slice pattern)
{
    for (size_t i = 0; i < m->n_rcpts; i++)
        if (address_matches(&m->rcpts[i]->box, pattern))
            return true;
    return false;
}

/* A list of next hops matches when one of it does. */
static bool hops_match(barid_slice pattern, barid_slice hops)
{
    while (hops.n > 0)
        if (glob_matches(pattern, slice_cut(hops, ' ', &hops)))
            return true;
    return false;
}

static bool any_next_hop(const struct view *v, barid_slice pattern)
{
    for (size_t i = 0; i < v->n_units && i < v->loaded.n_units; i++)
        if (v->loaded.units[i].status != UNIT_DONE && hops_match(pattern, view_next_hop(v, i)))
            return true;
    return false;
}

static bool is_deferred(const struct spool_loaded *l)
{
    for (size_t i = 0; i < l->n_units; i++)
        if (l->units[i].status == UNIT_PENDING && l->units[i].attempts > 0)
            return true;
    return false;
}

bool filter_takes_info(const struct queue_filter *f, const struct spool_message *info)
{
    int state = f->state == QUEUE_STATE_DEFERRED ? SPOOL_ACTIVE : f->state;

    return state < 0 || (int)info->state == state;
}

bool filter_takes(const struct queue_filter *f, const struct view *v)
{
    const struct mail *m = &v->mail;

    if (!filter_takes_info(f, &v->loaded.info) || m->received_us >= f->before_us ||
        m->received_us < f->after_us)
        return false;
    if (f->sender.n > 0 && !address_matches(&m->sender, f->sender))
        return false;
    if (f->recipient.n > 0 && !any_recipient(m, f->recipient))
        return false;
    if (f->next_hop.n > 0 && !any_next_hop(v, f->next_hop))
        return false;
    return f->state != QUEUE_STATE_DEFERRED || is_deferred(&v->loaded);
}

bool filter_reads(const struct queue_filter *f)
{
    return f->sender.n > 0 || f->recipient.n > 0 || f->next_hop.n > 0 ||
           f->state == QUEUE_STATE_DEFERRED || f->before_us != INT64_MAX ||
           f->after_us != INT64_MIN;
}

int filter_next(const struct queue_filter *f, struct spool *s, struct spool_message *info,
                size_t *examined)
{
    while (*examined < QUEUE_VIEW_EXAMINED_MAX) {
        int rc = s->ops->after(s, info->id, info);

        if (rc < 0)
            return rc;
        ++*examined;
        if (filter_takes_info(f, info))
            return 1;
    }
    return 0;
}

/* io/poller.c: see poller.h. */
#include "io/poller.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Events taken in one wait; what is left makes the set readable again in the next turn. */
#define POLLER_BATCH 256

static unsigned from_epoll(const struct poller_item *item, uint32_t events)
{
    unsigned got = 0;

    if ((events & EPOLLERR) != 0)
        return POLLER_ERROR;
    if ((events & EPOLLIN) != 0)
        got |= POLLER_IN;
    if ((events & EPOLLOUT) != 0)
        got |= POLLER_OUT;
    /* Both sides are shut: who waits for anything finds out by trying. */
    if ((events & EPOLLHUP) != 0)
        got |= item->wanted;
    return got & item->wanted;
}

static void on_ready(uv_poll_t *uv, int status, int uv_events)
{
    struct poller *p = uv->data;
    struct epoll_event events[POLLER_BATCH];
    int n;

    (void)status;
    (void)uv_events;
    n = epoll_wait(p->fd, events, POLLER_BATCH, 0);
    for (int i = 0; i < n; i++) {
        struct poller_item *item = events[i].data.ptr;
        unsigned got;

        if (item->fd < 0) /* closed by an earlier one of this batch */
            continue;
        got = from_epoll(item, events[i].events);
        if (got == POLLER_ERROR)
            poller_want(p, item, 0);
        if (got != 0)
            item->ops->ready(item, got);
    }
}

int poller_init(struct poller *p, uv_loop_t *uv, struct err *err)
{
    int rc;

    memset(p, 0, sizeof(*p));
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0)
        return err_errno(err, BARID_EIO, errno, "event loop: no epoll set");
    rc = uv_poll_init(uv, &p->uv, p->fd);
    if (rc != 0) {
        close(p->fd);
        return err_set(err, BARID_EIO, "event loop: %s", uv_strerror(rc));
    }
    p->uv.data = p;
    uv_poll_start(&p->uv, UV_READABLE, on_ready);
    return 0;
}

void poller_deinit(struct poller *p)
{
    uv_close((uv_handle_t *)&p->uv, NULL);
    close(p->fd);
}

void poller_abandon(struct poller *p, bool all)
{
    struct poller_item *item, *next;

    for (item = p->first; item != NULL; item = next) {
        next = item->next;
        item->ops->abandon(item, all);
    }
}

void poller_add(struct poller *p, struct poller_item *item, int fd,
                const struct poller_ops *ops)
{
    *item = (struct poller_item){.next = p->first, .at = &p->first, .ops = ops, .fd = fd};
    if (item->next != NULL)
        item->next->at = &item->next;
    p->first = item;
}

int poller_want(struct poller *p, struct poller_item *item, unsigned events)
{
    struct epoll_event e = {.data.ptr = item};
    /* With nothing wanted it is taken out: errors and hang-ups are reported whether wanted or
     * not, and again and again. */
    int op = events == 0 ? EPOLL_CTL_DEL : item->wanted == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (events == item->wanted)
        return 0;
    e.events = ((events & POLLER_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
               ((events & POLLER_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    item->wanted = (uint8_t)events;
    if (epoll_ctl(p->fd, op, item->fd, &e) == 0)
        return 0;
    item->wanted = 0;
    return BARID_EIO;
}

void poller_remove(struct poller_item *item)
{
    if (item->fd < 0)
        return;
    *item->at = item->next;
    if (item->next != NULL)
        item->next->at = item->at;
    item->fd = -1;
    item->wanted = 0;
}

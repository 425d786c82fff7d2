/* io/watch.c: a uv_poll_t on a descriptor that somebody else owns. */
#include "io/watch.h"

#include "base/mem.h"
#include "io/loop_int.h"

struct watch {
    struct io_handle handle; /* first */
    void (*ready)(void *user);
    void *user;
};

static void on_closed(uv_handle_t *h)
{
    mem_free(NULL, h->data);
}

/* The owner forgot it: loop_del closes it. */
static void on_abandon(struct io_handle *h, bool all)
{
    (void)all;
    uv_close((uv_handle_t *)&h->poll, on_closed);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;

    /* An error of the descriptor is seen by its library, too, when it looks. */
    (void)status;
    (void)events;
    w->ready(w->user);
}

int watch_new(struct watch **w_r, struct loop *loop, int fd, void (*ready)(void *user),
              void *user, struct err *err)
{
    struct watch *w = mem_zalloc(NULL, sizeof(*w));
    int rc;

    *w_r = NULL;
    if (w == NULL)
        return err_set(err, BARID_ENOMEM, "watch: out of memory");
    rc = uv_poll_init(&loop->uv, &w->handle.poll, fd);
    if (rc != 0) {
        mem_free(NULL, w);
        return err_set(err, BARID_EIO, "watch: %s", uv_strerror(rc));
    }
    w->handle.poll.data = w;
    w->handle.abandon = on_abandon;
    w->ready = ready;
    w->user = user;
    uv_poll_start(&w->handle.poll, UV_READABLE, on_poll);
    *w_r = w;
    return 0;
}

void watch_del(struct watch **watch)
{
    struct watch *w = *watch;

    if (w == NULL)
        return;
    *watch = NULL;
    uv_close((uv_handle_t *)&w->handle.poll, on_closed);
}

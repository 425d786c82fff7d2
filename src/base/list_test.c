/* base/list_test.c: the intrusive list. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/list.h"

struct item {
    int n;
    struct list link;
};

static int digits(const struct list *head)
{
    int value = 0;

    LIST_EACH(it, head)
    value = value * 10 + LIST_ENTRY(it, struct item, link)->n;
    return value;
}

static void test_list(void **state)
{
    struct item items[4] = {{.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
    struct list head;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_int_equal(digits(&head), 0);
    for (int i = 0; i < 4; i++)
        list_append(&head, &items[i].link);
    assert_int_equal(digits(&head), 1234);
    LIST_EACH_SAFE(it, next, &head)
    {
        if (LIST_ENTRY(it, struct item, link)->n % 2 == 0)
            list_remove(it);
    }
    assert_int_equal(digits(&head), 13);
    /* A removed node is a list of its own: removing it again is harmless. */
    list_remove(&items[1].link);
    assert_true(list_empty(&items[1].link));
    list_append(&head, &items[1].link);
    assert_int_equal(digits(&head), 132);
    list_remove(&items[0].link);
    list_remove(&items[1].link);
    list_remove(&items[2].link);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list)};

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}

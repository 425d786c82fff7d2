/* policy/pattern_compare.h: our string functions beside the standard library's, for test and
 * fuzzing. Test code only. */
#ifndef POLICY_PATTERN_COMPARE_H
#define POLICY_PATTERN_COMPARE_H

#include <stdbool.h>

#include "barid/types.h"

struct compare;
struct compare *compare_new(void);
void compare_del(struct compare *c);
/* find, match, gmatch and gsub of both libraries on the same input: the same values, or both an
 * error. Patterns that ours stops for its step limit count as the same. False: differs. */
bool compare_same(struct compare *c, barid_slice subject, barid_slice pattern);

#endif

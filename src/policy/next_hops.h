/*
 * policy/next_hops.h: next hops as a script names them: one or several texts, or one table of them.
 */
#ifndef POLICY_NEXT_HOPS_H
#define POLICY_NEXT_HOPS_H

#include <lua.h>

#include "message/hop.h"

/*
 * The arguments from first on: ("a", "b"), or ({ "a", "b", pinned = true }). Pushes the list as one text, each next hop as hop_text
 * writes it, with a space between them (what hop_list_next takes apart), and returns it. pinned_r NULL: there is no such key. Raises
 * what is wrong, beginning with what.
 */
barid_slice next_hops_check(lua_State *L, int first, const char *what, bool *pinned_r);

/* Such a list into hops of at most HOP_LIST_MAX, each beginning as a copy of base; all in arena. The number, or BARID_ENOMEM. */
int next_hops_read(barid_slice list, const struct hop *base, struct arena *arena, struct hop **hops_r);

#endif

/*
 * policy/budget.h: how much a script may compute before it is stopped: instructions and CPU
 * time. Internal to src/policy.
 */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    uint64_t instructions; /* of one run */
    uint32_t cpu_ms;
    /* Of this run. */
    uint64_t used;
    int64_t started_us; /* CPU time of the thread at the first count; 0 = not yet */
    bool stopped;
};

void budget_begin(struct budget *b, lua_State *L);
/* A waiting hook continues: what it used so far counts. */
void budget_resume(struct budget *b, lua_State *L, uint64_t used);
void budget_end(struct budget *b, lua_State *L); /* takes the hook off: of the main state */
/* Work done inside C, in units of an instruction. Raises when the budget is gone. */
void budget_charge(lua_State *L, uint64_t units);

#endif

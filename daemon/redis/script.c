/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The texts come from lua/ as string literals, made at build time without the comment lines. What lock and
 * unlock have in common stands before them.
 */

#include "daemon/redis/script.h"

static const char script_lock[] =
#include "gen/queue.lua.h"

#include "gen/lock.lua.h"
    ;

static const char script_unlock[] =
#include "gen/queue.lua.h"

#include "gen/unlock.lua.h"
    ;

static const char script_refresh[] =
#include "gen/refresh.lua.h"
    ;

void script_table(struct script ret[N_SCRIPTS])
{
    ret[SCRIPT_LOCK] =
        (struct script){.name = "lock", .text = script_lock, .text_len = sizeof(script_lock) - 1};
    ret[SCRIPT_UNLOCK] =
        (struct script){.name = "unlock", .text = script_unlock, .text_len = sizeof(script_unlock) - 1};
    ret[SCRIPT_REFRESH] =
        (struct script){.name = "refresh", .text = script_refresh, .text_len = sizeof(script_refresh) - 1};
}

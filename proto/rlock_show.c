/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What people look at: list, show, stats and ping. With --json, the daemon's own words instead.
 */

#include "proto/rlock.h"
#include "proto/rlock_args.h"
#include "proto/rlock_commands.h"
#include "proto/rlock_reach.h"
#include "proto/rlock_table.h"
#include "proto/rlock_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { SHOW_PAGE = 1000 };

/* --- list ------------------------------------------------------------------------------------------ */

enum { SHOW_KEY, SHOW_PID, SHOW_USER, SHOW_HELD, SHOW_WAITING, SHOW_COMMAND, SHOW_NOTE };

static const struct table_column show_columns[] = {
    [SHOW_KEY] = {.title = "KEY", .can_shrink = true},
    [SHOW_PID] = {.title = "PID", .is_number = true},
    [SHOW_USER] = {.title = "USER"},
    [SHOW_HELD] = {.title = "HELD", .is_number = true},
    [SHOW_WAITING] = {.title = "WAIT", .is_number = true},
    [SHOW_COMMAND] = {.title = "COMMAND", .can_shrink = true},
    [SHOW_NOTE] = {.title = "NOTE", .can_shrink = true},
};

static void show_add_row(struct table *table, const struct rlock_info *info)
{
    const struct rlock_holder *holder = info->holder;
    char pid[32] = "-", waiting[32], age[TEXT_AGE_CAP], user[TEXT_USER_CAP] = "-";
    const char *command =
        strcmp(info->state, "elsewhere") == 0 ? "(held on another host)" : "(being acquired)";
    if (holder != NULL) {
        snprintf(pid, sizeof(pid), "%" PRId64, holder->pid);
        text_user(holder->uid, user);
        command = holder->command;
    } else if (strcmp(info->state, "held") == 0) {
        command = "(being handed over)";
    }
    snprintf(waiting, sizeof(waiting), "%" PRId64, (int64_t)info->n_waiting + info->n_waiting_more);
    const char *cells[] = {
        [SHOW_KEY] = info->key,
        [SHOW_PID] = pid,
        [SHOW_USER] = user,
        [SHOW_HELD] = text_age(info->held_ms, age),
        [SHOW_WAITING] = waiting,
        [SHOW_COMMAND] = command,
        [SHOW_NOTE] = holder != NULL ? holder->note : "",
    };
    table_add(table, cells);
}

static int show_list_table(struct rlock_client *client, const char *prefix)
{
    struct table table = table_open(show_columns, sizeof(show_columns) / sizeof(show_columns[0]));
    struct rlock_list *list = NULL;
    char *after = NULL;
    int code;
    do {
        rlock_list_free(list);
        list = NULL;
        code = rlock_list(client, prefix, after, SHOW_PAGE, REACH_MS_MAX, &list);
        for (size_t i = 0; code == 0 && i < list->n_locks; i++) {
            show_add_row(&table, &list->locks[i]);
        }
        free(after);
        after = code == 0 && list->next != NULL ? strdup(list->next) : NULL;
    } while (after != NULL);
    rlock_list_free(list);
    if (code == 0) {
        table_print(&table);
    }
    table_close(&table);
    return code;
}

/* All pages as if they were one. */
static int show_list_json(struct rlock_client *client, const char *prefix)
{
    json_t *all = json_array(), *next = NULL, *page = NULL;
    int code = 0;
    do {
        json_t *params = json_pack("{s:s, s:i, s:O*}", "prefix", prefix != NULL ? prefix : "", "limit",
                                   SHOW_PAGE, "after", json_is_string(next) ? next : NULL);
        char *result = NULL;
        code = reach_call(client, "list", params, &result);
        json_decref(page);
        page = code == 0 ? json_loads(result, 0, NULL) : NULL;
        free(result);
        json_array_extend(all, json_object_get(page, "locks"));
        next = json_object_get(page, "next");
    } while (json_is_string(next));
    json_decref(page);
    page = json_pack("{s:o, s:n}", "locks", all, "next");
    if (code == 0 && json_dumpf(page, stdout, JSON_COMPACT) == 0) {
        puts("");
    }
    json_decref(page);
    return code;
}

int show_list(const struct args *args)
{
    struct rlock_client *client;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    int code = args->is_json ? show_list_json(client, args->operand) : show_list_table(client, args->operand);
    return reach_close(client, code);
}

/* --- show ------------------------------------------------------------------------------------------ */

static void show_line(const char *name, const char *value)
{
    char text[TEXT_HOLDER_CAP];
    snprintf(text, sizeof(text), "%s", value);
    text_clean(text);
    printf("%-10s %s\n", name, text);
}

static void show_holder(const char *name, const struct rlock_holder *holder)
{
    char text[TEXT_HOLDER_CAP];
    show_line(name, text_holder(holder, text));
}

static void show_waiting(const struct rlock_info *info)
{
    char name[32], text[TEXT_HOLDER_CAP], age[TEXT_AGE_CAP];
    for (size_t i = 0; i < info->n_waiting; i++) {
        snprintf(name, sizeof(name), i == 0 ? "waiting" : "");
        printf("%-10s %zu. for %s: %s\n", name, i + 1, text_age(info->waiting[i].waited_ms, age),
               text_holder(&info->waiting[i], text));
    }
    if (info->n_waiting_more > 0) {
        printf("%-10s and %" PRId64 " more\n", "", info->n_waiting_more);
    }
}

static void show_info(const struct rlock_info *info)
{
    char number[64], age[TEXT_AGE_CAP], left[TEXT_AGE_CAP];
    show_line("key", info->key);
    show_line("state", strcmp(info->state, "elsewhere") == 0
                           ? "held on another host, or by another program in Redis"
                           : info->state);
    if (info->fence > 0) {
        snprintf(number, sizeof(number), "%" PRId64, info->fence);
        show_line("fence", number);
    }
    if (info->held_ms >= 0) {
        show_line("held for", text_age(info->held_ms, age));
    }
    if (info->lease_remaining_ms >= 0) {
        snprintf(number, sizeof(number), "%s left%s%s", text_age(info->lease_remaining_ms, left),
                 info->lease_ttl_ms >= 0 ? " of " : "",
                 info->lease_ttl_ms >= 0 ? text_age(info->lease_ttl_ms, age) : "");
        show_line("lease", number);
    }
    if (info->holder != NULL) {
        show_holder("holder", info->holder);
    }
    show_waiting(info);
}

int show_key(const struct args *args)
{
    struct rlock_client *client;
    struct rlock_list *list;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    if (args->is_json) {
        return reach_close(client, reach_print(client, "inspect", args->operand));
    }
    int code = rlock_inspect(client, args->operand, REACH_MS_MAX, &list);
    if (code == 0) {
        show_info(&list->locks[0]);
        rlock_list_free(list);
    }
    return reach_close(client, code);
}

/* --- stats, ping ----------------------------------------------------------------------------------- */

static int show_stats_table(struct rlock_client *client)
{
    char *result;
    const char *name;
    json_t *value;
    int code = reach_ask(client, "stats", NULL, &result);
    if (code != 0) {
        return code;
    }
    json_t *stats = json_loads(result, 0, NULL);
    json_object_foreach (stats, name, value)
        printf("%-22s %15" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
    json_decref(stats);
    free(result);
    return 0;
}

int show_stats(const struct args *args)
{
    struct rlock_client *client;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    return reach_close(client, args->is_json ? reach_print(client, "stats", NULL) : show_stats_table(client));
}

int show_ping(const struct args *args)
{
    struct rlock_client *client;
    char *result = NULL;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    int code = reach_ask(client, "ping", NULL, &result);
    if (code == 0) {
        puts(args->is_json ? result : "pong");
    }
    free(result);
    return reach_close(client, code);
}

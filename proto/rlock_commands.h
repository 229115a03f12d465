/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The commands of rlock. Each returns the exit status.
 */

struct args;

int run_command(const struct args *args);  /* take the lock, run a command, give the lock back */
int hold_command(const struct args *args); /* take the lock and keep it until stdin ends */

int show_list(const struct args *args);
int show_key(const struct args *args);
int show_stats(const struct args *args);
int show_ping(const struct args *args);

int admin_force_unlock(const struct args *args);
int admin_call(const struct args *args);

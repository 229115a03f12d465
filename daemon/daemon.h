/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The running daemon: builds all parts, wires them, runs the loop until it is told to stop, and takes
 * everything down again.
 */

struct config;

/*
 * Returns the process's exit status: 0 after SIGTERM or SIGINT, 1 if it could not start (the log says
 * why). `config` is borrowed. SIGHUP reads `config_path` again, with config_load(): NULL is the
 * default file, there or not.
 */
int daemon_run(const struct config *config, const char *config_path);

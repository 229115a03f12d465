/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A table on stdout that fits the terminal: columns as wide as they need to be, and if that is too much, those
 * that can shrink are cut. Into a file or pipe nothing is cut.
 */

#include <stdbool.h>
#include <stddef.h>

struct table_column {
    const char *title;
    bool is_number; /* stands on the right */
    bool can_shrink;
};

struct table {
    const struct table_column *columns;
    size_t n_columns;
    char **cells; /* row by row */
    size_t n_cells, cells_cap;
};

struct table table_open(const struct table_column *columns, size_t n_columns);
void table_add(struct table *table, const char *const *cells); /* copies and cleans a row */
void table_print(const struct table *table); /* without rows: nothing, not even the titles */
void table_close(struct table *table);

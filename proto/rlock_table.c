/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Knows nothing of what stands in the cells but that it comes from strangers.
 */

#include "proto/rlock_table.h"

#include "proto/rlock_text.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

enum { TABLE_COLUMNS_MAX = 8, TABLE_SHRUNK_MIN = 8, TABLE_GAP = 2 };

struct table table_open(const struct table_column *columns, size_t n_columns)
{
    return (struct table){.columns = columns, .n_columns = n_columns};
}

static char *table_copy(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        exit(EX_OSERR);
    }
    text_clean(copy);
    return copy;
}

void table_add(struct table *table, const char *const *cells)
{
    if (table->n_cells + table->n_columns > table->cells_cap) {
        table->cells_cap = table->cells_cap * 2 + table->n_columns;
        table->cells = realloc(table->cells, table->cells_cap * sizeof(*table->cells));
        if (table->cells == NULL) {
            exit(EX_OSERR);
        }
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        table->cells[table->n_cells++] = table_copy(cells[i]);
    }
}

void table_close(struct table *table)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
}

static size_t table_terminal_width(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0
               ? size.ws_col
               : SIZE_MAX;
}

/* Takes from the widest that can shrink, one by one, until all fits or none can give more. */
static void table_fit(const struct table *table, size_t *widths)
{
    size_t width_max = table_terminal_width(), width = TABLE_GAP * (table->n_columns - 1);
    for (size_t i = 0; i < table->n_columns; i++) {
        width += widths[i];
    }
    while (width > width_max) {
        size_t widest = table->n_columns;
        for (size_t i = 0; i < table->n_columns; i++) {
            if (table->columns[i].can_shrink && widths[i] > TABLE_SHRUNK_MIN &&
                (widest == table->n_columns || widths[i] > widths[widest])) {
                widest = i;
            }
        }
        if (widest == table->n_columns) {
            return;
        }
        widths[widest]--;
        width--;
    }
}

/* printf's own widths count bytes, so the blanks are ours. */
static void table_print_cell(const struct table *table, size_t column, const char *text, size_t width)
{
    int blanks = (int)(width - text_width(text));
    bool is_last = column + 1 == table->n_columns;
    if (table->columns[column].is_number) {
        printf("%*s%s", blanks, "", text);
    } else {
        printf("%s%*s", text, is_last ? 0 : blanks, "");
    }
    printf(is_last ? "\n" : "%*s", is_last ? 0 : TABLE_GAP, "");
}

void table_print(const struct table *table)
{
    size_t widths[TABLE_COLUMNS_MAX], n = table->n_columns;
    assert(n > 0 && n <= TABLE_COLUMNS_MAX);
    if (table->n_cells == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        widths[i] = strlen(table->columns[i].title);
    }
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = text_width(table->cells[i]);
        if (width > widths[i % n]) {
            widths[i % n] = width;
        }
    }
    table_fit(table, widths);
    for (size_t i = 0; i < n; i++) {
        table_print_cell(table, i, table->columns[i].title, widths[i]);
    }
    for (size_t i = 0; i < table->n_cells; i++) {
        text_cut(table->cells[i], widths[i % n]);
        table_print_cell(table, i % n, table->cells[i], widths[i % n]);
    }
}

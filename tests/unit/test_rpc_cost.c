/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rpc: what a line can cost at worst. The lines are of the largest size that the daemon takes by
 * default, full of what makes the parser allocate most.
 */

#include "proto/rpc.h"

#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

Suite *test_rpc_cost_suite(void);

static size_t n_bytes, n_bytes_peak;

static void *counting_malloc(size_t len)
{
    void *bytes = malloc(len);

    n_bytes += malloc_usable_size(bytes);
    n_bytes_peak = n_bytes > n_bytes_peak ? n_bytes : n_bytes_peak;
    return bytes;
}

static void counting_free(void *bytes)
{
    n_bytes -= malloc_usable_size(bytes);
    free(bytes);
}

#define CALL "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lock\",\"params\":{\"key\":["

static const struct {
    const char *open, *piece, *close;
    int outcome;
} amplifiers[] = {
    {"[", "[],", "0]", RPC_E_INVALID}, {"[", "{},", "0]", RPC_E_INVALID},
    {"[", "1,", "0]", RPC_E_INVALID},  {"[", "\"\",", "0]", RPC_E_INVALID},
    {CALL, "[],", "0]}}", 0},          {CALL, "{},", "0]}}", 0},
    {CALL, "[[[[[]]]]],", "0]}}", 0},  {CALL, "[[[[[[]]]]]],", "0]}}", RPC_E_PARSE},
    {CALL, "\"\\u0041\",", "0]}}", 0}, {"", "[", "", RPC_E_PARSE},
    {"", "{\"a\":", "", RPC_E_PARSE},
};

static int outcome_of(const char *line, size_t len)
{
    struct rpc rpc;
    struct rpc_call call;
    int r = rpc_open(&rpc, line, len);

    while (r == 0 && rpc_next(&rpc, &call)) {
    }
    rpc_close(&rpc);
    return r;
}

START_TEST(a_line_costs_at_most_a_hundred_times_its_length)
{
    enum { LINE_MAX = 65536 };
    char *line = malloc(LINE_MAX);
    size_t len = strlen(amplifiers[_i].open), piece_len = strlen(amplifiers[_i].piece);
    size_t close_len = strlen(amplifiers[_i].close);

    memcpy(line, amplifiers[_i].open, len);
    while (len + piece_len + close_len <= LINE_MAX) {
        memcpy(line + len, amplifiers[_i].piece, piece_len);
        len += piece_len;
    }
    memcpy(line + len, amplifiers[_i].close, close_len);
    len += close_len;
    n_bytes = n_bytes_peak = 0;
    json_set_alloc_funcs(counting_malloc, counting_free);
    ck_assert_int_eq(outcome_of(line, len), amplifiers[_i].outcome);
    json_set_alloc_funcs(malloc, free);
    ck_assert_uint_eq(n_bytes, 0);
    ck_assert_uint_le(n_bytes_peak, 100 * len);
    free(line);
}
END_TEST

Suite *test_rpc_cost_suite(void)
{
    Suite *suite = suite_create("rpc_cost");
    TCase *tcase = tcase_create("rpc_cost");
    int n_amplifiers = sizeof(amplifiers) / sizeof(amplifiers[0]);

    tcase_add_loop_test(tcase, a_line_costs_at_most_a_hundred_times_its_length, 0, n_amplifiers);
    suite_add_tcase(suite, tcase);
    return suite;
}

/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What a client may send, up to the typed message: frame, rpc, message. The first byte says in how
 * large pieces the rest arrives. Printing each outcome checks that foreign text comes out as JSON.
 */

#include "proto/frame.h"
#include "proto/message.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_print(struct rpc_id id, const char *fault)
{
    static char room[PRINT_ROOM];
    struct print print = print_into(room, sizeof(room));
    struct message_error error = MESSAGE_ERROR(WIRE_INVALID_PARAMS);
    error.message = fault;
    message_print_error(&print, id, &error);
    assert(!print.full);
    json_t *back = json_loadb(room, (size_t)(print.at - room), JSON_REJECT_DUPLICATES, NULL);
    assert(back != NULL);
    json_decref(back);
}

static void take_call(const struct rpc_call *call)
{
    static const struct message_defaults defaults = {1000, 1000, 100, 3, 500, MESSAGE_UNBOUNDED};
    struct message message;
    char fault[MESSAGE_FAULT_CAP];
    if (!call->is_valid) {
        check_print(call->id, NULL);
        return;
    }
    int r = message_parse(call, &defaults, &message, fault);
    check_print(call->id, r != 0 ? fault : NULL);
    if (r != 0 || message.method != METHOD_LOCK) {
        return;
    }
    assert(message.key_len >= 1 && message.key_len <= MESSAGE_KEY_MAX);
    assert(message.ttl_ms >= MESSAGE_TTL_MS_MIN && message.ttl_ms <= MESSAGE_TTL_MS_MAX);
    assert(message.note_len <= MESSAGE_NOTE_MAX);
}

static void take_line(const char *line, size_t len)
{
    struct rpc rpc;
    struct rpc_call call;
    if (rpc_open(&rpc, line, len) == 0) {
        size_t n_calls = 0;
        while (rpc_next(&rpc, &call)) {
            take_call(&call);
            n_calls++;
        }
        assert(n_calls >= 1 && n_calls <= RPC_BATCH_MAX);
    }
    rpc_close(&rpc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct frame frame;
    if (len == 0) {
        return 0;
    }
    size_t piece = data[0] + 1u;
    frame_init(&frame, 4096);
    int r = FRAME_E_MORE;
    for (size_t at = 1; at < len && r == FRAME_E_MORE; at += piece) {
        const char *line;
        size_t line_len;
        frame_feed(&frame, (const char *)data + at, len - at < piece ? len - at : piece);
        while ((r = frame_next(&frame, &line, &line_len)) == 0) {
            take_line(line, line_len);
        }
    }
    frame_deinit(&frame);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What clients tell: a ring in shared memory for each, written by the client alone and read by the soak
 * alone. A client may be killed or stopped between any two instructions: a record counts when the head
 * has gone past it.
 */

#include <stdatomic.h>
#include <stdint.h>

enum { SOAK_CLIENTS = 10, SOAK_KEYS = 4, SOAK_TTL_MS_MIN = 1000, SOAK_TTL_MS_MAX = 3000 };

enum { RING_RECORDS = 1 << 14, RING_TEXT_CAP = 96 };

enum record_kind {
    RECORD_BELIEF = 1, /* at at_ms the client held the key: nothing had told it otherwise */
    RECORD_LATE,       /* `lost` came so many ms after the instant that at_risk had named; see fence */
    RECORD_FINDING,    /* something is wrong: text */
};

struct record {
    enum record_kind kind;
    int key;
    int64_t fence; /* RECORD_LATE: by how many ms */
    int64_t at_ms;
    char text[RING_TEXT_CAP];
};

struct ring {
    _Atomic uint32_t head, tail;
    _Atomic uint64_t n_requests, n_answers, n_grants, n_lost, n_refused, n_ends;
    struct record records[RING_RECORDS];
};

/* The life of a client process: connects to the daemon there, and locks, holds and unlocks until it is
 * killed, or told by SIGTERM to give everything back and end. */
_Noreturn void client_live(const char *socket_path, struct ring *ring, uint64_t seed);

/* CLOCK_BOOTTIME. */
int64_t soak_now_ms(void);

/* A number from 0 to below - 1; the same ones for the same seed. */
uint64_t soak_draw(uint64_t *seed, uint64_t below);

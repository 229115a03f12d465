/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A stretch of time for each grant: from the first instant to the last at which its client held the key. All
 * stretches of a key that are not long past are compared with each one that grows.
 */

#include "tests/soak/history.h"

#include "tests/soak/ring.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { HISTORY_KEEP_MS = 60000, HISTORY_STRETCHES = 1 << 14 };

struct stretch {
    int client;
    bool is_reported; /* once is enough */
    int64_t fence, first_ms, last_ms;
};

struct history {
    uint64_t n_grants;
    int64_t step_ms, step_over_ms; /* the last one, and when it does not matter any more */
    struct history_key {
        struct stretch stretches[HISTORY_STRETCHES]; /* a ring; the oldest are forgotten */
        uint64_t n;
    } keys[SOAK_KEYS];
};

struct history *history_new(void)
{
    struct history *history = calloc(1, sizeof(*history));

    if (history == NULL) {
        abort();
    }
    return history;
}

struct history *history_free(struct history *history)
{
    free(history);
    return NULL;
}

static int history_complain(const char *what, int key, const struct stretch *a, const struct stretch *b)
{
    printf("FINDING: %s: k%d: client %d, fence %lld, from %lld to %lld; client %d, fence %lld, from %lld to "
           "%lld\n",
           what, key, a->client, (long long)a->fence, (long long)a->first_ms, (long long)a->last_ms,
           b->client, (long long)b->fence, (long long)b->first_ms, (long long)b->last_ms);
    return 1;
}

/* The one of both that began first had begun before the clock went ahead, and its lease was not renewed since. */
static bool history_is_excused(const struct history *history, const struct stretch *a,
                               const struct stretch *b)
{
    const struct stretch *first = a->first_ms < b->first_ms ? a : b;

    return first->first_ms <= history->step_ms && first->last_ms >= history->step_ms &&
           first->last_ms <= history->step_over_ms;
}

static int history_compare(const struct history *history, int key, const struct stretch *a,
                           const struct stretch *b)
{
    if (a->first_ms <= b->last_ms && b->first_ms <= a->last_ms) {
        /* Within one millisecond both may be right: one has ended, the other begun. */
        bool is_edge = a->first_ms == b->last_ms || b->first_ms == a->last_ms;

        return is_edge || history_is_excused(history, a, b) ? 0
                                                            : history_complain("two hold a key", key, a, b);
    }
    bool is_later = a->first_ms > b->last_ms;
    if (is_later ? a->fence <= b->fence : a->fence >= b->fence) {
        return history_complain("fences do not grow", key, a, b);
    }
    return 0;
}

int history_note(struct history *history, int client, int key, int64_t fence, int64_t at_ms)
{
    struct history_key *here = &history->keys[key];
    uint64_t oldest = here->n > HISTORY_STRETCHES ? here->n - HISTORY_STRETCHES : 0;
    struct stretch *own = NULL;
    int n_findings = 0;

    for (uint64_t i = here->n; i > oldest && own == NULL; i--) {
        struct stretch *stretch = &here->stretches[(i - 1) % HISTORY_STRETCHES];

        own = stretch->client == client && stretch->fence == fence ? stretch : NULL;
    }
    if (own == NULL) {
        own = &here->stretches[here->n++ % HISTORY_STRETCHES];
        *own = (struct stretch){.client = client, .fence = fence, .first_ms = at_ms, .last_ms = at_ms};
        history->n_grants++;
    }
    own->last_ms = at_ms > own->last_ms ? at_ms : own->last_ms;
    for (uint64_t i = here->n; i > oldest; i--) {
        struct stretch *other = &here->stretches[(i - 1) % HISTORY_STRETCHES];

        if (other->first_ms < at_ms - HISTORY_KEEP_MS) {
            break;
        }
        if (other != own && !(own->is_reported && other->is_reported) &&
            history_compare(history, key, own, other) != 0) {
            own->is_reported = other->is_reported = true;
            n_findings++;
        }
    }
    return n_findings > 0;
}

void history_note_step(struct history *history, int64_t at_ms, int64_t ttl_ms_max)
{
    history->step_ms = at_ms;
    history->step_over_ms = at_ms + ttl_ms_max;
}

uint64_t history_n_grants(const struct history *history)
{
    return history->n_grants;
}

/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What librlock told a test: an event function that keeps a copy of each event, in order.
 */

#include "proto/rlock.h"

#include <stddef.h>
#include <stdint.h>

enum { NEWS_MAX = 4096, NEWS_TEXT_MAX = 128 };

struct news_item {
    enum rlock_event_type type;
    struct rlock *lock; /* to be compared, not to be looked at: it may have been freed */
    char key[NEWS_TEXT_MAX];
    int64_t fence, valid_until_ms, lost_at_ms, call_id;
    int code; /* of the error; 0: there was none */
    char reason[NEWS_TEXT_MAX];
    char why[NEWS_TEXT_MAX];
    char result[NEWS_TEXT_MAX];
};

struct news {
    size_t n, n_read;
    struct news_item items[NEWS_MAX];
};

/* Sets the client's event function. free(3) the news, after the client. */
struct news *news_of(struct rlock_client *client);
void news_keep(struct rlock_client *client, const struct rlock_event *event, void *news);

/* The next event that was not read yet; waits for one if need be. The connection may end meanwhile. */
const struct news_item *news_next(struct rlock_client *client, struct news *news);
/* It must be of this type. */
const struct news_item *news_expect(struct rlock_client *client, struct news *news,
                                    enum rlock_event_type type);
/* All have been read. */
void news_expect_none(const struct news *news);

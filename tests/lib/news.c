/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Copies, because an event is good only until its function returns.
 */

#include "tests/lib/news.h"
#include "tests/lib/await.h"

#include <stdio.h>
#include <stdlib.h>

static void news_copy(char ret[NEWS_TEXT_MAX], const char *text)
{
    (void)snprintf(ret, NEWS_TEXT_MAX, "%s", text != NULL ? text : "");
}

void news_keep(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    struct news *news = ctx;

    (void)client;
    ck_assert_uint_lt(news->n, NEWS_MAX);
    struct news_item *item = &news->items[news->n++];
    item->type = event->type;
    item->lock = event->lock;
    item->fence = event->fence;
    item->valid_until_ms = event->valid_until_ms;
    item->lost_at_ms = event->lost_at_ms;
    item->call_id = event->call_id;
    item->code = event->error != NULL ? event->error->code : 0;
    news_copy(item->key, event->key);
    news_copy(item->reason, event->reason);
    news_copy(item->why, event->error != NULL ? event->error->why : "");
    news_copy(item->result, event->result);
}

struct news *news_of(struct rlock_client *client)
{
    struct news *news = calloc(1, sizeof(*news));

    ck_assert_ptr_nonnull(news);
    rlock_on_event(client, news_keep, news);
    return news;
}

const struct news_item *news_next(struct rlock_client *client, struct news *news)
{
    while (news->n_read == news->n) {
        int r = rlock_wait(client, AWAIT_MS_MAX);

        ck_assert_msg(r == 0 || news->n_read < news->n, "no event, but %d: %s", r, rlock_error_text(client));
    }
    return &news->items[news->n_read++];
}

const struct news_item *news_expect(struct rlock_client *client, struct news *news,
                                    enum rlock_event_type type)
{
    const struct news_item *item = news_next(client, news);

    ck_assert_msg(item->type == type, "event %d instead of %d: key %s, reason %s, code %d", item->type, type,
                  item->key, item->reason, item->code);
    return item;
}

void news_expect_none(const struct news *news)
{
    ck_assert_uint_eq(news->n_read, news->n);
}

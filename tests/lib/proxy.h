/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A bad network: stands on a Unix socket between the daemon and Redis, and holds, cuts or refuses
 * what it is told to. Each call takes effect before it returns.
 */

#include <stdbool.h>
#include <stddef.h>

struct proxy;

struct proxy *proxy_start(const char *listen_path, const char *redis_path);
void proxy_stop(struct proxy *proxy);

void proxy_hold_requests(struct proxy *proxy, bool hold); /* false: all that was held goes on */
void proxy_hold_replies(struct proxy *proxy, bool hold);
void proxy_refuse(struct proxy *proxy, bool refuse); /* true: cuts, and nobody listens any more */
void proxy_cut(struct proxy *proxy);                 /* ends every connection; new ones are taken */

void proxy_delay_replies(struct proxy *proxy, int delay_ms); /* each comes so much later; 0: at once */

/* Ends every connection for the daemon only: Redis does not hear of it, and what was held of its requests is
 * kept, as a packet may be on its way. Delivered, Redis gets it, if it still listens. */
void proxy_orphan(struct proxy *proxy);
void proxy_deliver_orphans(struct proxy *proxy);

size_t proxy_held_requests(struct proxy *proxy); /* bytes that it holds back just now */
size_t proxy_held_replies(struct proxy *proxy);

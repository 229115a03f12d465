/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

#include <rlock.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *key = argc > 1 ? argv[1] : "example";
    struct rlock_client *client;
    struct rlock *lock;
    int r = rlock_open(NULL, 1000, &client);

    if (r != 0) {
        fprintf(stderr, "no daemon: %s\n", rlock_strerror(r));
        return 1;
    }
    if (rlock_lock(client, key, NULL, RLOCK_FOREVER, &lock) != 0) {
        fprintf(stderr, "no lock: %s\n", rlock_error_text(client));
        return 1;
    }
    fprintf(stderr, "locked %lld\n", (long long)rlock_fence(lock));
    for (int step = 0; step < 10; step++) {
        r = rlock_wait(client, 100); /* a step of the work, which would hand on the fence */
        if (rlock_state(lock) == RLOCK_LOST) {
            fprintf(stderr, "lost: %s\n", rlock_reason(lock));
            return 1;
        }
    }
    r = rlock_unlock(lock, 1000);
    fprintf(stderr, "done: %s\n", rlock_strerror(r));
    rlock_close(client);
    return 0;
}

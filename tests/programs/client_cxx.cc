// SPDX-License-Identifier: MIT
// SPDX-FileCopyrightText: The rlockd authors
//
// usage: client_cxx KEY
//
// librlock from C++: every struct, enum and kind of function of rlock.h is used once, with references, lambdas
// and destructors around them. Says "locked FENCE" and "done" as the clients in proto/examples/ do.

#include <rlock.h>

#include <cstdio>
#include <memory>

namespace
{

struct close_client {
    void operator()(struct rlock_client *client) const
    {
        rlock_close(client);
    }
};
using client_ptr = std::unique_ptr<struct rlock_client, close_client>;

client_ptr connect()
{
    struct rlock_client *client = nullptr;
    int r = rlock_open(nullptr, 1000, &client);
    if (r != 0) {
        std::fprintf(stderr, "no daemon at %s: %s\n", rlock_socket_path(), rlock_strerror(r));
    }
    return client_ptr(client);
}

bool hold(struct rlock_client *client, const char *key)
{
    struct rlock_options options = {};
    struct rlock *lock = nullptr;
    struct rlock_list *list = nullptr;
    int n_events = 0;

    options.wait_ms = RLOCK_UNBOUNDED;
    options.note = "C++";
    rlock_on_event(
        client,
        [](struct rlock_client *, const struct rlock_event *event, void *ctx) {
            *static_cast<int *>(ctx) += event->type == RLOCK_EVENT_GRANTED ? 1 : 0;
        },
        &n_events);
    if (rlock_lock_start(client, key, &options, &lock) != 0) {
        return false;
    }
    while (rlock_state(lock) == RLOCK_WAITING) {
        if (rlock_wait(client, RLOCK_FOREVER) != 0) {
            return false;
        }
    }
    const struct rlock_grant grant = rlock_grant(lock);
    if (n_events != 1 || !rlock_valid(lock) || grant.fence != rlock_fence(lock) ||
        rlock_client(lock) != client) {
        return false;
    }
    std::printf("locked %lld\n", static_cast<long long>(grant.fence));
    if (rlock_inspect(client, key, 1000, &list) != 0 || list->locks[0].fence != grant.fence) {
        return false;
    }
    rlock_list_free(list);
    const int r = rlock_unlock(lock, 1000);
    rlock_free(lock);
    return r == 0 && rlock_error(client)->code == 0;
}

} // namespace

int main(int argc, char **argv)
{
    const client_ptr client = connect();
    if (argc < 2 || !client || !hold(client.get(), argv[1])) {
        return 1;
    }
    std::puts("done");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What comes back: results, errors, notices, and keys as inspect and list show them. The hot half of
 * message.h: nothing here allocates or goes through a format string.
 */

#include "proto/message.h"

#include <assert.h>
#include <string.h>

/* ---- results ---- */

/* {"key":KEY,"fence":FENCE   as results and notices begin */
static void message_print_grant(struct print *print, const struct message_lock *lock)
{
    print_literal(print, "{\"key\":");
    print_string(print, lock->key, lock->key_len);
    print_literal(print, ",\"fence\":");
    print_int(print, lock->fence);
}

/* ,"name":number   for a name that needs no escaping */
#define message_print_number(print, name, number) \
    do {                                          \
        print_literal((print), ",\"" name "\":"); \
        print_int((print), (number));             \
    } while (0)

void message_print_granted(struct print *print, struct rpc_id id, const struct message_lock *lock)
{
    rpc_print_result_open(print, id);
    message_print_grant(print, lock);
    message_print_number(print, "ttl_ms", lock->ttl_ms);
    message_print_number(print, "valid_until_ms", lock->valid_until_ms);
    message_print_number(print, "waited_ms", lock->waited_ms);
    print_literal(print, "}");
    rpc_print_close(print);
}

void message_print_unlocked(struct print *print, struct rpc_id id, const struct message_lock *lock)
{
    rpc_print_result_open(print, id);
    message_print_grant(print, lock);
    message_print_number(print, "held_ms", lock->held_ms);
    print_literal(print, "}");
    rpc_print_close(print);
}

void message_print_refreshed(struct print *print, struct rpc_id id, const struct message_lock *lock)
{
    rpc_print_result_open(print, id);
    message_print_grant(print, lock);
    message_print_number(print, "ttl_ms", lock->ttl_ms);
    message_print_number(print, "valid_until_ms", lock->valid_until_ms);
    print_literal(print, "}");
    rpc_print_close(print);
}

void message_print_cancelled(struct print *print, struct rpc_id id, bool cancelled)
{
    rpc_print_result_open(print, id);
    print_text(print, cancelled ? "{\"cancelled\":true}" : "{\"cancelled\":false}");
    rpc_print_close(print);
}

void message_print_pong(struct print *print, struct rpc_id id)
{
    rpc_print_result_open(print, id);
    print_literal(print, "\"pong\"");
    rpc_print_close(print);
}

void message_print_forced(struct print *print, struct rpc_id id, const struct message_lock *lock)
{
    rpc_print_result_open(print, id);
    print_literal(print, "{\"key\":");
    print_string(print, lock->key, lock->key_len);
    print_literal(print, "}");
    rpc_print_close(print);
}

/* ---- errors ---- */

struct message_sentence {
    const char *reason, *message;
};

static struct message_sentence message_error_sentence(enum wire_error error)
{
    switch (error) {
#define WIRE_ERROR(name, code, reason, retryable, message) \
    case WIRE_##name:                                      \
        return (struct message_sentence){reason, message};
#include "proto/errors.def"
#undef WIRE_ERROR
    }
    assert(false && "an error of errors.def");
    return (struct message_sentence){"", ""};
}

const char *message_error_reason(enum wire_error error)
{
    return message_error_sentence(error).reason;
}

void message_print_error(struct print *print, struct rpc_id id, const struct message_error *error)
{
    struct message_sentence sentence = message_error_sentence(error->error);
    const char *message = error->message != NULL ? error->message : sentence.message;

    rpc_print_error_open(print, id);
    print_literal(print, "{\"code\":");
    print_int(print, error->error);
    print_literal(print, ",\"message\":");
    print_string(print, message, strlen(message));
    print_literal(print, ",\"data\":{\"reason\":\"");
    print_text(print, sentence.reason);
    print_literal(print, "\"");
    if (error->key != NULL) {
        print_literal(print, ",\"key\":");
        print_string(print, error->key, error->key_len);
    }
    if (error->why != NULL) {
        print_literal(print, ",\"why\":");
        print_string(print, error->why, strlen(error->why));
    }
    if (error->limit != NULL) {
        print_literal(print, ",\"limit\":");
        print_string(print, error->limit, strlen(error->limit));
    }
    if (error->last_error != NULL) {
        print_literal(print, ",\"last_error\":\"");
        print_foreign(print, error->last_error, strlen(error->last_error));
        print_literal(print, "\"");
    }
    if (error->remaining_ms >= 0) {
        message_print_number(print, "remaining_ms", error->remaining_ms);
    }
    print_literal(print, "}}");
    rpc_print_close(print);
}

/* ---- notices ---- */

void message_print_at_risk(struct print *print, const struct message_lock *lock, int64_t lost_at_ms)
{
    rpc_print_notice_open(print, "at_risk");
    message_print_grant(print, lock);
    message_print_number(print, "lost_at_ms", lost_at_ms);
    print_literal(print, "}");
    rpc_print_close(print);
}

void message_print_safe(struct print *print, const struct message_lock *lock)
{
    rpc_print_notice_open(print, "safe");
    message_print_grant(print, lock);
    message_print_number(print, "valid_until_ms", lock->valid_until_ms);
    print_literal(print, "}");
    rpc_print_close(print);
}

static const char *message_lost_sentence(const char *reason)
{
    static const struct message_sentence sentences[] = {
        {"expired", "the lease could not be renewed in time"},
        {"taken", "somebody else's value is at the key in Redis"},
        {"deleted", "the key is gone from Redis"},
        {"max_hold", "the lock was held for as long as it may be"},
        {"ttl", "the time to live is over, and nothing renews it"},
        {"forced", "an administrator took the lock away"},
        {"shutdown", "the daemon is stopping"},
    };

    for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
        if (strcmp(sentences[i].reason, reason) == 0) {
            return sentences[i].message;
        }
    }
    assert(false && "a reason of the protocol");
    return "";
}

void message_print_lost(struct print *print, const struct message_lock *lock, const char *reason)
{
    rpc_print_notice_open(print, "lost");
    message_print_grant(print, lock);
    print_literal(print, ",\"reason\":\"");
    print_text(print, reason);
    print_literal(print, "\",\"message\":\"");
    print_text(print, message_lost_sentence(reason));
    print_literal(print, "\"}");
    rpc_print_close(print);
}

/* ---- a key, for inspect and list ---- */

static void message_print_holder(struct print *print, const struct message_holder *holder)
{
    print_literal(print, "{");
    if (holder->pid != 0) {
        print_literal(print, "\"pid\":");
        print_int(print, holder->pid);
        print_literal(print, ",");
    }
    print_literal(print, "\"uid\":");
    print_int(print, holder->uid);
    message_print_number(print, "gid", holder->gid);
    if (holder->command != NULL) {
        print_literal(print, ",\"command\":");
        print_string(print, holder->command, strlen(holder->command));
    }
    if (holder->note != NULL && holder->note_len > 0) {
        print_literal(print, ",\"note\":");
        print_string(print, holder->note, holder->note_len);
    }
    if (holder->waited_ms >= 0) {
        message_print_number(print, "waited_ms", holder->waited_ms);
    }
    print_literal(print, "}");
}

static void message_print_lease(struct print *print, const struct message_key *key)
{
    if (key->lease_ttl_ms == 0 && key->lease_remaining_ms < 0) {
        return;
    }
    print_literal(print, ",\"lease\":{");
    if (key->lease_ttl_ms != 0) {
        print_literal(print, "\"ttl_ms\":");
        print_int(print, key->lease_ttl_ms);
    }
    if (key->lease_remaining_ms >= 0) {
        print_text(print, key->lease_ttl_ms != 0 ? ",\"remaining_ms\":" : "\"remaining_ms\":");
        print_int(print, key->lease_remaining_ms);
    }
    print_literal(print, "}");
}

void message_print_key_open(struct print *print, const struct message_key *key)
{
    print_literal(print, "{\"key\":");
    print_string(print, key->key, key->key_len);
    print_literal(print, ",\"state\":\"");
    print_text(print, key->state);
    print_literal(print, "\"");
    if (key->fence != 0) {
        message_print_number(print, "fence", key->fence);
        message_print_number(print, "held_ms", key->held_ms);
    }
    if (key->has_holder) {
        print_literal(print, ",\"holder\":");
        message_print_holder(print, &key->holder);
    }
    message_print_lease(print, key);
}

void message_print_key_waiting(struct print *print, const struct message_holder *holder, bool is_first)
{
    print_text(print, is_first ? ",\"waiting\":[" : ",");
    message_print_holder(print, holder);
}

void message_print_key_close(struct print *print, bool any_waiting, size_t n_more)
{
    print_text(print, any_waiting ? "]" : "");
    if (n_more > 0) {
        message_print_number(print, "waiting_more", (int64_t)n_more);
    }
    print_literal(print, "}");
}

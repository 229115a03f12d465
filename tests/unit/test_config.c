/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The configuration file: each table row is a file's text and what must come of it. Errors are
 * compared word by word, since people read them.
 */

#include "daemon/base/log.h"
#include "daemon/config.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *test_config_suite(void);

static char dir[] = "/tmp/rlockd-config-XXXXXX";
static char conf_path[64], secret_path[64], link_path[64];

static void setup(void)
{
    strcpy(strrchr(dir, '-'), "-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(conf_path, sizeof(conf_path), "%s/rlockd.conf", dir);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", dir);
    snprintf(link_path, sizeof(link_path), "%s/link", dir);
}

static void teardown(void)
{
    unlink(conf_path);
    unlink(secret_path);
    unlink(link_path);
    rmdir(dir);
}

static void write_file(const char *path, const char *bytes, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static struct config *load_ok(const char *text)
{
    struct config *config = NULL;
    char error[CONFIG_ERROR_CAP] = "";

    write_file(conf_path, text, strlen(text), 0600);
    int r = config_load(&config, conf_path, error);
    ck_assert_msg(r == 0, "refused: %s\n%s", text, error);
    return config;
}

/* `sentence` is what follows "FILE:". */
static void load_bad(const char *text, size_t len, mode_t mode, const char *sentence)
{
    struct config *config = NULL;
    char error[CONFIG_ERROR_CAP] = "", expected[CONFIG_ERROR_CAP];

    write_file(conf_path, text, len, mode);
    snprintf(expected, sizeof(expected), "%s:%s", conf_path, sentence);
    ck_assert_msg(config_load(&config, conf_path, error) == CONFIG_E_BAD, "accepted: %s", text);
    ck_assert_str_eq(error, expected);
    ck_assert_ptr_null(config);
}

static void check_defaults(const struct config *config)
{
    ck_assert_str_eq(config->listen_socket, "/run/rlockd/rlockd.sock");
    ck_assert_int_eq(config->listen_mode, 0660);
    ck_assert(config->listen_group == (gid_t)-1);
    ck_assert_int_eq(config->listen_backlog, 4096);
    ck_assert_str_eq(config->redis_url, "redis://127.0.0.1:6379/0");
    ck_assert_str_eq(config->redis_host, "127.0.0.1");
    ck_assert_ptr_null(config->redis_unix_path);
    ck_assert_int_eq(config->redis_port, 6379);
    ck_assert_int_eq(config->redis_db, 0);
    ck_assert_ptr_null(config->redis_username);
    ck_assert_ptr_null(config->redis_password);
    ck_assert_ptr_null(config->redis_password_file);
    ck_assert_int_eq(config->redis_timeout_ms, 1000);
    ck_assert_int_eq(config->redis_connect_timeout_ms, 1000);
    ck_assert_int_eq(config->redis_reconnect_min_ms, 50);
    ck_assert_int_eq(config->redis_reconnect_max_ms, 2000);
    ck_assert(!config->redis_strict);
    ck_assert_int_eq(config->lease_ttl_ms, 30000);
    ck_assert_int_eq(config->lease_renew_fraction, 3);
    ck_assert_int_eq(config->lease_drift_per_10k, 100);
    ck_assert_str_eq(config->lease_prefix, "");
    ck_assert_int_eq(config->lease_linger_ms, 0);
    ck_assert_int_eq(config->lock_wait_ms, 30000);
    ck_assert_int_eq(config->lock_retry_interval_ms, 100);
    ck_assert_int_eq(config->lock_retry_max, CONFIG_UNLIMITED);
    ck_assert_int_eq(config->lock_max_hold_ms, CONFIG_UNLIMITED);
    ck_assert_int_eq(config->limit_connections, 10000);
    ck_assert_int_eq(config->limit_connections_per_user, 2000);
    ck_assert_int_eq(config->limit_held_per_connection, 10000);
    ck_assert_int_eq(config->limit_waiting_per_connection, 10000);
    ck_assert_int_eq(config->limit_locks_per_user, 100000);
    ck_assert_int_eq(config->limit_line, 65536);
    ck_assert_int_eq(config->limit_output_buffer, 4194304);
    ck_assert_int_eq(config->log_level, LOG_LEVEL_INFO);
    ck_assert(!config->log_with_priority);
}

START_TEST(empty_file_is_all_defaults)
{
    static const char *const texts[] = {
        "",
        "\n",
        "\n\n  \n",
        "# a comment",
        "; a comment\r\n",
        "[redis]\n",
        "  [redis] ; a comment\n",
        "\xef\xbb\xbf[redis]\n",
    };
    struct config *config = load_ok(texts[_i]);

    check_defaults(config);
    config_free(config);
}
END_TEST

/* Every option of the shipped file, as it stands there behind its ;, is valid and the default. */
START_TEST(shipped_file_shows_the_defaults)
{
    FILE *shipped = fopen("conf/rlockd.conf", "re");
    char *line = NULL, *text = NULL;
    size_t cap = 0, text_len = 0, n = 0, n_options = 0;

#define OPTION(section, key, kind, field, min, max, normal, help) n_options++;
#include "daemon/options.def"
#undef OPTION
    ck_assert_ptr_nonnull(shipped);
    FILE *out = open_memstream(&text, &text_len);
    while (getline(&line, &cap, shipped) >= 0) {
        n += line[0] == ';';
        fputs(line[0] == ';' ? line + 1 : line, out);
    }
    fclose(out);
    fclose(shipped);
    struct config *config = load_ok(text);
    check_defaults(config);
    ck_assert_uint_eq(n, n_options);
    config_free(config);
    free(line);
    free(text);
}
END_TEST

/* Each numeric option: the text at either bound with the number that it is, and one beyond. */
#define OF(field) offsetof(struct config, field)
static const struct bound {
    const char *section, *key;
    size_t offset;
    const char *low, *high;
    int64_t low_value, high_value;
    const char *below, *above; /* NULL: there is no such text */
    const char *must_be;
} bounds[] = {
    {"listen", "mode", OF(listen_mode), "0", "0777", 0, 0777, "-1", "1000",
     "octal permission bits from 0000 to 0777, such as 0660"},
    {"listen", "backlog", OF(listen_backlog), "1", "65535", 1, 65535, "0", "65536",
     "a whole number from 1 to 65535"},
    {"redis", "timeout", OF(redis_timeout_ms), "1ms", "1m", 1, 60000, "0", "60001ms",
     "a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"redis", "connect_timeout", OF(redis_connect_timeout_ms), "1ms", "60s", 1, 60000, "0ms", "61s",
     "a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"redis", "reconnect_min", OF(redis_reconnect_min_ms), "1ms", "2s", 1, 2000, "0", "61s",
     "a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"redis", "reconnect_max", OF(redis_reconnect_max_ms), "50ms", "1h", 50, 3600000, "0", "3601s",
     "a duration from 1ms to 1h, such as 250ms, 10s, 5m or 1h"},
    {"lease", "ttl", OF(lease_ttl_ms), "100ms", "24h", 100, 86400000, "99ms", "86400001ms",
     "a duration from 100ms to 24h, such as 250ms, 10s, 5m or 1h"},
    {"lease", "renew_fraction", OF(lease_renew_fraction), "2", "20", 2, 20, "1", "21",
     "a whole number from 2 to 20"},
    {"lease", "drift", OF(lease_drift_per_10k), "0.01%", "20%", 1, 2000, "0%", "20.01%",
     "a percentage from 0.01% to 20%, such as 0.5%"},
    {"lease", "linger", OF(lease_linger_ms), "0", "1h", 0, 3600000, NULL, "61m",
     "a duration from 0 to 1h, such as 250ms, 10s, 5m or 1h"},
    {"lock", "wait", OF(lock_wait_ms), "0", "87600h", 0, 315360000000, NULL, "87601h",
     "a duration from 0 to 87600h, such as 250ms, 10s, 5m or 1h, or forever"},
    {"lock", "wait", OF(lock_wait_ms), "0s", "forever", 0, CONFIG_UNLIMITED, NULL, "unlimited",
     "a duration from 0 to 87600h, such as 250ms, 10s, 5m or 1h, or forever"},
    {"lock", "retry_interval", OF(lock_retry_interval_ms), "1ms", "1h", 1, 3600000, "0", "2h",
     "a duration from 1ms to 1h, such as 250ms, 10s, 5m or 1h"},
    {"lock", "retry_max", OF(lock_retry_max), "0", "1000000000", 0, 1000000000, "-1", "1000000001",
     "a whole number from 0 to 1000000000, or unlimited"},
    {"lock", "max_hold", OF(lock_max_hold_ms), "1ms", "unlimited", 1, CONFIG_UNLIMITED, "0", "forever",
     "a duration from 1ms to 87600h, such as 250ms, 10s, 5m or 1h, or unlimited"},
    {"limits", "connections", OF(limit_connections), "1", "1000000", 1, 1000000, "0", "1000001",
     "a whole number from 1 to 1000000"},
    {"limits", "connections_per_user", OF(limit_connections_per_user), "1", "1000000", 1, 1000000, "0",
     "1000001", "a whole number from 1 to 1000000"},
    {"limits", "held_per_connection", OF(limit_held_per_connection), "1", "10000000", 1, 10000000, "0",
     "10000001", "a whole number from 1 to 10000000"},
    {"limits", "waiting_per_connection", OF(limit_waiting_per_connection), "1", "10000000", 1, 10000000, "0",
     "1e3", "a whole number from 1 to 10000000"},
    {"limits", "locks_per_user", OF(limit_locks_per_user), "1", "10000000", 1, 10000000, "0",
     "99999999999999999999", "a whole number from 1 to 10000000"},
    {"limits", "line", OF(limit_line), "1k", "1m", 1024, 1048576, "0", "1025k",
     "a size from 1k to 1m, such as 64k or 1m"},
    {"limits", "output_buffer", OF(limit_output_buffer), "64k", "1g", 65536, 1073741824, "63k", "2g",
     "a size from 64k to 1g, such as 64k or 1m"},
    {"log", "level", OF(log_level), "error", "debug", LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG, "", "INFO",
     "error, warning, notice, info or debug"},
};

static int64_t load_number(const struct bound *bound, const char *value)
{
    char text[256];
    int64_t number;

    snprintf(text, sizeof(text), "[%s]\n%s = %s\n", bound->section, bound->key, value);
    struct config *config = load_ok(text);
    memcpy(&number, (const char *)config + bound->offset, sizeof(number));
    config_free(config);
    return number;
}

START_TEST(bounds_are_kept)
{
    const struct bound *bound = &bounds[_i];
    const char *beyond[] = {bound->below, bound->above};

    ck_assert_int_eq(load_number(bound, bound->low), bound->low_value);
    ck_assert_int_eq(load_number(bound, bound->high), bound->high_value);
    for (size_t i = 0; i < 2; i++) {
        char text[256], sentence[CONFIG_ERROR_CAP];
        if (beyond[i] == NULL) {
            continue;
        }
        snprintf(text, sizeof(text), "\n[%s]\n%s = %s\n", bound->section, bound->key, beyond[i]);
        snprintf(sentence, sizeof(sentence), "3: [%s] %s: must be %s", bound->section, bound->key,
                 bound->must_be);
        load_bad(text, strlen(text), 0600, sentence);
    }
}
END_TEST

#define PREFIX_IS_OURS \
    "2: [lease] prefix: must not begin with \"rlockd:\" nor be a beginning of it: the daemon's own names do"

#define NINES "99999999999999999999999999999999999999999999999999"
static const struct fault {
    const char *text, *sentence;
} faults[] = {
    {"[nix]\n", "1: [nix]: there is no such section"},
    {"\n\n[acl]\nadmin = root\n", "3: [acl]: access rules are not supported by this version"},
    {"[redis]\ntimeuot = 1s\n", "2: [redis] timeuot: there is no such option"},
    {"[redis]\nttl = 1s\n", "2: [redis] ttl: there is no such option"},
    {"[redis]\nTimeout = 1s\n", "2: [redis] Timeout: there is no such option"},
    {"[redis]\na\033[31m\x80 = 1s\n", "2: [redis] a\\x1b[31m\\x80: there is no such option"},
    {"timeout = 1s\n", "1: timeout: must come after a [section]"},
    {"[redis]\ntimeout = 1s\n# more\ntimeout = 2s\n", "4: [redis] timeout: is already given in line 2"},
    {"[redis]\n[lease]\n[redis]\ntimeout=1s\n[redis]\ntimeout=1s\n",
     "6: [redis] timeout: is already given in line 4"},
    {"[redis]\ntimeout\n", "2: must be a [section], a `key = value` or a comment"},
    {"[redis\n", "1: must be a [section], a `key = value` or a comment"},
    {"[redis]\nnonsense\nnix = 1\n", "2: must be a [section], a `key = value` or a comment"},
    {"[redis] timeout = 1s\n", "1: [redis]: must stand alone in its line"},
    {"[redis]\ntimeout =\n",
     "2: [redis] timeout: must be a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"[redis]\ntimeout = 1\n",
     "2: [redis] timeout: must be a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"[redis]\ntimeout = 1s # one\n",
     "2: [redis] timeout: must be a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h"},
    {"[redis]\nstrict = true\n", "2: [redis] strict: must be yes or no"},
    {"[redis]\nstrict = Yes\n", "2: [redis] strict: must be yes or no"},
    {"[log]\ntarget = syslog\n", "2: [log] target: must be stderr or journal"},
    {"[listen]\nsocket =\n", "2: [listen] socket: must be 1 to 107 bytes, without control characters"},
    {"[listen]\nsocket = "
     "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
     "789012345678\n",
     "2: [listen] socket: must be 1 to 107 bytes, without control characters"},
    {"[lease]\nprefix = a\tb\n", "2: [lease] prefix: must be 0 to 128 bytes, without control characters"},
    {"[lease]\nprefix = r\n", PREFIX_IS_OURS},
    {"[lease]\nprefix = rl\n", PREFIX_IS_OURS},
    {"[lease]\nprefix = rlockd\n", PREFIX_IS_OURS},
    {"[lease]\nprefix = rlockd:\n", PREFIX_IS_OURS},
    {"[lease]\nprefix = rlockd:locks:\n", PREFIX_IS_OURS},
    {"[listen]\ngroup = no-such-group\n", "2: [listen] group: must be the name of a group of this host"},
    {"[redis]\nurl = http://localhost\n",
     "2: [redis] url: must be redis://[user[:password]@]host[:port][/db] or unix:///path[?db=N]"},
    {"[redis]\nreconnect_min = 3s\n", "2: [redis] reconnect_min: must be at most reconnect_max, which is 2s"},
    {"[redis]\n\nreconnect_max = 40ms\n",
     "3: [redis] reconnect_min: must be at most reconnect_max, which is 40ms"},
    {"[redis]\nusername = alice\n", "2: [redis] username: must come with a password (password_file)"},
    {"[redis]\nurl = redis://alice@host\n", "2: [redis] username: must come with a password (password_file)"},
    {"[redis]\npassword_file = /nonexistent/secret\n",
     "2: [redis] password_file: must name a file that exists"},
    {"[redis]\npassword_file = /tmp\n", "2: [redis] password_file: must name a regular file"},
    {"[redis]\ntimeout = " NINES NINES NINES NINES NINES "\n", "2: is longer than 198 bytes"},
    {"# " NINES NINES NINES NINES NINES "\n[redis]\nnix = 1", "3: [redis] nix: there is no such option"},
};

START_TEST(faults_are_named)
{
    load_bad(faults[_i].text, strlen(faults[_i].text), 0600, faults[_i].sentence);
}
END_TEST

START_TEST(nul_bytes_are_refused)
{
    static const char text[] = "[redis]\ntimeout = 1s\0 = 2\n";

    load_bad(text, sizeof(text) - 1, 0600, "2: holds a NUL byte");
}
END_TEST

START_TEST(a_file_that_is_not_there)
{
    struct config *config = NULL;
    char error[CONFIG_ERROR_CAP];

    ck_assert_int_eq(config_load(&config, "/nonexistent/rlockd.conf", error), CONFIG_E_BAD);
    ck_assert_str_eq(error, "/nonexistent/rlockd.conf: cannot be opened: No such file or directory");
    ck_assert_int_eq(config_load(&config, "/tmp", error), CONFIG_E_BAD);
    ck_assert_str_eq(error, "/tmp: cannot be read: Is a directory");
}
END_TEST

START_TEST(lines_may_be_written_freely)
{
    struct config *config = load_ok("[redis]\r\n"
                                    "   timeout=2s\r\n"
                                    "\tstrict : yes   ; a comment\n"
                                    "url = unix:///run/redis.sock?db=3\n"
                                    "  [lease]\n"
                                    "prefix = locks:  \n"
                                    "[listen]\n"
                                    "group = root\n"
                                    "socket = relative/rlockd.sock");

    ck_assert_int_eq(config->redis_timeout_ms, 2000);
    ck_assert(config->redis_strict);
    ck_assert_str_eq(config->redis_unix_path, "/run/redis.sock");
    ck_assert_int_eq(config->redis_db, 3);
    ck_assert_str_eq(config->lease_prefix, "locks:");
    ck_assert(config->listen_group == 0);
    ck_assert_str_eq(config->listen_socket, "relative/rlockd.sock");
    config_free(config);
}
END_TEST

START_TEST(prefixes_that_build_no_name_of_ours)
{
    static const char *const prefixes[] = {"rlock:", "rlockd.", "Rlockd:", "lockd:", "x:rlockd:", "rr"};
    char text[64];

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        snprintf(text, sizeof(text), "[lease]\nprefix = %s\n", prefixes[i]);
        struct config *config = load_ok(text);
        ck_assert_str_eq(config->lease_prefix, prefixes[i]);
        config_free(config);
    }
}
END_TEST

START_TEST(journal_gets_priorities)
{
    struct config *config = load_ok("[log]\ntarget = journal\n");
    struct stat st;
    char stream[64];

    ck_assert(config->log_with_priority);
    config_free(config);

    /* As systemd sets it for a service whose stderr is the journal. */
    ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    config = load_ok("");
    ck_assert(config->log_with_priority);
    config_free(config);
    /* Inherited from a service, but stderr was redirected since. */
    setenv("JOURNAL_STREAM", "1:1", 1);
    config = load_ok("");
    ck_assert(!config->log_with_priority);
    config_free(config);
    unsetenv("JOURNAL_STREAM");
}
END_TEST

/* ------------------------------------------------------------------------------------- passwords */

static void secret_conf(char ret[128], const char *path)
{
    snprintf(ret, 128, "[redis]\nusername = alice\npassword_file = %s\n", path);
}

START_TEST(password_file_is_read)
{
    char text[128];
    const char *const contents[] = {"s3cret", "s3cret\n"};

    secret_conf(text, secret_path);
    for (size_t i = 0; i < 2; i++) {
        write_file(secret_path, contents[i], strlen(contents[i]), i == 0 ? 0600 : 0440);
        struct config *config = load_ok(text);
        ck_assert_str_eq(config->redis_username, "alice");
        ck_assert_str_eq(config->redis_password, "s3cret");
        config_free(config);
    }
    /* A symlink of our own is as good as the file. */
    ck_assert_int_eq(symlink(secret_path, link_path), 0);
    secret_conf(text, link_path);
    struct config *config = load_ok(text);
    ck_assert_str_eq(config->redis_password, "s3cret");
    config_free(config);
}
END_TEST

START_TEST(password_in_the_url)
{
    static const char text[] = "[redis]\nurl = redis://bob:p%40ss@db.example:7000/2\n";
    struct config *config = load_ok(text);

    ck_assert_str_eq(config->redis_username, "bob");
    ck_assert_str_eq(config->redis_password, "p@ss");
    ck_assert_str_eq(config->redis_host, "db.example");
    ck_assert_int_eq(config->redis_port, 7000);
    ck_assert_int_eq(config->redis_db, 2);
    ck_assert_str_eq(config->redis_url, "redis://db.example:7000/2");
    config_free(config);
    load_bad(text, strlen(text), 0644,
             "2: [redis] url: must not hold a password in a file that others can read (chmod 640)");

    /* The options win over the URL. */
    char both[256];
    write_file(secret_path, "better\n", 7, 0600);
    snprintf(both, sizeof(both), "%susername = eve\npassword_file = %s\n", text, secret_path);
    config = load_ok(both);
    ck_assert_str_eq(config->redis_username, "eve");
    ck_assert_str_eq(config->redis_password, "better");
    config_free(config);
}
END_TEST

/* --------------------------------------------------------------------------------------- garbage */

/* A small generator of our own, so that a failing seed fails everywhere. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Pieces of real files in any order, with a byte changed now and then: accepted or refused with a
 * sentence, and nothing worse (sanitizers and valgrind look on). */
START_TEST(garbage_does_no_harm)
{
    static const char *const pieces[] = {
        "[redis]",
        "[",
        "]",
        "\n",
        "\r\n",
        "=",
        ":",
        ";",
        "#",
        " ",
        "\t",
        "url",
        "timeout",
        "1s",
        "redis://",
        "u:p@",
        "unix:///",
        "[lease]",
        "prefix",
        "\xef\xbb\xbf",
        "%",
        "99999999999",
        "[acl]",
        "password_file",
        "/dev/zero",
        "drift = 1%\n",
        "[lock]\nwait = forever\n",
        NINES,
        "\x80",
        "\"",
    };
    enum { N_PIECES = sizeof(pieces) / sizeof(pieces[0]) };
    uint32_t state = (uint32_t)_i;

    for (int round = 0; round < 50; round++) {
        char text[2048], error[CONFIG_ERROR_CAP] = "";
        size_t len = 0;
        struct config *config = NULL;
        for (uint32_t n = next_random(&state) % 30; n > 0; n--) {
            const char *piece = pieces[next_random(&state) % N_PIECES];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        if (len > 0 && next_random(&state) % 4 == 0) {
            text[next_random(&state) % len] = (char)next_random(&state);
        }
        write_file(conf_path, text, len, 0600);
        if (config_load(&config, conf_path, error) == 0) {
            config_free(config);
        } else {
            ck_assert_int_eq(strncmp(error, conf_path, strlen(conf_path)), 0);
        }
    }
}
END_TEST

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

Suite *test_config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *file = tcase_create("file");
    TCase *password = tcase_create("password");

    tcase_add_checked_fixture(file, setup, teardown);
    tcase_add_loop_test(file, empty_file_is_all_defaults, 0, 8);
    tcase_add_test(file, shipped_file_shows_the_defaults);
    tcase_add_loop_test(file, bounds_are_kept, 0, ROWS(bounds));
    tcase_add_loop_test(file, faults_are_named, 0, ROWS(faults));
    tcase_add_test(file, nul_bytes_are_refused);
    tcase_add_test(file, a_file_that_is_not_there);
    tcase_add_test(file, lines_may_be_written_freely);
    tcase_add_test(file, prefixes_that_build_no_name_of_ours);
    tcase_add_test(file, journal_gets_priorities);
    tcase_add_loop_test(file, garbage_does_no_harm, 0, 20);
    suite_add_tcase(suite, file);

    tcase_add_checked_fixture(password, setup, teardown);
    tcase_add_test(password, password_file_is_read);
    tcase_add_test(password, password_in_the_url);
    suite_add_tcase(suite, password);
    return suite;
}

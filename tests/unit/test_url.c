/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/* URLs of Redis: what each part becomes, and all that is refused. */

#include "daemon/url.h"

#include <check.h>

Suite *test_url_suite(void);

static const struct url_row {
    const char *text;
    const char *unix_path, *host;
    int port;
    int64_t db;
    const char *username, *password, *shown;
} urls[] = {
    {"redis://h", NULL, "h", 6379, 0, NULL, NULL, "redis://h"},
    {"redis://h/", NULL, "h", 6379, 0, NULL, NULL, "redis://h/"},
    {"redis://h:1/15", NULL, "h", 1, 15, NULL, NULL, "redis://h:1/15"},
    {"redis://10.0.0.1:65535", NULL, "10.0.0.1", 65535, 0, NULL, NULL, "redis://10.0.0.1:65535"},
    {"redis://[::1]", NULL, "::1", 6379, 0, NULL, NULL, "redis://[::1]"},
    {"redis://[fe80::2]:7/3", NULL, "fe80::2", 7, 3, NULL, NULL, "redis://[fe80::2]:7/3"},
    {"redis://u@h", NULL, "h", 6379, 0, "u", NULL, "redis://h"},
    {"redis://:p@h", NULL, "h", 6379, 0, NULL, "p", "redis://h"},
    {"redis://u:p:q@h", NULL, "h", 6379, 0, "u", "p:q", "redis://h"},
    {"redis://u:p@q@h", NULL, "h", 6379, 0, "u", "p@q", "redis://h"},
    {"redis://u:%2f%25@h", NULL, "h", 6379, 0, "u", "/%", "redis://h"},
    {"redis://@h", NULL, "h", 6379, 0, NULL, NULL, "redis://h"},
    {"unix:///a/b.sock", "/a/b.sock", NULL, 0, 0, NULL, NULL, "unix:///a/b.sock"},
    {"unix:///a%20b?db=9", "/a b", NULL, 0, 9, NULL, NULL, "unix:///a%20b?db=9"},
    {"unix://u:p@/a", "/a", NULL, 0, 0, "u", "p", "unix:///a"},
};

static void same_text(const char *got, const char *wanted)
{
    if (wanted == NULL) {
        ck_assert_ptr_null(got);
    } else {
        ck_assert_str_eq(got, wanted);
    }
}

START_TEST(urls_are_taken_apart)
{
    const struct url_row *row = &urls[_i];
    struct url url;

    ck_assert_msg(url_parse(row->text, &url) == 0, "refused: %s", row->text);
    same_text(url.unix_path, row->unix_path);
    same_text(url.host, row->host);
    ck_assert_int_eq(url.port, row->port);
    ck_assert_int_eq(url.db, row->db);
    same_text(url.username, row->username);
    same_text(url.password, row->password);
    same_text(url.shown, row->shown);
    url_deinit(&url);
}
END_TEST

START_TEST(bad_urls_are_refused)
{
    static const char *const texts[] = {
        "",
        "redis",
        "redis:",
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://u:p@",
        "rediss://h",
        "REDIS://h",
        "redis://h:",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:99999999999",
        "redis://h:1a",
        "redis://h:-1",
        "redis://h/a",
        "redis://h/-1",
        "redis://h/1000001",
        "redis://h/1/2",
        "redis://h?db=1",
        "redis://h/0#x",
        "redis://[::1",
        "redis://::1",
        "redis://[]",
        "redis://[::1]x",
        "redis://[h]",
        "redis://a b",
        "redis://h%20",
        "redis://u%@h",
        "redis://u%4@h",
        "redis://u%zz@h",
        "redis://u:%00@h",
        "unix://",
        "unix:///",
        "unix://a/b",
        "unix:///a?",
        "unix:///a?db=",
        "unix:///a?db=x",
        "unix:///a?x=1",
        "unix:///a?db=1&x=2",
        "unix:///a%",
        "h:6379",
        "unix:///"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct url url;
        ck_assert_msg(url_parse(texts[i], &url) == URL_E_BAD, "accepted: %s", texts[i]);
    }
}
END_TEST

Suite *test_url_suite(void)
{
    Suite *suite = suite_create("url");
    TCase *tcase = tcase_create("parse");

    tcase_add_loop_test(tcase, urls_are_taken_apart, 0, sizeof(urls) / sizeof(urls[0]));
    tcase_add_test(tcase, bad_urls_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

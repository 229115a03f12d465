/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/* Password files: which are read, and which are not fit to be. */

#include "daemon/secret.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *test_secret_suite(void);

static char dir[32], path[64], link_path[64];

static void setup(void)
{
    strcpy(dir, "/tmp/rlockd-secret-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/secret", dir);
    snprintf(link_path, sizeof(link_path), "%s/link", dir);
}

static void teardown(void)
{
    unlink(path);
    unlink(link_path);
    rmdir(dir);
}

static void write_secret(const char *bytes, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void read_ok(const char *name, const char *expected)
{
    char *secret = NULL;
    const char *fault = "none";

    ck_assert_msg(secret_read(name, &secret, &fault) == 0, "refused: %s", fault);
    ck_assert_str_eq(secret, expected);
    secret_free(secret);
}

static void read_bad(const char *name, const char *expected)
{
    char *secret = NULL;
    const char *fault = NULL;

    ck_assert_int_eq(secret_read(name, &secret, &fault), SECRET_E_UNFIT);
    ck_assert_str_eq(fault, expected);
    ck_assert_ptr_null(secret);
}

START_TEST(one_newline_is_not_part_of_it)
{
    write_secret("s3cret", 6, 0600);
    read_ok(path, "s3cret");
    write_secret("s3cret\n", 7, 0440);
    read_ok(path, "s3cret");
    write_secret(" s3cret \n\n", 10, 0640);
    read_ok(path, " s3cret \n");
}
END_TEST

START_TEST(others_must_not_read_or_write_it)
{
    static const mode_t modes[] = {0604, 0602, 0601, 0620, 0644, 0666};

    write_secret("s3cret", 6, modes[_i]);
    read_bad(path, "must name a file that others cannot read and only its owner can write (chmod 640)");
}
END_TEST

START_TEST(symlinks)
{
    write_secret("s3cret", 6, 0600);
    ck_assert_int_eq(symlink(path, link_path), 0);
    read_ok(link_path, "s3cret");
    if (geteuid() != 0) {
        return; /* only root can make one of somebody else */
    }
    ck_assert_int_eq(lchown(link_path, 65534, 65534), 0);
    read_bad(link_path, "must not be a symlink of another user");
}
END_TEST

START_TEST(a_file_of_somebody_else)
{
    if (geteuid() != 0) {
        return;
    }
    write_secret("s3cret", 6, 0600);
    ck_assert_int_eq(chown(path, 65534, 65534), 0);
    read_bad(path, "must name a file of root's or of the daemon's own user");
}
END_TEST

START_TEST(no_regular_file)
{
    read_bad(path, "must name a file that exists");
    read_bad(dir, "must name a regular file");
    read_bad("/dev/zero", "must name a regular file");
    ck_assert_int_eq(mkfifo(link_path, 0600), 0);
    read_bad(link_path, "must name a regular file"); /* and nobody waits for a writer */
}
END_TEST

START_TEST(the_content_must_be_a_password)
{
    static const char sentence[] = "must name a file with a password of 1 to 1024 bytes";
    char many[SECRET_MAX + 3];

    write_secret("", 0, 0600);
    read_bad(path, sentence);
    write_secret("\n", 1, 0600);
    read_bad(path, sentence);
    write_secret("a\0b", 3, 0600);
    read_bad(path, sentence);
    memset(many, 'x', sizeof(many));
    write_secret(many, SECRET_MAX + 1, 0600);
    read_bad(path, sentence);
    write_secret(many, SECRET_MAX + 3, 0600);
    read_bad(path, sentence);
    many[SECRET_MAX] = '\n';
    write_secret(many, SECRET_MAX + 1, 0600);
    many[SECRET_MAX] = '\0';
    read_ok(path, many);
}
END_TEST

Suite *test_secret_suite(void)
{
    Suite *suite = suite_create("secret");
    TCase *tcase = tcase_create("read");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, one_newline_is_not_part_of_it);
    tcase_add_loop_test(tcase, others_must_not_read_or_write_it, 0, 6);
    tcase_add_test(tcase, symlinks);
    tcase_add_test(tcase, a_file_of_somebody_else);
    tcase_add_test(tcase, no_regular_file);
    tcase_add_test(tcase, the_content_must_be_a_password);
    suite_add_tcase(suite, tcase);
    return suite;
}

/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A configuration file of any bytes: it is taken, or refused with a sentence.
 */

#include "daemon/config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int fd = -1;
    static char path[64];
    struct config *config;
    char error[CONFIG_ERROR_CAP] = "";
    if (fd < 0) {
        fd = memfd_create("rlockd.conf", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, len, 0) != (ssize_t)len) {
        return 0;
    }
    if (config_load(&config, path, error) != 0) {
        assert(error[0] != '\0' && strlen(error) < sizeof(error));
        return 0;
    }
    assert(config->lease_ttl_ms >= 100 && config->limit_line >= 1024 && config->lease_renew_fraction >= 2);
    config_free(config);
    return 0;
}

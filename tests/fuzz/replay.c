/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Runs a fuzzer's function once on each file that is named, without a fuzzing engine: what was found
 * once stays looked at, with any compiler. Prints how many there were.
 */

#include "daemon/base/alloc.h"

#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int main(int argc, char **argv)
{
    enum { INPUT_MAX = 1 << 20 };
    uint8_t *room = alloc_bytes(INPUT_MAX);
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        size_t len = fread(room, 1, INPUT_MAX, file);
        fclose(file);
        uint8_t *input = (uint8_t *)alloc_copy((const char *)room, len); /* just as long as it is */
        LLVMFuzzerTestOneInput(input, len);
        free(input);
    }
    free(room);
    printf("%d\n", argc - 1);
    return 0;
}

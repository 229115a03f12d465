/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What a test and a process whose calls are to fail have in common: a page of a file that both map. See
 * tests/programs/preload_fault.c, which makes them fail.
 */

#include <stdatomic.h>

#define FAULT_PAGE_VARIABLE "RLOCK_TEST_FAULT" /* names the file */

enum fault_kind { FAULT_NONE, FAULT_MEMORY, FAULT_CALL };

/* Which of the errors that a call may have: the usual one, or that a signal came, where it may say so. */
enum fault_error { FAULT_ERROR, FAULT_INTERRUPTED };

struct fault_page {
    _Atomic int kind;  /* enum fault_kind: what is counted, and fails; set before the process starts */
    _Atomic int error; /* enum fault_error */
    _Atomic int at;    /* the number of the one that fails, from 1 */
    _Atomic int times; /* and so many more after it */
    char only[32];     /* calls of this name alone are counted; "": all */
    _Atomic int n;     /* so many there have been */
    _Atomic int n_failed;
    char name[32]; /* of the one that failed */
};

/* SPDX-License-Identifier: MIT */
/* Figures in words, for every text that the ha command prints. */
#ifndef HA_TEXT_H
#define HA_TEXT_H

#include "ha.h"

#define SIZE_TEXT	24

/* "12.3 MiB", "8.0 KiB", "96 B": three digits and a bit; returns @buf. */
const char *size_text(char buf[SIZE_TEXT], uint64_t bytes);
/* A size of an object, exactly: "96", "1152", "32K". */
const char *bytes_text(char buf[SIZE_TEXT], uint64_t bytes);

#endif /* HA_TEXT_H */

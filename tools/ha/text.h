/* SPDX-License-Identifier: MIT */
/* Figures in words, and others' text, for all that the ha command prints. */
#ifndef HA_TEXT_H
#define HA_TEXT_H

#include "ha.h"

#define SIZE_TEXT	24

/*
 * Bytes of the UTF-8 character at @s; 0 where there is none, or one that does things to
 * a terminal or to a file's form: the end, a control, what is no UTF-8.
 */
size_t char_length(const char *s);
/* Each byte of such becomes '?'; returns @text. */
char *clean_text(char *text);
/* @name itself, or, where it has such, a copy that stays. */
const char *clean_name(const char *name);

/* "12.3 MiB", "8.0 KiB", "96 B": three digits and a bit; returns @buf. */
const char *size_text(char buf[SIZE_TEXT], uint64_t bytes);
/* A size of an object, exactly: "96", "1152", "32K". */
const char *bytes_text(char buf[SIZE_TEXT], uint64_t bytes);

#endif /* HA_TEXT_H */

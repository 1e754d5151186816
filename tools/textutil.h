/*
 * Small things done to text: strict numbers, numbers for people, and foreign names made harmless.
 */
#ifndef TOOLS_TEXTUTIL_H
#define TOOLS_TEXTUTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* malloc and realloc that end the program with status 5 when there is no memory. */
void *text_alloc(size_t size);
void *text_realloc(void *p, size_t size);
char *text_copy(const char *s);
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Decimal digits and nothing else, no sign, no space, no overflow. */
bool text_number(const char *s, uint64_t *ret);

/*
 * A copy to free in which control characters, backslashes, direction marks and bytes that are not
 * UTF-8 stand as \n, \t, \\, \xNN or \u{N}: what is printed can neither move the cursor nor lie
 * about its order.
 */
char *text_escape(const char *s, size_t len);

/* The length of the valid UTF-8 character at `s`, 0 when there is none.  *ret gets its number. */
size_t text_utf8(const char *s, size_t len, uint32_t *ret);

/* Controls, and what makes text show in another order than it has. */
bool text_is_harmful(uint32_t c);

/* How many columns of a terminal an escaped text takes, near enough: its characters. */
size_t text_columns(const char *s);

#define TEXT_NUMBER_LEN 32

/* "1,234,567". */
void text_group(uint64_t n, char out[TEXT_NUMBER_LEN]);
/* "3.14 MB", powers of 1000. */
void text_bytes(uint64_t n, char out[TEXT_NUMBER_LEN]);
/* "0.51%"; "<0.01%" for what is not nothing; "0%" of nothing. */
void text_percent(uint64_t part, uint64_t whole, char out[TEXT_NUMBER_LEN]);
/* 2 * n digits and a NUL. */
void text_hex(const uint8_t *bytes, size_t n, char *out);
/* The number of a key as minisign prints it: 16 hexadecimal digits, least significant byte last. */
void text_key_number(const uint8_t number[8], char out[17]);

#endif

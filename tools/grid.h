/*
 * Sums by row and column, made small: what a heat map and its table show when a model has more
 * layers or experts than a page has room for.
 */
#ifndef TOOLS_GRID_H
#define TOOLS_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRID_NONE INT32_MAX /* the key of what lies in no row; stays a row of its own, the last */

typedef struct grid_entry {
    int32_t row, column; /* keys, at least 0 */
    uint64_t part, whole;
} grid_entry;

typedef struct grid_limits {
    size_t rows, columns, cells; /* at least 2, 1, 2 */
} grid_limits;

/* The name, to free, of keys first .. last in one row or column. */
typedef char *(*grid_name_fn)(int32_t first, int32_t last);

typedef struct grid {
    size_t n_rows, n_columns;
    char **rows, **columns;
    uint64_t *part, *whole;           /* row after row */
    size_t n_row_keys, n_column_keys; /* how many there were; more than rows: joined evenly */
} grid;

/* Keys in ascending order; neighbours share a row or column where there are too many. */
void grid_make(grid *ret, const grid_entry *entries, size_t n, grid_limits limits,
               grid_name_fn row_name, grid_name_fn column_name);
void grid_release(grid *g);

/* Names of rows by layer: "3", "4-7", "none". */
char *grid_layer_name(int32_t first, int32_t last);
/* Names of columns by fmp_role. */
char *grid_role_name(int32_t first, int32_t last);

#endif

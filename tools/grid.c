/*
 * Sums by row and column.  Must not know of patches, but for the names of roles.
 */
#include "grid.h"

#include <stdlib.h>

#include "fmpatch.h"
#include "textutil.h"

/* The keys that occur, ascending, and how they share places. */
typedef struct axis {
    int32_t *keys;
    size_t n_keys;
    size_t n_joined; /* of the keys before GRID_NONE */
    size_t n_places; /* for these */
    bool has_none;
} axis;

static int compare_keys(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static axis axis_of(const grid_entry *entries, size_t n, bool rows)
{
    axis a = {.keys = text_alloc(n * sizeof *a.keys)};

    for (size_t i = 0; i < n; i++)
        a.keys[i] = rows ? entries[i].row : entries[i].column;
    qsort(a.keys, n, sizeof *a.keys, compare_keys);
    for (size_t i = 0; i < n; i++) {
        if (!a.n_keys || a.keys[a.n_keys - 1] != a.keys[i])
            a.keys[a.n_keys++] = a.keys[i];
    }
    a.has_none = a.n_keys && a.keys[a.n_keys - 1] == GRID_NONE;
    a.n_joined = a.n_keys - a.has_none;
    return a;
}

static void limit_places(axis *a, size_t most)
{
    const size_t room = most > a->has_none ? most - a->has_none : 1;

    a->n_places = a->n_joined < room ? a->n_joined : room;
}

static size_t axis_len(const axis *a)
{
    return a->n_places + a->has_none;
}

static size_t place_of(const axis *a, int32_t key)
{
    const int32_t *found;

    if (key == GRID_NONE)
        return a->n_places;
    found = bsearch(&key, a->keys, a->n_joined, sizeof key, compare_keys);
    return (size_t)(found - a->keys) * a->n_places / a->n_joined;
}

static char **names_of(const axis *a, grid_name_fn name)
{
    char **names = text_alloc(axis_len(a) * sizeof *names);
    size_t i = 0;

    while (i < a->n_keys) {
        const size_t place = place_of(a, a->keys[i]);
        const size_t first = i;

        while (i < a->n_keys && place_of(a, a->keys[i]) == place)
            i++;
        names[place] = name(a->keys[first], a->keys[i - 1]);
    }
    return names;
}

void grid_make(grid *ret, const grid_entry *entries, size_t n, grid_limits limits,
               grid_name_fn row_name, grid_name_fn column_name)
{
    axis rows = axis_of(entries, n, true), columns = axis_of(entries, n, false);
    size_t most = limits.rows;

    limit_places(&columns, limits.columns);
    if (axis_len(&columns) && limits.cells / axis_len(&columns) < most)
        most = limits.cells / axis_len(&columns);
    limit_places(&rows, most);
    *ret = (grid){
        .n_rows = axis_len(&rows),
        .n_columns = axis_len(&columns),
        .rows = names_of(&rows, row_name),
        .columns = names_of(&columns, column_name),
        .n_row_keys = rows.n_keys,
        .n_column_keys = columns.n_keys,
    };
    ret->part = text_alloc(ret->n_rows * ret->n_columns * sizeof *ret->part);
    ret->whole = text_alloc(ret->n_rows * ret->n_columns * sizeof *ret->whole);
    for (size_t i = 0; i < n; i++) {
        const size_t at = place_of(&rows, entries[i].row) * ret->n_columns +
                          place_of(&columns, entries[i].column);

        ret->part[at] += entries[i].part;
        ret->whole[at] += entries[i].whole;
    }
    free(rows.keys);
    free(columns.keys);
}

void grid_release(grid *g)
{
    for (size_t i = 0; i < g->n_rows; i++)
        free(g->rows[i]);
    for (size_t i = 0; i < g->n_columns; i++)
        free(g->columns[i]);
    free(g->rows);
    free(g->columns);
    free(g->part);
    free(g->whole);
    *g = (grid){0};
}

char *grid_layer_name(int32_t first, int32_t last)
{
    if (first == GRID_NONE)
        return text_copy("none");
    return first == last ? text_format("%d", first) : text_format("%d\xe2\x80\x93%d", first, last);
}

char *grid_role_name(int32_t first, int32_t last)
{
    (void)last; /* there are fewer roles than columns: they never share one */
    return text_copy(fmp_role_name((fmp_role)first));
}

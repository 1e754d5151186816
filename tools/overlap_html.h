/*
 * The page that `fmpatch overlap --html` writes: what patches of one base share, and where they
 * pull in opposite directions.
 */
#ifndef TOOLS_OVERLAP_HTML_H
#define TOOLS_OVERLAP_HTML_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"
#include "html.h"

typedef struct overlap_pair {
    uint64_t shared;    /* elements that both change */
    uint64_t either;    /* that at least one changes */
    uint64_t conflicts; /* of the shared ones: one goes up, the other down */
} overlap_pair;

/* Elements that exactly these patches change. */
typedef struct overlap_combination {
    uint64_t members; /* bit i: patch i */
    uint64_t n;
} overlap_combination;

/* Of one tensor, or of several in one place. */
typedef struct overlap_place {
    int32_t layer; /* -1: in none */
    fmp_role role;
    uint64_t any;       /* elements that at least one patch changes */
    uint64_t shared;    /* that at least two change */
    uint64_t conflicts; /* that at least two move in opposite directions */
} overlap_place;

/* All of it is borrowed. */
typedef struct overlap_view {
    size_t n;                                /* patches, 1 .. 64 */
    const char *const *names;                /* of the patches */
    const uint64_t *changed;                 /* elements that each changes */
    const overlap_pair *pairs;               /* of patches i and j: [i * n + j], either way */
    const overlap_combination *combinations; /* every one that occurs */
    size_t n_combinations;
    const overlap_place *places;
    size_t n_places;
} overlap_view;

void overlap_html_write(html_page *page, const overlap_view *v);
/* The page of what fmp_overlap_new() counted of patches of these names. */
void overlap_html_of(html_page *page, const fmp_overlap *o, const char *const *names, size_t n);

/* The patches in an order in which those that share much stand together: average linkage on the
 * Jaccard index (Sokal & Michener 1958).  `order` has room for n numbers. */
void overlap_order(const overlap_view *v, size_t *order);

#endif

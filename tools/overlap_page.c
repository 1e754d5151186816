/*
 * From the counts of the library to what the page of overlap --html shows.
 */
#include <stdlib.h>

#include "overlap_html.h"
#include "textutil.h"

static overlap_pair *pairs_of(const fmp_overlap *o, size_t n)
{
    overlap_pair *pairs = text_alloc(n * n * sizeof *pairs);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const fmp_overlap_pair p = fmp_overlap_of(o, i, j);

            pairs[i * n + j] = (overlap_pair){.shared = p.n_shared,
                                              .either = p.n_first + p.n_second - p.n_shared,
                                              .conflicts = p.n_conflicts};
        }
    }
    return pairs;
}

static overlap_combination *combinations_of(const fmp_overlap *o, size_t *ret_n)
{
    const uint32_t n = fmp_overlap_set_count(o);
    overlap_combination *list = text_alloc(n * sizeof *list);

    for (uint32_t i = 0; i < n; i++)
        list[i].n = fmp_overlap_set_at(o, i, &list[i].members);
    *ret_n = n;
    return list;
}

static overlap_place *places_of(const fmp_overlap *o, size_t *ret_n)
{
    const uint32_t n = fmp_overlap_tensor_count(o);
    overlap_place *places = text_alloc(n * sizeof *places);

    for (uint32_t i = 0; i < n; i++) {
        const fmp_overlap_tensor t = fmp_overlap_tensor_at(o, i);
        const fmp_tensor_place place = fmp_tensor_role(t.name);

        places[i] = (overlap_place){.layer = place.layer,
                                    .role = place.role,
                                    .any = t.n_changed,
                                    .shared = t.n_shared,
                                    .conflicts = t.n_conflicts};
    }
    *ret_n = n;
    return places;
}

void overlap_html_of(html_page *page, const fmp_overlap *o, const char *const *names, size_t n)
{
    uint64_t *changed = text_alloc(n * sizeof *changed);
    overlap_view v = {.n = n, .names = names, .changed = changed};
    overlap_pair *pairs = pairs_of(o, n);
    overlap_combination *combinations = combinations_of(o, &v.n_combinations);
    overlap_place *places = places_of(o, &v.n_places);

    for (size_t i = 0; i < n; i++)
        changed[i] = fmp_overlap_of(o, i, i).n_first;
    v.pairs = pairs;
    v.combinations = combinations;
    v.places = places;
    overlap_html_write(page, &v);
    free(changed);
    free(pairs);
    free(combinations);
    free(places);
}

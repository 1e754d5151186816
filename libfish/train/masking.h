/*
 * Which elements of a model's parameters are trained: a mask bound to the model.  Knows the names
 * and shapes on both sides; nothing of gradients or values.
 */
#ifndef FISH_MASKING_H
#define FISH_MASKING_H

#include "model/model.h"
#include "score/scores.h"

/* The selected elements of one parameter; their values lie at [at, at + n) of k-sized vectors. */
typedef struct fish_chosen {
    size_t n;
    size_t at;
    uint32_t *idx; /* [n] ascending; NULL: all elements, or none when n is 0 */
} fish_chosen;

typedef struct fish_selection {
    uint32_t n_params;
    fish_chosen *of; /* [n_params], in the model's order */
    size_t n;        /* selected in all */
} fish_selection;

/*
 * Binds a mask.  mask NULL: every parameter that is no buffer, whole.  A head that the mask does
 * not list is selected whole; one that it lists in part, a buffer, a tensor that the model lacks
 * and an index that is not ascending or out of range are FMP_EUSAGE; another shape is FMP_EBASE;
 * each names the tensor.
 */
FMP_NODISCARD fmp_status fish_selection_bind(const fish_model *m, const fish_mask *mask,
                                             fish_selection *ret, fmp_error *err);

/* An element is in the result when it is in a or in b; shapes are those of one model. */
FMP_NODISCARD fmp_status fish_selection_union(const fish_model *m, const fish_selection *a,
                                              const fish_selection *b, fish_selection *ret,
                                              fmp_error *err);
FMP_NODISCARD fmp_status fish_selection_copy(const fish_selection *s, fish_selection *ret,
                                             fmp_error *err);
void fish_selection_release(fish_selection *s);

/* The element's number in its parameter. */
static inline size_t fish_chosen_at(const fish_chosen *c, size_t j)
{
    return c->idx ? c->idx[j] : j;
}

/* The first j with fish_chosen_at(c, j) >= element; c->n when there is none. */
size_t fish_chosen_find(const fish_chosen *c, size_t element);

/* Sets at and n from the parameters' counts. */
void fish_selection_number(fish_selection *s);

/* BLAKE2b-256 of names and indices, and of names, shapes, roles and weights of a model. */
#define FISH_DIGEST_HEX 65
FMP_NODISCARD fmp_status fish_selection_digest(const fish_selection *s, const fish_model *m,
                                               char ret[FISH_DIGEST_HEX], fmp_error *err);
FMP_NODISCARD fmp_status fish_model_digest(const fish_model *m, char ret[FISH_DIGEST_HEX],
                                           fmp_error *err);
/* Of what a run sees of data, which columns, limits and scaling change though the files stay:
 * labels and lengths, and the first examples as the model takes them. */
FMP_NODISCARD fmp_status fish_view_digest(const fish_data *d, char ret[FISH_DIGEST_HEX],
                                          fmp_error *err);

/* The selection as a mask of the model's tensors.  To be freed with fish_selection_mask_free(). */
FMP_NODISCARD fmp_status fish_selection_mask(const fish_selection *s, const fish_model *m,
                                             fish_mask **ret, fmp_error *err);
void fish_selection_mask_free(fish_mask *mask); /* takes NULL */

#endif

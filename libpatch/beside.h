/*
 * Patches of one base side by side: their tensors by name and, window by window, which elements of
 * a tensor each of them changes, and how.  No base is read.  Not installed.
 */
#ifndef FMP_BESIDE_H
#define FMP_BESIDE_H

#include "base/pool.h"
#include "decode.h"

#define FMP_BESIDE_MAX 64u

/* Changes that are listed at a time, of all patches together: 13 bytes each.  A window with more is
 * read in slices. */
#define FMP_BESIDE_ENTRIES (1u << 21)

/* How an element changes. */
enum {
    FMP_WAY_STEP = 0, /* by a residual: odd goes down, even up */
    FMP_WAY_BITS = 1, /* to new bits */
    FMP_WAY_OTHER = 2 /* in a way that cannot be told without the base */
};

/* What one patch does to the tensor at hand.  Numbers of classes are those of the first patch in
 * the class. */
typedef struct fmp_lane {
    bool in_target;   /* the tensor is there; else the rest is 0 */
    bool changes;     /* some elements, maybe; else there is nothing more but `ref` */
    bool elsewhere;   /* all of them: its bytes are made of others than those it has in the base */
    bool in_bytes;    /* dtype U8: a file of unknown structure, maybe, whose blocks tell the unit */
    uint32_t object;  /* whose blocks make it */
    uint64_t n_bytes; /* of the target tensor */
    uint64_t mapped;  /* so many begin as bytes of the base, the rest are new */
    uint8_t dtype_bits, bits;
    bool sign_magnitude;
    uint8_t ref;    /* class of equal bytes to begin with */
    uint8_t type;   /* class of equal dtype and unit */
    uint8_t result; /* class of equal targets */
} fmp_lane;

/* What a slice of a window holds.  Changes of patch i are [first[i], first[i + 1]) of at (elements,
 * ascending, counted from the window's first), value (zig-zag residual, or new bits), way. */
typedef struct fmp_beside_slot {
    fmp_decoder *dec; /* one for each patch; they share scratch and zstd */
    fmp_scratch *scratch;
    fmp_z *z;
    uint64_t *values; /* of a block */
    uint8_t *bytes;   /* of a block of new content */
    uint32_t *at;
    uint64_t *value;
    uint8_t *way;
    uint32_t n, cap;
    uint32_t first[FMP_BESIDE_MAX + 1];
    fmp_lane lane[FMP_BESIDE_MAX];
    uint32_t tensor; /* entered, + 1; 0: none */
} fmp_beside_slot;

/* A run of windows, within one tensor or over several. */
typedef struct fmp_beside_item {
    uint32_t tensor;
    uint64_t window;
} fmp_beside_item;

typedef struct fmp_beside {
    const fmp_patch *const *p;
    uint32_t n;
    bool by_name;   /* bases may differ: tensors of one name count as one */
    uint32_t *rows; /* of each tensor: its row in each patch, or FMP_NONE */
    uint32_t n_tensors;
    fmp_beside_item *item; /* where each begins; one more at the end */
    uint64_t n_items;
    uint64_t stored; /* payload bytes of all patches */
    fmp_beside_slot slot[FMP_POOL_MAX_THREADS];
    unsigned n_slots;
} fmp_beside;

/* FMP_EBASE, naming a tensor, unless all have one base (with shapes_only: equal names, dtypes and
 * shapes). */
fmp_status fmp_beside_check(const fmp_patch *const *patches, uint32_t n, bool shapes_only,
                            fmp_error *err);
/*
 * Lists tensors by name: those whose elements some patch may change or, with `all`, every one of
 * base or target.  1 to FMP_BESIDE_MAX patches.  Released by the caller, whatever comes of it.
 */
fmp_status fmp_beside_init(fmp_beside *b, const fmp_patch *const *patches, uint32_t n,
                           bool shapes_only, bool all, unsigned n_threads, fmp_error *err);
void fmp_beside_release(fmp_beside *b);
/* Gives back what reading took; tensors can still be asked for. */
void fmp_beside_rest(fmp_beside *b);
/* About how many of `stored` bytes are read when so many items are done. */
uint64_t fmp_beside_done(const fmp_beside *b, uint64_t n_items);

/* Called for each slice of each window of an item, in order. */
typedef fmp_status (*fmp_slice_fn)(void *ctx, uint32_t tensor, fmp_beside_slot *s, fmp_error *err);
fmp_status fmp_beside_run(fmp_beside *b, uint64_t item, unsigned slot, fmp_slice_fn fn, void *ctx,
                          fmp_error *err);
/* The lanes of a tensor into s->lane. */
fmp_status fmp_beside_enter(const fmp_beside *b, fmp_beside_slot *s, uint32_t tensor,
                            fmp_error *err);
/* Elements of a window: as many as a leaf holds of the narrowest dtype that a patch gives the
 * tensor.  *ret_n: how many windows there are, by the dtypes. */
uint64_t fmp_beside_window(const fmp_lane *lane, uint32_t n, uint64_t *ret_n);
/* Name and shape of a tensor: of the first patch whose target (else base) has it. */
fmp_tensor_info fmp_beside_tensor(const fmp_beside *b, uint32_t tensor);

/* Whether changes x of patch i and y of patch k, of one element, come to the same. */
static inline bool fmp_beside_alike(const fmp_beside_slot *s, uint32_t i, uint32_t x, uint32_t k,
                                    uint32_t y)
{
    const fmp_lane *a = &s->lane[i];
    const fmp_lane *b = &s->lane[k];
    const uint8_t way = s->way[x];

    if (way == s->way[y] && way != FMP_WAY_OTHER && a->type == b->type &&
        (way == FMP_WAY_BITS || a->ref == b->ref))
        return s->value[x] == s->value[y];
    return a->result == b->result;
}

/* Whether one goes up and the other down. */
static inline bool fmp_beside_against(const fmp_beside_slot *s, uint32_t i, uint32_t x, uint32_t k,
                                      uint32_t y)
{
    return (s->way[x] | s->way[y]) == FMP_WAY_STEP && (s->value[x] ^ s->value[y]) & 1 &&
           s->lane[i].type == s->lane[k].type && s->lane[i].ref == s->lane[k].ref;
}

#endif

/*
 * The loops over all units of a block: which differ; and for modelled blocks keys, how many units
 * each class has, and between places and ranks within a class.  Plain C is the truth; faster ones
 * are chosen by what the CPU can do.  Private to the library.
 */
#ifndef FMP_CODEC_KERNELS_H
#define FMP_CODEC_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/classes.h"

/* Where units that differ go: their indices, and their bits in base and target, packed. */
typedef struct fmp_changed {
    uint32_t *idx;
    uint8_t *before, *after;
} fmp_changed;

typedef struct fmp_kernels {
    /* The units that differ, ascending; returns their number.  base NULL: zeros. */
    uint32_t (*changed)(const uint8_t *base, const uint8_t *target, uint32_t n_units, unsigned bits,
                        const fmp_changed *to);
    /* fmp_key() of n units. */
    void (*keys)(const uint8_t *data, uint32_t n, unsigned bits, bool sign_magnitude,
                 unsigned shift, uint8_t *keys);
    /* How many of n keys each class has. */
    void (*count)(const fmp_classes *c, const uint8_t *keys, uint32_t n, uint32_t *all);
    /*
     * The units that have these ranks in their classes: those of class k are rank[start[k]] ..
     * rank[start[k + 1] - 1], ascending, each below the number of its units; their places go to
     * `place`, one for one.
     */
    void (*find)(const fmp_classes *c, const uint8_t *keys, uint32_t n, const uint32_t *start,
                 const uint32_t *rank, uint32_t *place);
    /*
     * The other way.  idx: n_changed places, ascending.  Sorted by class, from start[k] on for
     * class k, they go to `place`, and their ranks to `rank`.
     */
    void (*sort)(const fmp_classes *c, const uint8_t *keys, uint32_t n, const uint32_t *idx,
                 uint32_t n_changed, const uint32_t *start, uint32_t *place, uint32_t *rank);
} fmp_kernels;

/* What a CPU can do beyond the least that the build asks of it. */
enum {
    FMP_CPU_AVX2 = 1,   /* and BMI2 */
    FMP_CPU_AVX512 = 2, /* F and BW, and BMI2 */
    FMP_CPU_NEON = 4
};

unsigned fmp_cpu_features(void);
/* The fastest for these; 0 is plain C. */
const fmp_kernels *fmp_kernels_for(unsigned features);

#endif

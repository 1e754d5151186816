/*
 * A coding block: the change of at most 1 MiB of one tensor, as a head and its shares of a frame's
 * streams.  FORMAT.md, "Block heads".  Pure: no I/O, no names, no zstd.
 */
#ifndef FMP_CODEC_BLOCK_H
#define FMP_CODEC_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "codec/classes.h"
#include "fmpatch.h"

#define FMP_BLOCK_MAX   (1u << 20) /* bytes of tensor that one block may cover */
#define FMP_BLOCK_UNITS (1u << 19) /* and units */

/* What the values of a block are. */
enum {
    FMP_BLOCK_RESIDUAL = 0,    /* of the changed units: residual - 1 as value tokens */
    FMP_BLOCK_SET = 1,         /* of the changed units: new bits, in byte planes */
    FMP_BLOCK_WHOLE = 2,       /* new content of all bytes, as it is */
    FMP_BLOCK_WHOLE_PLANES = 3 /* new content of all units, in byte planes */
};

/* How the changed units are found. */
enum {
    FMP_POS_NONE = 0,   /* whole blocks */
    FMP_POS_MODEL = 0,  /* residual blocks: modelled, values too; the base is needed */
    FMP_POS_BITMAP = 1, /* a bit for each unit */
    FMP_POS_GAPS = 2,   /* gap - 1 as gap tokens */
    FMP_POS_SPLIT = 3,  /* (gap - 1) >> shift as gap tokens, low bits beside */
    FMP_POS_RICE = 4,   /* (gap - 1) in Rice code, for a few changes */
    FMP_POS_RUNS = 5,   /* gap - 1 and length - 1 of runs as gap tokens */
    FMP_POS_FULL = 6    /* every unit has a value; residuals are not lowered by 1 */
};

enum {
    FMP_STREAM_HEADS = 0,
    FMP_STREAM_BITS = 1,
    FMP_STREAM_BITMAP = 2,
    FMP_STREAM_BYTES = 3,
    FMP_STREAM_GAPS = 4,    /* 4 classes */
    FMP_STREAM_VALUES = 8,  /* 4 classes */
    FMP_STREAM_PLANES = 12, /* 8 planes, low byte first */
    FMP_STREAM_COUNTS = 20, /* of units and bits, a few numbers a block */
    FMP_STREAM_CODED = 21,  /* decisions of modelled blocks */
    FMP_STREAM_COUNT = 22
};

/* How a modelled block is modelled. */
typedef struct fmp_model_head {
    bool by_row;  /* positions by row and column; else by class */
    uint8_t kept; /* bits of a size, below its leading one, behind which it is said whether the rest
                     is 0; 0: never */
    uint8_t key_shift;
    uint16_t scale; /* where sizes are sought first */
    uint32_t row_len;
    fmp_classes classes;
} fmp_model_head;

typedef struct fmp_block {
    uint64_t object; /* which tensor or file, in the numbering of the frame's domain */
    uint64_t off;    /* first byte of the object that the block covers */
    uint32_t n_bytes;
    uint32_t n_set;     /* units listed by the positions (the changed ones, or the others) */
    uint32_t n_runs;    /* FMP_POS_RUNS */
    uint32_t bits_len;  /* bytes of the bit stream */
    uint32_t coded_len; /* bytes of decisions, FMP_POS_MODEL */
    uint8_t kind;
    uint8_t pos;
    bool complement; /* positions list the unchanged units */
    bool sign_apart; /* value tokens hold sizes only, signs are raw bits before them */
    uint8_t shift;
    uint8_t gap_class, value_class;
    uint8_t bits; /* unit: 8, 16, 32, 64 */
    bool sign_magnitude;
    fmp_model_head model;          /* FMP_POS_MODEL */
    uint32_t at[FMP_STREAM_COUNT]; /* where its shares begin; filled by fmp_blocks_parse() */
} fmp_block;

/* Values are numbers of a palette: said by the class that signs apart never use. */
static inline bool fmp_block_has_palette(const fmp_block *b)
{
    return b->sign_apart && b->value_class == 3;
}

/* Coded given the base. */
static inline bool fmp_block_is_modelled(const fmp_block *b)
{
    return b->kind == FMP_BLOCK_RESIDUAL && b->pos == FMP_POS_MODEL;
}

/* Units of the block. */
static inline uint32_t fmp_block_units(const fmp_block *b)
{
    return b->n_bytes / (b->bits / 8u);
}

/* How many units have a value: the changed ones or, with FMP_POS_FULL and whole blocks, all. */
uint32_t fmp_block_values(const fmp_block *b);
/* Bytes that the block takes of stream `s`. */
size_t fmp_block_share(const fmp_block *b, unsigned s);

/* ---- encoding ---------------------------------------------------------------------------------
 */

/* One block, coded but not compressed. */
typedef struct fmp_piece {
    fmp_block head;
    fmp_buf stream[FMP_STREAM_COUNT]; /* all but heads and counts */
    uint64_t cost;                    /* estimated size, bits */
    uint32_t n_changed;               /* units */
    bool close; /* modelled, but what is not might be smaller: so say the estimates */
    uint64_t sum_before, sum_after; /* XXH3-64 of the touched units; not for whole blocks */
} fmp_piece;

typedef struct fmp_scratch fmp_scratch; /* some 11 MiB of work space; one a thread */

fmp_scratch *fmp_scratch_new(void);
void fmp_scratch_free(fmp_scratch *s);

/* How it is found out whether positions go by class or by row. */
enum {
    FMP_MODEL_FAST = 0,     /* by class */
    FMP_MODEL_ESTIMATE = 1, /* what seems to be smaller; both are coded where that is close */
    FMP_MODEL_TRY = 2       /* both are coded, the smaller is taken */
};

typedef struct fmp_block_params {
    uint8_t bits;
    bool sign_magnitude;
    bool set_values; /* new bits in place of residuals */
    bool by_one;     /* the caller knows that every changed unit is larger by 1 (masks) */
    bool in_order;  /* units of the target are sums of residuals, in order; the base is all zeros */
    bool modelled;  /* may be coded given the base */
    uint8_t effort; /* then: how the model is chosen */
    uint8_t
        key_shift; /* then: where the key of a unit begins (an exponent); FMP_KEY_NONE: nowhere */
    uint32_t row_len;   /* units of a row of the tensor; 0: not known */
    uint32_t row_phase; /* units of the block's first row that lie before it */
} fmp_block_params;

/*
 * Codes n_bytes (1 .. FMP_BLOCK_MAX, a multiple of the unit) of `target` against `base` into
 * `piece`, whose buffers are cleared and used again.  Returns FMP_OK with piece->head.n_bytes 0
 * when the two are equal.  fmp_piece_whole() stores the target as it is (planes: split by byte).
 */
fmp_status fmp_piece_encode(fmp_scratch *s, const fmp_block_params *p, const void *base,
                            const void *target, uint32_t n_bytes, fmp_piece *piece, fmp_error *err);
fmp_status fmp_piece_whole(const void *target, uint32_t n_bytes, unsigned bits, bool planes,
                           fmp_piece *piece, fmp_error *err);
void fmp_piece_release(fmp_piece *piece);

/* Appends the head to the streams `heads` and `counts`, given the block before it in the frame
 * (NULL for the first). */
void fmp_block_put_head(const fmp_block *b, const fmp_block *before, fmp_buf *heads,
                        fmp_buf *counts);

/* ---- decoding ---------------------------------------------------------------------------------
 */

/* The decoded streams of a frame. */
typedef struct fmp_streams {
    const uint8_t *data[FMP_STREAM_COUNT];
    size_t len[FMP_STREAM_COUNT];
} fmp_streams;

/*
 * Parses n_blocks heads, checks every field and that the shares fill the streams exactly.  `blocks`
 * has room for n_blocks.  FMP_ECORRUPT, naming the block.
 */
fmp_status fmp_blocks_parse(const fmp_streams *s, uint32_t n_blocks, fmp_block *blocks,
                            fmp_error *err);

enum { FMP_FORWARD = 0, FMP_BACKWARD = 1 };

/*
 * Changes `data`, which holds the block's n_bytes of the base (or, backward, of the target). `sums`
 * (may be NULL) receives the XXH3-64 of the touched units before and after, as bytes; whole blocks
 * have none and leave it alone.  FMP_EPOLICY when a block that is not made of residuals is to be
 * undone.
 */
fmp_status fmp_block_apply(const fmp_block *b, const fmp_streams *s, uint8_t *data, int direction,
                           fmp_scratch *scratch, uint64_t sums[2], fmp_error *err);

/*
 * The units that have a value, ascending, into scratch->idx, and those values, zero-extended, into
 * `values` (room for fmp_block_values()): residuals in zig-zag form (0 possible with FMP_POS_FULL)
 * or new bits.  Blocks of more than FMP_BLOCK_UNITS units (whole bytes) are FMP_EUSAGE.
 */
fmp_status fmp_block_list(const fmp_block *b, const fmp_streams *s, fmp_scratch *scratch,
                          uint64_t *values, fmp_error *err);

#endif

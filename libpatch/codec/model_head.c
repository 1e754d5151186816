/*
 * Which model suits a block.  See model_head.h.
 */
#include "codec/model_head.h"

#include <string.h>

#include "codec/bits.h"
#include "codec/residual.h"
#include "codec/scan.h"

/* Where one of so few units changes, rows and columns are hardly worth a look. */
#define DENSE 2u

/* So many values tell what all are like, about. */
#define ENOUGH 4096u

enum { BY_ROW = 1, KEPT_SHIFT = 1, KEPT_MAX = 15, HEAD_BITS = 0x1f };

/* ---- choosing ---------------------------------------------------------------------------------
 */

/*
 * What positions would take by row and column, in bits: how many changes each row has, and where in
 * it they lie by how often their columns changed before.
 */
static uint64_t row_cost(fmp_scratch *s, uint32_t row_len, uint32_t phase, uint32_t n_units,
                         uint32_t n)
{
    const uint32_t n_rows = (n_units + phase - 1) / row_len + 1;
    uint16_t *seen = s->density;
    uint32_t levels[FMP_ROW_LEVELS] = {0};
    uint32_t j = 0;
    uint64_t cost = 0; /* in 1/256 bits */

    memset(seen, 0, row_len * sizeof *seen);
    for (uint32_t row = 0; row < n_rows; row++) {
        const uint64_t first = (uint64_t)row * row_len; /* counted from before the block */
        uint32_t k = 0;

        for (; j < n && s->idx[j] + phase < first + row_len; j++, k++) {
            uint16_t *q = &seen[s->idx[j] + phase - first];

            cost += fmp_log2_quick(4 * j + row_len) - fmp_log2_quick(4u * *q + 1);
            *q = (uint16_t)(*q + (*q < UINT16_MAX));
        }
        cost += k ? 256 : 0; /* the number is not told but its level */
        cost -= k > 2 ? (uint64_t)k * (fmp_log2_quick(k) - 369) : 0; /* log2 k!: in any order */
        levels[fmp_row_level(k)]++;
    }
    cost += n_rows * (uint64_t)fmp_log2_quick(n_rows);
    for (unsigned i = 0; i < FMP_ROW_LEVELS; i++)
        cost -= levels[i] ? levels[i] * (uint64_t)fmp_log2_quick(levels[i]) : 0;
    return cost >> 8;
}

/* Where most sizes lie, or 0: from the smallest up. */
static uint16_t choose_scale(const uint32_t *scales, uint32_t n_small, uint32_t n)
{
    uint32_t sum = 0;
    uint16_t at = 0;

    if (n_small > n / 2)
        return 0;
    while (at + 1u < FMP_SCALES && 2 * (sum += scales[at]) < n)
        at++;
    return at;
}

/* How many bits below the leading one three of four long sizes keep; 0 where they are not rounded,
 * or hardly.  kept[i]: how many keep i; n_below: bits of all of them together. */
static uint8_t choose_kept(const uint32_t *kept, uint32_t n_long, uint64_t n_below)
{
    uint32_t sum = 0;
    unsigned i = 0;

    while (i <= KEPT_MAX && (sum += kept[i]) <= n_long - n_long / 4)
        i++;
    i = i ? i : 1;
    return i <= KEPT_MAX && (i + 3) * (uint64_t)n_long < n_below ? (uint8_t)i : 0;
}

static void look_at_values(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                           const uint8_t *target, uint32_t n, fmp_model_head *h)
{
    const unsigned width = p->bits / 8u;
    const uint32_t every = n / ENOUGH + 1;
    uint32_t scales[FMP_SCALES] = {0};
    uint32_t kept[64] = {0};
    uint32_t n_small = 0;
    uint32_t n_long = 0;
    uint64_t n_below = 0;

    for (uint32_t j = 0; j < n; j += every) {
        const uint64_t a = fmp_load_le(base + (size_t)s->idx[j] * width, width);
        const uint64_t b = fmp_load_le(target + (size_t)s->idx[j] * width, width);
        const uint64_t z = fmp_residual(a, b, p->bits, p->sign_magnitude);
        const uint64_t size = (z >> 1) + (z & 1);
        const unsigned length = fmp_bit_length(size);

        scales[length + s->keys[s->idx[j]]]++;
        n_small += size < 4;
        if (length > 6) {
            n_long++;
            n_below += length - 1;
            kept[length - 1 - (unsigned)__builtin_ctzll(size)]++;
        }
    }
    h->scale = choose_scale(scales, n_small, (n + every - 1) / every);
    h->kept = choose_kept(kept, n_long, n_below);
}

fmp_model_choice fmp_model_choose(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                                  const uint8_t *target, uint32_t n_units, uint32_t n_changed,
                                  fmp_model_head *by_class, fmp_model_head *by_row)
{
    uint32_t changed[256] = {0};
    uint64_t class_cost, cost;

    *by_class = (fmp_model_head){.key_shift = p->key_shift};
    s->kernels->keys(base, n_units, p->bits, p->sign_magnitude, p->key_shift, s->keys);
    fmp_keys_count(s->keys, n_units, s->n_of_key);
    for (uint32_t j = 0; j < n_changed; j++)
        changed[s->keys[s->idx[j]]]++;
    look_at_values(s, p, base, target, n_changed, by_class);
    *by_row = *by_class;
    by_row->by_row = true;
    by_row->row_len = p->row_len;
    class_cost = fmp_classes_choose(&by_class->classes, s->n_of_key, changed);
    if (p->effort == FMP_MODEL_FAST || p->row_len < 2 || p->row_len > n_units)
        return FMP_BY_CLASS;
    if (p->effort == FMP_MODEL_TRY)
        return FMP_BY_EITHER;
    if (n_changed > n_units / DENSE)
        return FMP_BY_CLASS;
    cost = row_cost(s, p->row_len, p->row_phase, n_units, n_changed);
    return cost > class_cost - class_cost / 32  ? FMP_BY_CLASS /* as of changes anywhere */
           : cost < class_cost - class_cost / 4 ? FMP_BY_ROW
                                                : FMP_BY_EITHER;
}

/* ---- writing and reading ----------------------------------------------------------------------
 */

/*
 * A class but the first is one byte where it can be: 4 bits for how many keys the class before has
 * (1 .. 15; 0: a byte says), 4 bits for the step: 0 .. 13: that of the class before - 5 + this; 14:
 * a byte says; 15: still.
 */
enum { STEP_BACK = 5, STEP_TOLD = 14, STEP_STILL = 15 };

static unsigned step_code(const fmp_classes *c, unsigned i)
{
    const int change = (int)c->step[i] - (int)c->step[i - 1] + STEP_BACK;

    if (c->step[i] == FMP_CLASS_STILL)
        return STEP_STILL;
    return c->step[i - 1] != FMP_CLASS_STILL && change >= 0 && change < STEP_TOLD ? (unsigned)change
                                                                                  : STEP_TOLD;
}

static void put_classes(const fmp_classes *c, fmp_buf *out)
{
    fmp_buf_put_le(out, c->n, 1);
    fmp_buf_put_le(out, c->step[0], 1);
    for (unsigned i = 1; i < c->n; i++) {
        const unsigned keys = (unsigned)c->first[i] - c->first[i - 1];
        const unsigned code = step_code(c, i);

        fmp_buf_put_le(out, (keys < 16 ? keys : 0) | code << 4, 1);
        if (keys >= 16)
            fmp_buf_put_le(out, keys, 1);
        if (code == STEP_TOLD)
            fmp_buf_put_le(out, c->step[i], 1);
    }
}

void fmp_model_head_put(const fmp_model_head *h, fmp_buf *out)
{
    fmp_buf_put_le(out, (h->by_row ? BY_ROW : 0u) | (unsigned)h->kept << KEPT_SHIFT, 1);
    fmp_buf_put_le(out, h->key_shift, 1);
    fmp_buf_put_varint(out, h->scale);
    if (h->by_row)
        fmp_buf_put_varint(out, h->row_len);
    else
        put_classes(&h->classes, out);
}

static bool parse_class(fmp_cursor *in, fmp_classes *c, unsigned i)
{
    const unsigned byte = (unsigned)fmp_cur_le(in, 1);
    const unsigned code = byte >> 4;
    unsigned keys = byte & 15;

    if (!keys) {
        keys = (unsigned)fmp_cur_le(in, 1);
        if (keys < 16)
            return false;
    }
    if (c->first[i - 1] + keys > 255)
        return false;
    c->first[i] = (uint8_t)(c->first[i - 1] + keys);
    c->step[i] = code == STEP_TOLD    ? (uint8_t)fmp_cur_le(in, 1)
                 : code == STEP_STILL ? FMP_CLASS_STILL
                                      : (uint8_t)(c->step[i - 1] + code - STEP_BACK);
    return (c->step[i] <= FMP_CLASS_STEP || c->step[i] == FMP_CLASS_STILL) &&
           step_code(c, i) == code;
}

static bool parse_classes(fmp_cursor *in, fmp_classes *c)
{
    c->n = (uint8_t)fmp_cur_le(in, 1);
    c->step[0] = (uint8_t)fmp_cur_le(in, 1);
    if (c->n == 0 || c->n > FMP_CLASSES_MAX ||
        (c->step[0] > FMP_CLASS_STEP && c->step[0] != FMP_CLASS_STILL))
        return false;
    for (unsigned i = 1; i < c->n; i++) {
        if (!parse_class(in, c, i))
            return false;
    }
    return true;
}

bool fmp_model_head_parse(fmp_cursor *in, uint32_t n_units, fmp_model_head *ret)
{
    const unsigned flags = (unsigned)fmp_cur_le(in, 1);
    uint64_t scale, row_len;

    *ret = (fmp_model_head){.by_row = flags & BY_ROW,
                            .kept = (uint8_t)(flags >> KEPT_SHIFT & KEPT_MAX),
                            .key_shift = (uint8_t)fmp_cur_le(in, 1)};
    scale = fmp_cur_varint(in);
    if (flags > HEAD_BITS || ret->key_shift > FMP_KEY_NONE || scale >= FMP_SCALES)
        return false;
    ret->scale = (uint16_t)scale;
    if (!ret->by_row)
        return parse_classes(in, &ret->classes) && !in->bad;
    row_len = fmp_cur_varint(in);
    ret->row_len = (uint32_t)row_len;
    return row_len >= 2 && row_len <= n_units && !in->bad;
}

bool fmp_model_head_equal(const fmp_model_head *a, const fmp_model_head *b)
{
    const fmp_classes *x = &a->classes;
    const fmp_classes *y = &b->classes;

    return a->by_row == b->by_row && a->kept == b->kept && a->key_shift == b->key_shift &&
           a->scale == b->scale && a->row_len == b->row_len && x->n == y->n &&
           memcmp(x->first, y->first, x->n) == 0 && memcmp(x->step, y->step, x->n) == 0;
}

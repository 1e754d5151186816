/*
 * Positions of changed units.  See positions.h.
 */
#include "codec/positions.h"

#include <string.h>

#include "base/status.h"
#include "codec/scan.h"

#define FEW 48 /* below this many, a table of code lengths costs more than it saves */

/* What a histogram of n symbols hides: the entropy of a sample is about 0.72 bits a symbol too low
 * (Miller 1955), and the stream has a table of code lengths that many blocks share. */
static uint64_t table_bits(const uint32_t hist[256])
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 256; i++)
        n += hist[i] != 0;
    return 8 + n;
}

/* Estimated bits of gap tokens after `shift`; *ret_mean is the mean of what is tokenised. */
static uint64_t gap_cost(const uint32_t *idx, uint32_t n, unsigned shift, uint32_t *ret_mean)
{
    uint32_t hist[256] = {0};
    uint64_t extra = (uint64_t)n * shift;
    uint64_t sum = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t hi = (idx[i] - at) >> shift;
        const unsigned token = fmp_gap_token(hi);

        hist[token]++;
        extra += fmp_gap_extra(token);
        sum += hi;
        at = idx[i] + 1;
    }
    *ret_mean = n ? (uint32_t)(sum / n) : 0;
    return extra + (n < FEW ? 8ull * n : fmp_entropy_bits(hist) + table_bits(hist));
}

static uint64_t rice_cost(const uint32_t *idx, uint32_t n, unsigned shift)
{
    uint64_t bits = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        bits += ((idx[i] - at) >> shift) + 1 + shift;
        at = idx[i] + 1;
    }
    return bits;
}

static uint32_t count_runs(const uint32_t *idx, uint32_t n)
{
    uint32_t n_runs = n != 0;

    for (uint32_t i = 1; i < n; i++)
        n_runs += idx[i] != idx[i - 1] + 1;
    return n_runs;
}

/* The next run of idx from *i on: returns its length, *ret_gap the units skipped before it. */
static uint32_t next_run(const uint32_t *idx, uint32_t n, uint32_t *i, uint32_t *at,
                         uint32_t *ret_gap)
{
    const uint32_t first = *i;
    uint32_t len = 1;

    while (first + len < n && idx[first + len] == idx[first] + len)
        len++;
    *ret_gap = idx[first] - *at;
    *at = idx[first] + len;
    *i = first + len;
    return len;
}

static uint64_t runs_cost(const uint32_t *idx, uint32_t n, uint32_t n_runs)
{
    uint32_t hist[256] = {0};
    uint64_t extra = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < n;) {
        uint32_t gap;
        const uint32_t len = next_run(idx, n, &i, &at, &gap);
        const unsigned gap_token = fmp_gap_token(gap);
        const unsigned len_token = fmp_gap_token(len - 1);

        hist[gap_token]++;
        hist[len_token]++;
        extra += fmp_gap_extra(gap_token) + fmp_gap_extra(len_token);
    }
    return extra + (2 * n_runs < FEW ? 16ull * n_runs : fmp_entropy_bits(hist) + table_bits(hist));
}

/* Entropy of n coin flips out of n_units, plus what byte-wise Huffman loses. */
static uint64_t bitmap_cost(uint32_t n, uint32_t n_units)
{
    const uint64_t m = n_units - n;
    uint64_t bits = (uint64_t)n_units * fmp_log2_fixed(n_units);

    if (n)
        bits -= (uint64_t)n * fmp_log2_fixed(n);
    if (m)
        bits -= m * fmp_log2_fixed(m);
    bits >>= 8;
    bits += bits / 64 + 64;
    return bits < n_units / 8 ? n_units / 8 : bits; /* a byte costs a bit at least */
}

static uint8_t gap_class(uint32_t mean)
{
    return mean < 8 ? 0 : 1;
}

uint64_t fmp_positions_choose(fmp_block *head, const uint32_t *idx, uint32_t n, uint32_t n_units)
{
    const uint32_t mean_gap = n ? (n_units - n) / n + 1 : 0;
    const unsigned log_gap = fmp_bit_length((uint64_t)mean_gap * 5 / 7);
    const unsigned rice_shift = log_gap ? log_gap - 1 : 0;
    const uint32_t n_runs = count_runs(idx, n);
    uint64_t best = UINT64_MAX;
    uint64_t cost;
    uint32_t mean;

    for (unsigned drop = 3; drop <= 6; drop++) {
        const unsigned shift = log_gap > drop ? log_gap - drop : 0;

        cost = gap_cost(idx, n, shift, &mean);
        if (drop > 3)
            cost += n / 8; /* unless it pays, blocks of one density had better look alike */
        if (cost < best) {
            best = cost;
            head->pos = shift ? FMP_POS_SPLIT : FMP_POS_GAPS;
            head->shift = (uint8_t)shift;
            head->gap_class = shift ? 3 : gap_class(mean);
        }
        if (shift == 0)
            break;
    }
    cost = rice_cost(idx, n, rice_shift) + (n < FEW ? 0 : n / 8);
    if (cost < best) {
        best = cost;
        head->pos = FMP_POS_RICE;
        head->shift = (uint8_t)rice_shift;
    }
    if (n_runs < n / 2 || n_runs == 1) {
        cost = runs_cost(idx, n, n_runs);
        if (cost < best) {
            best = cost;
            head->pos = FMP_POS_RUNS;
            head->shift = 0;
            head->gap_class = 3;
            head->n_runs = n_runs;
        }
    }
    cost = bitmap_cost(n, n_units);
    if (cost < best) {
        best = cost;
        head->pos = FMP_POS_BITMAP;
        head->shift = 0;
    }
    return best;
}

static void put_token(fmp_buf *gaps, fmp_bit_writer *bits, uint32_t v)
{
    const unsigned token = fmp_gap_token(v);
    const unsigned extra = fmp_gap_extra(token);

    gaps->data[gaps->len++] = (uint8_t)token;
    if (extra)
        fmp_bits_put(bits, v & ((1ull << extra) - 1), extra);
}

static void write_gaps(const fmp_block *head, const uint32_t *idx, uint32_t n, fmp_buf *gaps,
                       fmp_bit_writer *bits)
{
    const unsigned shift = head->shift;
    uint32_t at = 0;

    if (!fmp_buf_reserve(gaps, n))
        return;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t gap = idx[i] - at;

        put_token(gaps, bits, gap >> shift);
        if (shift)
            fmp_bits_put(bits, gap & ((1u << shift) - 1), shift);
        at = idx[i] + 1;
    }
}

static void write_rice(unsigned shift, const uint32_t *idx, uint32_t n, fmp_bit_writer *bits)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t gap = idx[i] - at;

        for (uint32_t q = gap >> shift; q; q--)
            fmp_bits_put(bits, 0, 1);
        fmp_bits_put(bits, 1, 1);
        if (shift)
            fmp_bits_put(bits, gap & ((1u << shift) - 1), shift);
        at = idx[i] + 1;
    }
}

static void write_runs(const uint32_t *idx, uint32_t n, uint32_t n_runs, fmp_buf *gaps,
                       fmp_bit_writer *bits)
{
    uint32_t at = 0;

    if (!fmp_buf_reserve(gaps, (size_t)n_runs * 2))
        return;
    for (uint32_t i = 0; i < n;) {
        uint32_t gap;
        const uint32_t len = next_run(idx, n, &i, &at, &gap);

        put_token(gaps, bits, gap);
        put_token(gaps, bits, len - 1);
    }
}

static void write_bitmap(const uint32_t *idx, uint32_t n, uint32_t n_units, fmp_buf *bitmap)
{
    const size_t len = (n_units + 7u) / 8;
    uint8_t *map = fmp_buf_reserve(bitmap, len);

    if (!map)
        return;
    memset(map, 0, len);
    for (uint32_t i = 0; i < n; i++)
        map[idx[i] >> 3] |= (uint8_t)(1u << (idx[i] & 7));
    bitmap->len += len;
}

uint64_t fmp_positions_bits(const fmp_block *head, const uint32_t *idx, uint32_t n)
{
    switch (head->pos) {
    case FMP_POS_RICE:
        return rice_cost(idx, n, head->shift);
    case FMP_POS_GAPS:
    case FMP_POS_SPLIT:
    case FMP_POS_RUNS:
        return 64ull * n; /* 31 for each of at most two tokens, or shift and one */
    default:
        return 0;
    }
}

void fmp_positions_write(const fmp_block *head, const uint32_t *idx, uint32_t n, uint32_t n_units,
                         fmp_buf *bitmap, fmp_buf *gaps, fmp_bit_writer *bits)
{
    switch (head->pos) {
    case FMP_POS_BITMAP:
        write_bitmap(idx, n, n_units, bitmap);
        break;
    case FMP_POS_GAPS:
    case FMP_POS_SPLIT:
        write_gaps(head, idx, n, gaps, bits);
        break;
    case FMP_POS_RICE:
        write_rice(head->shift, idx, n, bits);
        break;
    case FMP_POS_RUNS:
        write_runs(idx, n, head->n_runs, gaps, bits);
        break;
    default:
        break;
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static uint64_t read_token(unsigned token, fmp_bit_reader *bits)
{
    const unsigned extra = fmp_gap_extra(token);

    if (token > FMP_GAP_MAX) {
        bits->bad = true;
        return 0;
    }
    return extra ? (1ull << extra) | fmp_bits_take(bits, extra) : token;
}

static bool read_bitmap(const fmp_block *head, const uint8_t *map, uint32_t *idx)
{
    const uint32_t n_units = fmp_block_units(head);
    uint32_t n = 0;

    for (uint32_t i = 0; i < (n_units + 7) / 8; i++) {
        for (unsigned byte = map[i]; byte; byte &= byte - 1) {
            const uint32_t at = i * 8 + (unsigned)__builtin_ctz(byte);

            if (at >= n_units || n == head->n_set)
                return false;
            idx[n++] = at;
        }
    }
    return n == head->n_set;
}

static bool read_gaps(const fmp_block *head, const uint8_t *tokens, fmp_bit_reader *bits,
                      uint32_t *idx)
{
    const uint32_t n_units = fmp_block_units(head);
    const unsigned shift = head->shift;
    uint64_t at = 0;

    for (uint32_t i = 0; i < head->n_set; i++) {
        uint64_t gap = tokens[i] < FMP_GAP_DIRECT ? tokens[i] : read_token(tokens[i], bits);

        if (gap > n_units) /* before the shift can overflow */
            return false;
        if (shift)
            gap = gap << shift | fmp_bits_take(bits, shift);
        at += gap;
        if (at >= n_units)
            return false;
        idx[i] = (uint32_t)at++;
    }
    return true;
}

static bool read_rice(const fmp_block *head, fmp_bit_reader *bits, uint32_t *idx)
{
    const uint32_t n_units = fmp_block_units(head);
    uint64_t at = 0;

    for (uint32_t i = 0; i < head->n_set; i++) {
        uint64_t gap = 0;

        while (fmp_bits_take(bits, 1) == 0) {
            if (bits->bad || ++gap > n_units)
                return false;
        }
        gap <<= head->shift;
        if (head->shift)
            gap |= fmp_bits_take(bits, head->shift);
        at += gap;
        if (at >= n_units)
            return false;
        idx[i] = (uint32_t)at++;
    }
    return true;
}

static bool read_runs(const fmp_block *head, const uint8_t *tokens, fmp_bit_reader *bits,
                      uint32_t *idx)
{
    const uint32_t n_units = fmp_block_units(head);
    uint64_t at = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < head->n_runs; i++) {
        const uint64_t gap = read_token(tokens[2 * (size_t)i], bits);
        const uint64_t len_1 = read_token(tokens[2 * (size_t)i + 1], bits);

        if (gap > n_units - at || len_1 >= n_units - at - gap || len_1 >= head->n_set - n)
            return false;
        at += gap;
        for (uint64_t k = 0; k <= len_1; k++)
            idx[n++] = (uint32_t)at++;
    }
    return n == head->n_set;
}

fmp_status fmp_positions_read(const fmp_block *head, const fmp_streams *s, fmp_bit_reader *bits,
                              uint32_t *idx, fmp_error *err)
{
    const unsigned g = FMP_STREAM_GAPS + head->gap_class;
    bool ok = false;

    switch (head->pos) {
    case FMP_POS_BITMAP:
        ok = read_bitmap(head, s->data[FMP_STREAM_BITMAP] + head->at[FMP_STREAM_BITMAP], idx);
        break;
    case FMP_POS_GAPS:
    case FMP_POS_SPLIT:
        ok = read_gaps(head, s->data[g] + head->at[g], bits, idx);
        break;
    case FMP_POS_RICE:
        ok = read_rice(head, bits, idx);
        break;
    case FMP_POS_RUNS:
        ok = read_runs(head, s->data[g] + head->at[g], bits, idx);
        break;
    default:
        break;
    }
    if (!ok || bits->bad)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "frame: positions of a block do not fit its %u units",
                        fmp_block_units(head));
    return FMP_OK;
}

/*
 * The ends of range coded streams.  See rangecoder.h.
 */
#include "codec/rangecoder.h"

const uint16_t fmp_context_weight[FMP_CONTEXT_LIMIT + 1] = {
    43690, 26214, 18724, 14563, 11915, 10082, 8738, 7710, 6898, 6241, 5698, 5242, 4854, 4519, 4228,
    3971,  3744,  3542,  3360,  3196,  3048,  2912, 2788, 2674, 2570, 2473, 2383, 2299, 2221, 2148,
    2080,  2016,  1956,  1899,  1846,  1795,  1747, 1702, 1659, 1618, 1579, 1542, 1506, 1472, 1440,
    1409,  1379,  1351,  1323,  1297,  1272,  1248, 1224, 1202, 1180, 1159, 1139, 1120, 1101, 1083,
    1065,  1048,  1032,  1016,  1000,  985,   970,  956,  942,  929,  916,  903,  891,  879,  868,
    856,   845,   834,   824,   814,   804,   794,  784,  775,  766,  757,  748,  740,  732,  724,
    716,   708,   700,   693,   686,   679,   672,  665,  658,  652,  645,  639,  633,  627,  621,
    615,   609,   604,   598,   593,   587,   582,  577,  572,  567,  562,  557,  553,  548,  543,
    539,   534,   530,   526,   522,   518,   514,  510,
};

size_t fmp_rc_finish(fmp_rangecoder *c)
{
    const uint64_t v = fmp_rc_last(c);

    if (v < c->low)
        fmp_rc_carry(c);
    c->low = v;
    fmp_rc_put32(c);
    fmp_rc_put32(c);
    if (c->full)
        return SIZE_MAX;
    while (c->at > 0 && c->out[c->at - 1] == 0)
        c->at--;
    return c->at;
}

/* Values of 2^64 - 1 and more lie above the range from the start, and code may have gone round. */
static bool starts_above(const fmp_rangecoder *c)
{
    size_t i = 0;

    while (i < 8 && i < c->len && c->in[i] == 0xff)
        i++;
    return i == 8;
}

bool fmp_rc_at_end(const fmp_rangecoder *c)
{
    return c->len <= c->at && (c->len == 0 || c->in[c->len - 1] != 0) &&
           c->code == fmp_rc_last(c) - c->low && !starts_above(c);
}

/*
 * Ideal code lengths of a checkpoint pair: what an adaptive binary model would spend, in bits per
 * changed weight. usage: bound BASE TARGET META   (META: lines "name width_bytes rows cols base_off
 * target_off", made by bound.py) Each binary event is coded with the mean of a fast and a slow
 * adaptive probability; nothing is written.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint16_t fast, slow;
} prob;

static double cost(prob *p, int bit)
{
    double x = ((((uint32_t)p->fast + p->slow) >> 1) + 0.5) / 65536.0;

    x = x < 1e-5 ? 1e-5 : x > 1 - 1e-5 ? 1 - 1e-5 : x;
    if (bit) {
        p->fast += (65535 - p->fast) >> 4;
        p->slow += (65535 - p->slow) >> 7;
    } else {
        p->fast -= p->fast >> 4;
        p->slow -= p->slow >> 7;
    }
    return -log2(bit ? x : 1 - x);
}

static void reset(prob *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i].fast = p[i].slow = 32768;
}

static uint8_t *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    uint8_t *d = malloc(n);
    if (fread(d, 1, n, f) != n)
        exit(1);
    fclose(f);
    return d;
}

static int bit_length(uint32_t x)
{
    int n = 0;
    for (; x; x >>= 1)
        n++;
    return n;
}

/* The order map: sign-magnitude floats to unsigned integers in numeric order, a bijection on all
 * patterns. */
static uint32_t order(uint32_t x, uint32_t top, uint32_t all)
{
    return x & top ? ~x & all : x | top;
}

static prob by_exp[256], by_exp_row_col[256][8][8], length[256][33], lead[256][33], sign_base[2],
    sign_near[3][3][2];

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint8_t *a = slurp(argv[1]), *b = slurp(argv[2]);
    FILE *meta = fopen(argv[3], "r");
    char name[512];
    long width, rows, cols, a_off, b_off;
    double order0 = 0, m_exp = 0, m_ctx = 0, mag = 0, s_base = 0, s_near = 0;
    uint64_t n_all = 0, n_changed = 0;

    reset(by_exp, 256);
    reset(&by_exp_row_col[0][0][0], 256 * 64);
    reset(&length[0][0], 256 * 33);
    reset(&lead[0][0], 256 * 33);
    reset(sign_base, 2);
    reset(&sign_near[0][0][0], 18);
    while (fscanf(meta, "%511s %ld %ld %ld %ld %ld", name, &width, &rows, &cols, &a_off, &b_off) ==
           6) {
        const uint32_t top = 1u << (width * 8 - 1),
                       all = width == 4 ? ~0u : (1u << (width * 8)) - 1;
        const int exp_shift = width == 4 ? 23 : 7;
        uint8_t *col = calloc((size_t)cols, 1), *col_sign = calloc((size_t)cols, 1);
        uint64_t k = 0;
        int row = 0, row_sign = 0;

        for (long i = 0; i < rows * cols; i++) {
            uint32_t x = 0, y = 0;
            memcpy(&x, a + a_off + i * width, (size_t)width);
            memcpy(&y, b + b_off + i * width, (size_t)width);
            const int e = x >> exp_shift & 255, changed = x != y;
            const long c = i % cols;

            if (c == 0)
                row >>= 1;
            const int col_level = bit_length(col[c]), row_level = bit_length((uint32_t)row >> 3);
            m_exp += cost(&by_exp[e], changed);
            m_ctx += cost(
                &by_exp_row_col[e][col_level > 7 ? 7 : col_level][row_level > 7 ? 7 : row_level],
                changed);
            if (changed)
                col[c] += (255 - col[c]) >> 3, row += (2047 - row) >> 5;
            else
                col[c] -= (col[c] + 7) >> 3, row -= row >> 5;
            if (!changed)
                continue;
            const uint32_t d = (order(y, top, all) - order(x, top, all)) & all;
            const int down = (d & top) != 0, base_sign = (x & top) != 0;
            const uint32_t m = down ? (~d & all) + 1 : d; /* 1.. */
            const int len = bit_length(m);
            for (int j = 1; j <= 32; j++) {
                mag += cost(&length[e][j], j < len);
                if (j >= len)
                    break;
            }
            for (int j = len - 2; j >= 0; j--)
                mag += j == len - 2 ? cost(&lead[e][len], m >> j & 1) : 1;
            s_base += cost(&sign_base[base_sign], down);
            s_near += cost(&sign_near[col_sign[c]][row_sign][base_sign], down);
            col_sign[c] = (uint8_t)(row_sign = down + 1);
            k++;
        }
        if (k && k < (uint64_t)(rows * cols)) {
            const double n = (double)rows * (double)cols, p = (double)k / n;
            order0 += n * (-p * log2(p) - (1 - p) * log2(1 - p));
        }
        n_all += (uint64_t)rows * (uint64_t)cols;
        n_changed += k;
        free(col);
        free(col_sign);
    }
    const double k = (double)n_changed, mask = m_exp < m_ctx ? m_exp : m_ctx,
                 sign = s_base < s_near ? s_base : s_near;
    printf("%llu of %llu changed (%.3f %%)\n", (unsigned long long)n_changed,
           (unsigned long long)n_all, 100 * k / (double)n_all);
    printf("positions  order 0 per tensor %.3f   given exponent %.3f   given exponent, row, column "
           "%.3f\n",
           order0 / k, m_exp / k, m_ctx / k);
    printf("magnitudes given exponent %.3f\nsigns      given base sign %.3f   also row and column "
           "%.3f\n",
           mag / k, s_base / k, s_near / k);
    printf("bound      %.0f bytes, %.4f bytes per changed weight (best of each line)\n",
           (mask + mag + sign) / 8, (mask + mag + sign) / 8 / k);
    return 0;
}

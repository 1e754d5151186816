/*
 * Losses of one example.  Logits are floats; everything between them and the result is double, in
 * the order of the classes, so that a loss has one value on every thread.
 */
#include "train/loss.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

static double largest(const float *logits, uint32_t n)
{
    float max = logits[0];

    for (uint32_t c = 1; c < n; c++) {
        if (logits[c] > max)
            max = logits[c];
    }
    return max;
}

/*
 * The gradient is softmax - onehot (Bishop 2006, equation 4.109).  At the label it is minus the sum
 * of the other probabilities, which keeps its digits when the label's own is close to 1.
 */
double fish_cross_entropy(const float *logits, uint32_t n_classes, int32_t label, float *d)
{
    const double max = largest(logits, n_classes);
    double others = 0;
    double sum;

    assert(label >= 0 && (uint32_t)label < n_classes);
    for (uint32_t c = 0; c < n_classes; c++) {
        if (c != (uint32_t)label)
            others += exp(logits[c] - max);
    }
    sum = others + exp(logits[label] - max);
    if (d) {
        for (uint32_t c = 0; c < n_classes; c++)
            d[c] = (float)(exp(logits[c] - max) / sum);
        d[label] = (float)(-others / sum);
    }
    return log(sum) - (logits[label] - max);
}

double fish_squared_error(float output, float value, float *d)
{
    const double diff = (double)output - value;

    if (d)
        *d = (float)diff;
    return diff * diff / 2;
}

void fish_softmax(const float *logits, uint32_t n_classes, double *p)
{
    const double max = largest(logits, n_classes);
    double sum = 0;

    for (uint32_t c = 0; c < n_classes; c++) {
        p[c] = exp(logits[c] - max);
        sum += p[c];
    }
    for (uint32_t c = 0; c < n_classes; c++)
        p[c] /= sum;
}

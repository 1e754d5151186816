/*
 * Fuzz target: any bytes as an IDX file of images and one of labels, either of them perhaps gzip.
 */
#include "fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_images("idx", data, len);
    return 0;
}

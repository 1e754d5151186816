/*
 * Fuzz target: any bytes as an npy file of images and one of labels.
 */
#include "fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_images("npy", data, len);
    return 0;
}

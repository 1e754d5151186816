/*
 * A directory of its own for a fuzz target, in memory where the system has /dev/shm, and files in
 * it.
 */
#ifndef FMP_TESTS_FUZZ_FILE_H
#define FMP_TESTS_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char fuzz_dir[64];

static inline void fuzz_dir_remove(void)
{
    static const char *const names[] = {
        "input.safetensors", "x.safetensors", "y.safetensors",    "model.safetensors.index.json",
        "input.fmp",         "made.fmp",      "base.safetensors", "target.safetensors",
        "out.safetensors",   "input.data",    "labels.data",      "vocab.txt",
        "policy.json",       "record.json",   "record.json.lock"};
    char path[160];

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fuzz_dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(fuzz_dir);
}

/* Borrowed until the next call. */
static inline const char *fuzz_file_path(const char *name)
{
    static char path[160];

    if (!fuzz_dir[0]) {
        (void)snprintf(fuzz_dir, sizeof fuzz_dir, "%s/fmp-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(fuzz_dir))
            abort();
        (void)atexit(fuzz_dir_remove);
    }
    (void)snprintf(path, sizeof path, "%s/%s", fuzz_dir, name);
    return path;
}

static inline void fuzz_file_write(const char *name, const void *data, size_t len)
{
    FILE *f = fopen(fuzz_file_path(name), "wb");

    if (!f || (len && fwrite(data, 1, len, f) != len) || fclose(f))
        abort();
}

#endif

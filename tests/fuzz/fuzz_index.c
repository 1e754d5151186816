/*
 * Fuzz target: any bytes as the index of a checkpoint of two shards, x.safetensors with tensor "a"
 * and y.safetensors with tensors "b" and "c".  An index that opens must name exactly those.
 */
#include <string.h>

#include "fmpatch.h"
#include "fuzz_file.h"

static const char index_name[] = "model.safetensors.index.json";

static void write_shard(const char *name, const char *header, const char *data)
{
    char file[256] = {0};
    const size_t n = strlen(header);

    file[0] = (char)n;
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, data, strlen(data));
    fuzz_file_write(name, file, 8 + n + strlen(data));
}

static void write_shards(void)
{
    static bool done;

    if (done)
        return;
    write_shard("x.safetensors", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
                "xx");
    write_shard("y.safetensors",
                "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                "\"c\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[1,2]}}",
                "yy");
    done = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const fmp_limits limits = {.size = sizeof limits, .max_files = 8, .max_header = 1 << 16};
    const fmp_store_options o = {.size = sizeof o, .limits = &limits};
    fmp_store *store;

    write_shards();
    fuzz_file_write(index_name, data, len);
    if (!fmp_store_open(fuzz_file_path(index_name), &o, &store, NULL)) {
        for (uint32_t i = 0; i < fmp_store_tensor_count(store); i++) {
            const fmp_tensor_info t = fmp_store_tensor(store, i);

            if (t.name_len != 1 || t.name[0] < 'a' || t.name[0] > 'c')
                abort();
        }
        fmp_store_close(store);
    }
    return 0;
}

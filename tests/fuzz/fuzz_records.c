/*
 * Fuzz target: any bytes as labelled texts.  The first byte chooses the format (bits 0 and 1), a
 * header or none, labels or none, classes or numbers.  What opens must be readable to its last
 * example.
 */
#include "fuzz_data.h"

static fish_tokenizer *tokenizer;

static void release(void)
{
    fish_tokenizer_free(tokenizer);
}

static void prepare(void)
{
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\n,\n\"\n";

    if (tokenizer)
        return;
    fuzz_file_write("vocab.txt", vocab, sizeof vocab - 1);
    fuzz_must(!fish_tokenizer_open(fuzz_dir, &tokenizer, NULL) && !atexit(release));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const formats[] = {"csv", "tsv", "jsonl", "csv"};
    fish_data_options o = {.max_tokens = FUZZ_MAX_TOKENS};
    fish_data *d;

    prepare();
    if (!len)
        return 0;
    o.format = formats[data[0] & 3];
    o.no_header = data[0] & 4;
    o.no_labels = data[0] & 8;
    o.regression = data[0] & 16;
    o.tokenizer = tokenizer;
    fuzz_file_write("input.data", data + 1, len - 1);
    if (!fish_data_open(fuzz_file_path("input.data"), &o, &d, NULL))
        fuzz_read_all(d, o.no_labels);
    return 0;
}

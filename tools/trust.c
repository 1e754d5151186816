/*
 * Whom to trust.  Reads options and environment; the rules themselves are the library's.
 */
#include "trust.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"
#include "textutil.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

char *trust_keyring_dir(const char *option, bool *ret_named)
{
    const char *xdg = env("XDG_CONFIG_HOME"), *home = env("HOME");

    *ret_named = true;
    if (option)
        return text_copy(option);
    if (env("FMPATCH_KEYRING"))
        return text_copy(env("FMPATCH_KEYRING"));
    *ret_named = false;
    if (xdg && *xdg == '/') /* the specification has relative ones ignored */
        return text_format("%s/fmpatch", xdg);
    return home ? text_format("%s/.config/fmpatch", home) : NULL;
}

fmp_status trust_add_dir(fmp_keyring *ring, const char *dir, fmp_error *err)
{
    char *real = realpath(dir, NULL);
    const fmp_status st = fmp_keyring_add_dir(ring, real ? real : dir, err);

    free(real);
    return st;
}

static bool is_directory(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Of the ring in `dir`, only what it revokes. */
static fmp_status add_revoked(fmp_keyring *ring, const char *dir, fmp_error *err)
{
    fmp_keyring *all = NULL;
    fmp_status st = fmp_keyring_new(&all, err);

    if (!st)
        st = trust_add_dir(all, dir, err);
    for (uint32_t i = 0; !st && i < fmp_keyring_count(all); i++) {
        fmp_public_key key;
        bool revoked;
        const char *name = fmp_keyring_at(all, i, &key, &revoked);

        if (revoked)
            st = fmp_keyring_add_key(ring, &key, name, true, err);
    }
    fmp_keyring_free(all);
    return st;
}

static fmp_status add_keys(fmp_keyring *ring, const trust_args *args, fmp_error *err)
{
    fmp_status st = FMP_OK;
    fmp_public_key key;

    for (size_t i = 0; !st && i < args->keys.n; i++) {
        st = fmp_public_key_parse(args->keys.items[i], strlen(args->keys.items[i]), &key, err);
        if (st == FMP_ECORRUPT) /* an argument, not a file */
            st = err->status = FMP_EUSAGE;
        if (!st)
            st = fmp_keyring_add_key(ring, &key, "the given key", false, err);
    }
    for (size_t i = 0; !st && i < args->key_files.n; i++) {
        st = fmp_public_key_load(args->key_files.items[i], &key, err);
        if (!st)
            st = fmp_keyring_add_key(ring, &key, args->key_files.items[i], false, err);
    }
    return st;
}

static int add_directory(trust *t, const trust_args *args, const common_args *common)
{
    const bool has_keys = args->keys.n || args->key_files.n;
    bool named;
    char *dir = trust_keyring_dir(args->keyring, &named);
    fmp_error err;
    int status = FMP_OK;

    if (!dir) {
        report_warning("HOME is not set: no keyring could be located");
        return FMP_OK;
    }
    if (!is_directory(dir)) {
        /* A misspelt keyring must not mean that anything goes. */
        if (named) {
            report_warning("%s: there is no such keyring directory", dir);
            status = fmp_exit_status(FMP_EIO);
        }
    } else if (has_keys && !args->keyring ? add_revoked(t->ring, dir, &err)
                                          : trust_add_dir(t->ring, dir, &err)) {
        status = report_error(common, &err);
    }
    free(dir);
    return status;
}

int trust_open(trust *t, const trust_args *args, const common_args *common)
{
    fmp_error err;
    int status;

    *t = (trust){0};
    if (args->allow_unsigned && (args->require || args->threshold.given))
        return report_usage("--allow-unsigned excludes --require-signature and --threshold");
    if (fmp_keyring_new(&t->ring, &err))
        return report_error(common, &err);
    status = add_directory(t, args, common);
    if (!status && add_keys(t->ring, args, &err))
        status = report_error(common, &err);
    if (status) {
        trust_close(t);
        return status;
    }
    t->rules = (fmp_trust){
        .size = sizeof t->rules,
        .ring = t->ring,
        .threshold = (uint32_t)args->threshold.value,
        .require = args->require || args->threshold.given,
        .allow_unsigned = args->allow_unsigned,
    };
    return FMP_OK;
}

void trust_close(trust *t)
{
    fmp_keyring_free(t->ring);
    *t = (trust){0};
}

static const char *find(const trust *t, const fmp_public_key *key, bool want_revoked)
{
    for (uint32_t i = 0; t && i < fmp_keyring_count(t->ring); i++) {
        fmp_public_key k;
        bool revoked;
        const char *name = fmp_keyring_at(t->ring, i, &k, &revoked);

        if (revoked == want_revoked && !memcmp(k.key, key->key, sizeof k.key))
            return name ? name : "";
    }
    return NULL;
}

bool trust_is_revoked(const trust *t, const fmp_public_key *key)
{
    return find(t, key, true) != NULL;
}

char *trust_name(const trust *t, const fmp_public_key *key)
{
    const char *name = trust_is_revoked(t, key) ? NULL : find(t, key, false);
    size_t len;

    if (!name)
        return NULL;
    len = strlen(name);
    if (len > 4 && !strcmp(name + len - 4, ".pub"))
        len -= 4;
    return text_escape(name, len);
}

/* "alice (KEY), bob (KEY)": the trusted signers; or all of them by number. */
static char *join_signers(const trust *t, const fmp_patch *patch, bool trusted)
{
    const uint32_t n = fmp_patch_summarize(patch).n_signatures;
    char *all = text_copy("");

    for (uint32_t i = 0; i < n; i++) {
        const fmp_signature_info sig = fmp_patch_signature(patch, i);
        char *name = trusted ? trust_name(t, &sig.key) : NULL;
        char number[17], *longer = NULL;

        text_key_number(sig.key.number, number);
        if (name)
            longer = text_format("%s%s%s (%s)", all, *all ? ", " : "", name, number);
        else if (!trusted)
            longer = text_format("%s%s%s", all, *all ? ", " : "", number);
        free(name);
        if (longer) {
            free(all);
            all = longer;
        }
    }
    return all;
}

char *trust_sentence(const trust *t, const fmp_patch *patch, fmp_verdict verdict)
{
    char *who, *sentence;

    if (verdict == FMP_UNSIGNED)
        return text_copy("unsigned");
    who = join_signers(t, patch, verdict == FMP_TRUSTED);
    sentence = verdict == FMP_TRUSTED ? text_format("signed by %s", who)
                                      : text_format("signed by %s, signer not trusted", who);
    free(who);
    return sentence;
}

const char *trust_word(fmp_verdict verdict)
{
    return verdict == FMP_TRUSTED ? "trusted" : verdict == FMP_UNTRUSTED ? "untrusted" : "unsigned";
}

json_t *trust_json(const trust *t, const fmp_patch *patch)
{
    const uint32_t n = fmp_patch_summarize(patch).n_signatures;
    json_t *list = json_array();

    for (uint32_t i = 0; i < n; i++) {
        const fmp_signature_info sig = fmp_patch_signature(patch, i);
        json_t *one = json_object();
        char number[17];

        text_key_number(sig.key.number, number);
        report_json_set(one, "key_id", report_json_hex(sig.key.id, sizeof sig.key.id));
        report_json_set(one, "number", json_string(number));
        report_json_set(one, "valid", json_boolean(sig.valid));
        report_json_set(one, "comment", report_json_text(sig.comment));
        if (t) {
            char *name = trust_name(t, &sig.key);

            report_json_set(one, "name", report_json_text(name));
            report_json_set(one, "revoked", json_boolean(trust_is_revoked(t, &sig.key)));
            free(name);
        }
        json_array_append_new(list, one);
    }
    return list;
}

int trust_open_patches(const trust *t, char *const *names, size_t n, bool say,
                       const common_args *common, input_patch *in, const fmp_patch **patches,
                       size_t *ret_n)
{
    fmp_error err;

    for (*ret_n = 0; *ret_n < n;) {
        const size_t i = (*ret_n)++;
        fmp_verdict verdict;
        char *sentence;
        const int status = inputs_open_patch(&in[i], names[i], common);

        if (status)
            return status;
        patches[i] = in[i].patch;
        if (fmp_patch_check_trust(in[i].patch, &t->rules, &verdict, &err))
            return report_error_about(common, in[i].shown, &err);
        if (!say)
            continue;
        sentence = trust_sentence(t, in[i].patch, verdict);
        report_note(common, "%s: %s", in[i].shown, sentence);
        free(sentence);
    }
    return FMP_OK;
}

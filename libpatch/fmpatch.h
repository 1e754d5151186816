/*
 * fmpatch: small, signed, exact patches between model checkpoints.
 *
 * In reading order: version, status, limits, stores, patches, measuring, create, apply, verify,
 * algebra, overlap and diff, merge, keys and signatures, policy, buffers, masks.  Every handle is
 * opaque.  Nothing here prints, exits, or keeps a global.
 *
 *   Threads     Two threads may use two handles freely.  One fmp_store or fmp_patch may be read by
 *               any number of threads at once; closing it needs that nobody else uses it.
 *   Ownership   What a function is given stays the caller's.  What it returns through `ret` is the
 *               caller's to close or free, unless the comment says that it is borrowed.
 *   Failure     Functions return fmp_status, FMP_OK (0) on success.  `ret` arguments are written on
 *               success only; `err`, which may be NULL, on failure only.
 *   Options     An options struct starts with its size: `= {.size = sizeof o}`.  Every other field
 *               left 0 means the default that its comment names.  A NULL options pointer means all
 *               defaults.
 */
#ifndef FMPATCH_H
#define FMPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define FMP_API       __attribute__((visibility("default")))
#    define FMP_NODISCARD __attribute__((warn_unused_result))
#else
#    define FMP_API
#    define FMP_NODISCARD
#endif

/* ---- version ----------------------------------------------------------------------------------
 */

#define FMP_VERSION_MAJOR 0
#define FMP_VERSION_MINOR 1
#define FMP_VERSION_PATCH 0

/* The version of patch files that this library writes.  0 is the draft of version 1. */
#define FMP_FORMAT_VERSION 0

/* "0.1.0": the library that is running, which may be newer than this header.  Static storage. */
FMP_API const char *fmp_version(void);

/* ---- status -----------------------------------------------------------------------------------
 */

/* Pinned numbers, never reused.  0 to 7 are also the exit status of the program. */
typedef enum fmp_status {
    FMP_OK = 0,
    FMP_EAUTH = 1,    /* not authentic: bad, unknown or missing-but-required signature */
    FMP_EUSAGE = 2,   /* an argument makes no sense, or an output exists already */
    FMP_ECORRUPT = 3, /* malformed input */
    FMP_EBASE = 4,    /* well formed, but not the base (or target) that the patch is for */
    FMP_EIO = 5,      /* the system refused: missing file, I/O error, no space */
    FMP_ERECOVER = 6, /* an interrupted change must be recovered first */
    FMP_EPOLICY = 7,  /* expired, rolled back, over a limit of policy, or not reversible */
    FMP_ENOTSUP = 8,  /* an unknown version or required feature */
    FMP_ELIMIT = 9,   /* larger than fmp_limits allows */
    FMP_ENOMEM = 10,
    FMP_ECANCELED = 11 /* the progress callback said stop */
} fmp_status;

#define FMP_NO_OFFSET UINT64_MAX

typedef struct fmp_error {
    fmp_status status;
    int sys_errno;   /* 0 unless status is FMP_EIO */
    uint64_t offset; /* byte offset in the file, or FMP_NO_OFFSET */
    char text[400];  /* one line, no newline, names the file or tensor */
} fmp_error;

/* The exit status (0 to 7) of a program that ends with `st`. */
FMP_API int fmp_exit_status(fmp_status st);

/* "FMP_EBASE" and so on; static storage; "FMP_?" for a number that is none. */
FMP_API const char *fmp_status_name(fmp_status st);

/* ---- limits and progress ----------------------------------------------------------------------
 */

/* What a reader of outside bytes puts up with.  FMP_ELIMIT when exceeded. */
typedef struct fmp_limits {
    size_t size;          /* sizeof(fmp_limits) */
    uint32_t max_tensors; /* default 1,000,000 */
    uint32_t max_files;   /* files of one checkpoint; default 100,000 */
    uint64_t max_header;  /* JSON header or index of a checkpoint, bytes; default 100,000,000 */
    uint64_t max_index;   /* decoded sections of a patch other than payload; default 512 MiB */
    uint64_t max_size;    /* one checkpoint, bytes; default 4 TiB */
} fmp_limits;

/*
 * Called from time to time, always from the thread that called the library, with bytes done and to
 * do.  Return true to cancel: the call then ends with FMP_ECANCELED and leaves nothing behind.
 */
typedef bool (*fmp_progress_fn)(void *ctx, uint64_t done, uint64_t total);

typedef struct fmp_progress {
    fmp_progress_fn fn; /* NULL: no progress, no cancel */
    void *ctx;
} fmp_progress;

/* ---- stores: checkpoints, read only -----------------------------------------------------------
 */

typedef struct fmp_store fmp_store;

typedef struct fmp_store_options {
    size_t size;              /* sizeof(fmp_store_options) */
    const fmp_limits *limits; /* default: fmp_limits' defaults */
    bool raw;                 /* read any file as one U8 tensor named "data"; default: by content */
    bool lenient; /* accept what the format's reference reader accepts; default: strict */
} fmp_store_options;

typedef struct fmp_tensor_info {
    const char *name; /* UTF-8, NUL-terminated, borrowed from the handle */
    size_t name_len;
    const char *dtype; /* the format's own word, such as "BF16"; borrowed */
    uint32_t rank;
    const uint64_t *shape; /* rank numbers, borrowed; NULL when rank is 0 */
    uint64_t n_elements;   /* product of shape; 1 for rank 0 */
    uint64_t n_bytes;
} fmp_tensor_info;

/*
 * fmp_store_open() opens a checkpoint: a .safetensors file, a sharded index (*.index.json), a
 * directory that holds either (its other files are side files), or any other regular file as raw.
 *
 *   path   followed when it is a symbolic link.
 *   ret    close with fmp_store_close().
 *
 * Returns FMP_OK, FMP_EIO, FMP_ECORRUPT (names file, tensor, expected and found), FMP_ENOTSUP (a
 * pickle-based file, say), FMP_ELIMIT, FMP_ENOMEM.  Reads headers only; memory about 128 bytes plus
 * the name for a tensor.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_store_open(const char *path, const fmp_store_options *options,
                                                fmp_store **ret, fmp_error *err);
FMP_API void fmp_store_close(fmp_store *store); /* takes NULL */

/* Tensors are numbered 0 .. count - 1 in file order: file by file, as they lie. */
FMP_API uint32_t fmp_store_tensor_count(const fmp_store *store);
FMP_API fmp_tensor_info fmp_store_tensor(const fmp_store *store, uint32_t tensor);

/* The number of the tensor of that name, or UINT32_MAX.  Logarithmic. */
FMP_API uint32_t fmp_store_find(const fmp_store *store, const char *name, size_t name_len);

/*
 * fmp_store_read() reads bytes [off, off + len) of a tensor.  Thread-safe.  FMP_EUSAGE when they do
 * not lie in the tensor; FMP_EIO when the file fails or has shrunk.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_store_read(const fmp_store *store, uint32_t tensor,
                                                uint64_t off, void *buf, size_t len,
                                                fmp_error *err);

/* ---- patches ----------------------------------------------------------------------------------
 */

typedef struct fmp_patch fmp_patch;

typedef struct fmp_patch_options {
    size_t size;              /* sizeof(fmp_patch_options) */
    const fmp_limits *limits; /* default: fmp_limits' defaults */
} fmp_patch_options;

/*
 * fmp_patch_open() reads and checks everything but the payload: prefix, structure, the digest of
 * every section, manifest, tensor and frame columns, layout.  Signatures are checked for being
 * right; whom to trust is fmp_patch_check_trust()'s question.
 *
 * Returns FMP_OK; FMP_EAUTH when a signature is wrong; FMP_ECORRUPT; FMP_ENOTSUP (an unknown
 * required feature, named); FMP_EIO; FMP_ELIMIT; FMP_ENOMEM.  All reads go to the one open file.
 */
FMP_API FMP_NODISCARD fmp_status fmp_patch_open(const char *path, const fmp_patch_options *options,
                                                fmp_patch **ret, fmp_error *err);
FMP_API void fmp_patch_close(fmp_patch *patch); /* takes NULL */

typedef enum fmp_tensor_state {
    FMP_UNCHANGED = 0,
    FMP_RESIDUAL = 1, /* coded against the base */
    FMP_WHOLE = 2,    /* same name in both, nothing else in common: new content stored */
    FMP_ADDED = 3,
    FMP_REMOVED = 4,
    FMP_ALIAS = 5, /* its bytes are those of another target tensor */
    FMP_SET = 6    /* coded against the base, some of it as new bits: cannot be undone */
} fmp_tensor_state;

/* What a reader needs besides the patch to see what it changes.  FORMAT.md, "Profiles". */
typedef enum fmp_profile {
    FMP_PROFILE_OPEN = 0,   /* nothing: inspect, revert and the algebra work on the patch alone */
    FMP_PROFILE_COMPACT = 1 /* the base: coded given what it holds, hence smaller */
} fmp_profile;

typedef struct fmp_patch_summary {
    size_t size; /* set by the library */
    uint16_t version;
    uint8_t id[32];        /* BLAKE2b-256 of the prefix */
    uint64_t file_size;    /* bytes */
    uint64_t payload_size; /* bytes */
    uint32_t n_tensors;    /* of base and target together */
    uint32_t n_base_tensors, n_target_tensors;
    uint32_t n_unchanged, n_residual, n_whole, n_added, n_removed, n_alias, n_set;
    uint32_t n_frames;
    uint64_t n_elements; /* of the target */
    uint64_t n_changed;  /* elements that differ, or that are new */
    uint8_t base_root[32], target_root[32];
    bool reversible;
    uint32_t n_signatures;
    fmp_profile profile;
} fmp_patch_summary;

FMP_API fmp_patch_summary fmp_patch_summarize(const fmp_patch *patch);

/* The manifest: canonical JSON, NUL-terminated, borrowed. */
FMP_API const char *fmp_patch_manifest(const fmp_patch *patch);

typedef struct fmp_patch_tensor {
    fmp_tensor_state state;
    fmp_tensor_info base;   /* name NULL when it is not in the base */
    fmp_tensor_info target; /* name NULL when it is not in the target */
    uint8_t base_digest[32], target_digest[32];
    const char *source; /* renamed or aliased: the tensor that its bytes come from; else NULL */
    uint64_t n_changed; /* elements; known after fmp_patch_scan(), else UINT64_MAX when changed */
    uint64_t n_up, n_down; /* of those residuals, after fmp_patch_scan(); UINT64_MAX where blocks of
                              profile compact hide them */
    uint64_t max_residual; /* steps in the order of bit patterns (ULP for floats), likewise */
    uint64_t stored;       /* payload bytes, likewise */
} fmp_patch_tensor;

/* Tensors are numbered 0 .. n_tensors - 1 in byte order of names. */
FMP_API fmp_patch_tensor fmp_patch_tensor_at(const fmp_patch *patch, uint32_t tensor);
FMP_API uint32_t fmp_patch_find(const fmp_patch *patch, const char *name, size_t name_len);

/* Decodes the whole payload, checking every frame, and fills in what fmp_patch_tensor_at() then
 * knows.  Linear in the payload. */
FMP_API FMP_NODISCARD fmp_status fmp_patch_scan(fmp_patch *patch, unsigned n_threads,
                                                fmp_progress progress, fmp_error *err);

/* Layout, and what makes a patch irreversible. */
typedef enum fmp_file_state {
    FMP_FILE_SAME = 0, /* side file: equal in base and target */
    FMP_FILE_CHANGED = 1,
    FMP_FILE_ADDED = 2,
    FMP_FILE_REMOVED = 3,
    FMP_FILE_WEIGHTS = 4 /* holds tensors of the target */
} fmp_file_state;

typedef struct fmp_patch_file {
    const char *name; /* relative to the target's directory; borrowed */
    fmp_file_state state;
    uint64_t size;      /* bytes in the target; in the base when removed */
    uint8_t digest[32]; /* tensor digest of those bytes; zeros for FMP_FILE_WEIGHTS */
} fmp_patch_file;

FMP_API uint32_t fmp_patch_file_count(const fmp_patch *patch);
FMP_API fmp_patch_file fmp_patch_file_at(const fmp_patch *patch, uint32_t i);

/* NULL when the patch is reversible; else a borrowed sentence that names the first thing in the
 * way. */
FMP_API const char *fmp_patch_irreversible_because(const fmp_patch *patch);

/* ---- measuring --------------------------------------------------------------------------------
 */

/*
 * How far a patch goes.  Everything is told of one tensor at a time: of the target tensor against
 * the base tensor of its name or, where the base has none of that name, dtype and shape, against
 * the base tensor that its bytes come from (a renamed or grown one).
 *
 * An element is a unit of the dtype: a part of a complex number counts alone; packed types of 4 and
 * 6 bits, and dtypes that are not known, count in bytes.
 */
#define FMP_MEASURE_BITS         65  /* bit lengths of 64-bit numbers: 0 .. 64 */
#define FMP_MEASURE_EXPONENTS    96  /* bins of |new - old| */
#define FMP_MEASURE_EXPONENT_MIN -64 /* bin i: 2^(i - 64) <= |new - old| < 2^(i - 63) */

typedef struct fmp_measurement {
    size_t size;         /* set by the library */
    uint32_t tensor;     /* for fmp_patch_tensor_at() */
    bool has_base;       /* base and target were compared, element by element */
    bool has_values;     /* its dtype has numbers: the fields below "values" say something */
    bool is_float;       /* they are floats: integers are indices as often as weights */
    uint64_t n_elements; /* of the target; 0 when it is removed */
    uint64_t n_changed;  /* that differ or are new; n_opaque of them perhaps do not differ */
    uint64_t n_new;      /* with nothing in the base to compare them with */
    uint64_t n_opaque;   /* not new, but how far they moved is not known; 0 with a base */
    uint64_t n_unseen;   /* changed, but what they are now is not known; 0 with a base */

    /* Steps in the order of values (ULP for floats), of what is neither new nor opaque.  With a
     * base, the way from the old value to the new one.  Without, the way that the residual gives,
     * which is modulo 2^w: what looks longer than certain_steps may also be the way round the other
     * end of all patterns. */
    uint64_t n_up, n_down, max_residual;
    uint64_t certain_steps;                   /* UINT64_MAX with a base */
    uint64_t residual_bits[FMP_MEASURE_BITS]; /* how many |step| have that bit length; [0] is 0 */

    /* Values.  NaN or infinite in the target, and not so in the base as far as is known. */
    uint64_t n_new_nan, n_new_inf;

    /* Values, and only with a base.  Elements that are new or not finite in the base are left out;
     * one that is finite in the base and not in the target makes both changes infinite. */
    uint64_t n_sign_flips; /* from below to above 0 or the other way */
    double change_squares; /* sum of (new - old)^2: the square of the L2 norm of the change */
    double base_squares;   /* sum of old^2, all elements */
    double change_max;     /* the largest |new - old| */
    uint64_t change_exponents[FMP_MEASURE_EXPONENTS]; /* the outer bins also hold what lies beyond;
                                                         differences of 0 or infinity: in none */
} fmp_measurement;

/* Return false to stop. */
typedef bool (*fmp_measure_fn)(void *ctx, const fmp_measurement *m);

typedef struct fmp_measure_options {
    size_t size;        /* sizeof(fmp_measure_options) */
    unsigned n_threads; /* default: one for each processor */
    bool norms_of_all;  /* base_squares of unchanged tensors too, which are then read; default: 0 */
    fmp_progress progress;
} fmp_measure_options;

/*
 * fmp_measure() measures every tensor of a patch.
 *
 *   patch     borrowed; other threads may use it meanwhile.
 *   base      NULL: what can be told without it.  Else the patch's base by names, dtypes and
 *             shapes (FMP_EBASE); its content is taken as it is, fmp_verify() is who checks that.
 *   options   NULL: all defaults.
 *   fn        called once for each tensor, unchanged and removed ones too: those of the target in
 *             its file order, then the removed ones.  Never two calls at once, but not always from
 *             the caller's thread.  What it is given is gone when it returns.  When it returns
 *             false the measuring ends with FMP_OK.
 *
 * Sums are taken in a fixed order: equal inputs give equal bits, whatever the number of threads.
 * Returns FMP_OK; FMP_EBASE; FMP_ECORRUPT; FMP_EIO; FMP_ENOMEM; FMP_ECANCELED.  Linear in the
 * payload and, with a base, in the bytes of the changed tensors; about 20 MiB a thread and 12 bytes
 * a tensor.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_measure(const fmp_patch *patch, const fmp_store *base,
                                             const fmp_measure_options *options, fmp_measure_fn fn,
                                             void *ctx, fmp_error *err);

/*
 * fmp_xor_size() tells what the plainest way to send the change would cost: the exclusive or of
 * target and base, tensor by tensor of one name and size, in pieces of 1 MiB through zstd at level
 * 1; bytes that have no counterpart stand for themselves.  For comparison, in reports.
 *
 *   base        the patch's base by names, dtypes and shapes (FMP_EBASE); content taken as it is.
 *   n_threads   0: one for each processor.  The result depends on the release of libzstd only.
 *   ret         bytes; unchanged tensors and aliases count as nothing.
 *
 * Returns FMP_OK; FMP_EBASE; FMP_ECORRUPT; FMP_EIO; FMP_ENOMEM; FMP_ECANCELED.  Linear in the bytes
 * of the changed tensors; about 20 MiB a thread.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_xor_size(const fmp_patch *patch, const fmp_store *base,
                                              unsigned n_threads, fmp_progress progress,
                                              uint64_t *ret, fmp_error *err);

/* What a tensor is for, in the order in which reports show it. */
typedef enum fmp_role {
    FMP_ROLE_EMBED = 0,
    FMP_ROLE_Q,
    FMP_ROLE_K,
    FMP_ROLE_V,
    FMP_ROLE_QKV, /* two or three of them in one tensor */
    FMP_ROLE_O,
    FMP_ROLE_ROUTER,
    FMP_ROLE_GATE,
    FMP_ROLE_UP, /* gate and up in one tensor, too */
    FMP_ROLE_DOWN,
    FMP_ROLE_NORM,
    FMP_ROLE_CONV,
    FMP_ROLE_POOL,
    FMP_ROLE_HEAD,
    FMP_ROLE_OTHER,
    FMP_ROLE_COUNT
} fmp_role;

typedef struct fmp_tensor_place {
    fmp_role role;
    int32_t layer;  /* the first number in the name; ResNet's stage; -1: in no layer */
    int32_t expert; /* the number behind "experts"; -1: none */
    bool bias;      /* an offset rather than a weight */
} fmp_tensor_place;

/*
 * fmp_tensor_role() tells from a tensor's name where in a model it stands, by the naming habits of
 * BERT, GPT-2, Llama and its kin, T5, mixtures of experts, GGUF and ResNet; what it does not know
 * is FMP_ROLE_OTHER.  A name is a claim, not a proof: reports and policies group by it.  Linear in
 * the name.  Since 0.1.
 */
FMP_API fmp_tensor_place fmp_tensor_role(const char *name);

/* "embed", "q", "k", ... "other"; static storage; "?" for a number that is none. */
FMP_API const char *fmp_role_name(fmp_role role);

/* ---- create -----------------------------------------------------------------------------------
 */

typedef struct fmp_secret_key fmp_secret_key;

typedef struct fmp_create_options {
    size_t size;        /* sizeof(fmp_create_options) */
    unsigned n_threads; /* default: one for each processor, at most 2 (see fmp_create()) */
    int level;          /* 1 .. 9, from fastest to smallest (see fmpatch-create(1)); default 3 */
    unsigned width;     /* coding unit of raw files: 8, 16, 32, 64; default: found by trying */
    bool reversible;    /* store what revert needs and a residual does not give; default: no */
    bool sha256;        /* put the files' SHA-256 into the manifest; default: no */
    bool replace;       /* an existing output is replaced; default: FMP_EUSAGE */
    bool no_check;      /* leave out the touched-element sums of frames; default: present */
    bool set_values;    /* store new bit patterns (repeatable) in place of residuals (reversible) */
    const char *const *renames; /* "OLD=NEW", n_renames of them */
    size_t n_renames;
    const char *manifest_json;   /* an object with task, method, metrics, lineage, ... to include */
    const char *date;            /* RFC 3339, put into the manifest; default: none */
    fmp_secret_key *const *keys; /* sign with these, n_keys of them; default: unsigned */
    size_t n_keys;
    const char *sign_comment; /* signed with each; default: none */
    fmp_progress progress;
    fmp_profile profile; /* default: FMP_PROFILE_OPEN */
} fmp_create_options;

typedef struct fmp_create_result {
    fmp_patch_summary summary;
} fmp_create_result;

/*
 * fmp_create() writes the patch that turns `base` into `target`.  The file appears at `path` when
 * it is whole and synced, or not at all.  Memory: at most 64 MiB plus 256 bytes a
 * tensor with two threads; each more takes up to 16 MiB.
 */
FMP_API FMP_NODISCARD fmp_status fmp_create(const fmp_store *base, const fmp_store *target,
                                            const char *path, const fmp_create_options *options,
                                            fmp_create_result *ret, fmp_error *err);

/* What a patch would be in one profile. */
typedef struct fmp_forecast_profile {
    double n_bytes;                       /* of the file, unsigned */
    double n_bytes_error;                 /* standard error, relative; 0: all was looked at */
    double create_seconds, apply_seconds; /* of the work, not of the disk */
} fmp_forecast_profile;

typedef struct fmp_forecast_result {
    size_t size;                     /* set by the library */
    uint64_t n_elements;             /* of the target */
    uint64_t n_bytes;                /* of the target's tensors */
    uint64_t n_seen;                 /* of these, looked at */
    double n_changed;                /* elements */
    double n_changed_error;          /* standard error, relative */
    fmp_forecast_profile profile[2]; /* by fmp_profile */
} fmp_forecast_result;

/*
 * fmp_forecast() tells what fmp_create() would make of a pair, in each profile, from a sample:
 * pieces of 1 MiB, evenly spread over the target, each coded as fmp_create() would.  Writes
 * nothing.
 *
 *   options   as fmp_create()'s; profile makes no difference.  Old content of `reversible` is left
 * out. seconds   that it may take, about; some 32 pieces are looked at whatever it says. ret times
 * are for the options' threads and for files in memory, at this run's speed.
 *
 * Codes as fmp_create().  Which pieces are looked at is fixed, how many depends on the time; with
 * all of them the result does not.  One thread, some 30 MiB and 256 bytes a tensor.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_forecast(const fmp_store *base, const fmp_store *target,
                                              const fmp_create_options *options, double seconds,
                                              fmp_forecast_result *ret, fmp_error *err);

/* ---- apply, revert, verify --------------------------------------------------------------------
 */

typedef struct fmp_apply_options {
    size_t size;        /* sizeof(fmp_apply_options) */
    unsigned n_threads; /* default: one for each processor */
    bool replace;       /* an existing output file is replaced; default: FMP_EUSAGE */
    bool layout_base;   /* keep the base's files and order; headers are made anew; default: the
                           target's files, byte for byte */
    bool dry_run;       /* check everything, write nothing */
    fmp_progress progress;
} fmp_apply_options;

typedef struct fmp_apply_result {
    uint32_t n_files;
    uint64_t n_bytes; /* written */
    uint32_t n_left;  /* files of a base directory that the patch does not know, left behind */
    bool exact_files; /* the files are the publisher's, byte for byte; else tensor for tensor */
} fmp_apply_result;

/*
 * fmp_apply() writes target = base + patches[0] + ... at `path`: a file when the target is one
 * file, else a directory.  fmp_revert() writes base = target - patch.  Both check every tensor of
 * the input and of the result, and put nothing at `path` unless all of it is right.  The steps of a
 * chain lie as temporaries beside `path`.
 *
 * Returns FMP_EBASE, naming the first differing tensor, when the input is not the patch's;
 * FMP_EPOLICY from fmp_revert() when the patch is not reversible.
 */
FMP_API FMP_NODISCARD fmp_status fmp_apply(const fmp_store *base, const fmp_patch *const *patches,
                                           size_t n_patches, const char *path,
                                           const fmp_apply_options *options, fmp_apply_result *ret,
                                           fmp_error *err);
FMP_API FMP_NODISCARD fmp_status fmp_revert(const fmp_store *target, const fmp_patch *patch,
                                            const char *path, const fmp_apply_options *options,
                                            fmp_apply_result *ret, fmp_error *err);

/* Every digest and every frame of the patch; with `base` (may be NULL), that it is the base. */
FMP_API FMP_NODISCARD fmp_status fmp_verify(fmp_patch *patch, const fmp_store *base,
                                            unsigned n_threads, fmp_progress progress,
                                            fmp_error *err);

/* ---- algebra ----------------------------------------------------------------------------------
 */

/*
 * Patches made of patches.  No base is needed: residuals form a group, new bits stay what they are
 * (FORMAT.md, "Squash", "Inverse").  All three take the options of fmp_create(); renames, width,
 * sha256 and set_values make no sense here (FMP_EUSAGE), reversible and no_check change nothing.
 *
 *   path     appears when the new patch is whole and synced, or not at all.
 *   ret      may be NULL.
 *
 * The result is unsigned unless options->keys sign it.  Its manifest has "operation" and, in
 * "parents", id, kind, roots and signers of each patch that it was made of.  Frames have no sums of
 * touched elements; tensor digests are there, so apply checks as much as ever.  What comes out
 * depends on what the patches do, not on how they were coded: the payload is the same for any
 * number of threads, and for any order of putting brackets in a chain.
 *
 * FMP_ECORRUPT, FMP_EIO, FMP_ELIMIT, FMP_ENOMEM as elsewhere.  Linear in the changed elements and
 * in the bytes of the leaves (1 MiB) of tensors in which they lie; about 16 MiB of work space a
 * thread, and of each patch a frame a thread (some 1 MiB).  Since 0.1.
 */

#define FMP_SQUASH_MAX 64u

/*
 * fmp_squash() makes one patch of a chain: patches[0] from A to B, patches[1] from B to C, and so
 * on, 1 to FMP_SQUASH_MAX of them; the result makes the last target from the first base.  Elements
 * whose changes cancel are not in it.  It is reversible when all of them are.
 *
 * Returns FMP_EBASE, naming the first tensor that differs, when one does not follow the one before;
 * FMP_ENOTSUP, naming the tensor, when patches changed the same bytes as elements of different
 * sizes, which cannot be added up without the base.
 */
FMP_API FMP_NODISCARD fmp_status fmp_squash(const fmp_patch *const *patches, size_t n_patches,
                                            const char *path, const fmp_create_options *options,
                                            fmp_create_result *ret, fmp_error *err);

/*
 * fmp_invert() makes the patch that turns the target back into the base.  It is reversible itself
 * unless the patch gave a tensor a new size.  Returns FMP_EPOLICY, naming what is in the way, when
 * the patch is not reversible.
 */
FMP_API FMP_NODISCARD fmp_status fmp_invert(const fmp_patch *patch, const char *path,
                                            const fmp_create_options *options,
                                            fmp_create_result *ret, fmp_error *err);

/*
 * fmp_recode() writes the same patch in another profile: what it does to `base`, which must be its
 * base, stays the same bit for bit, how that is coded changes.  Tables, digests and manifest stay,
 * but for "profile" and "tool" of the latter; signatures cover one coding, so the result is
 * unsigned unless options->keys sign it.
 *
 *   base      every tensor is held to its digest.
 *   options   profile says which; level, no_check, keys, n_threads, replace and progress count as
 *             for fmp_create().  Frames get sums of touched elements, also where they had none.
 *   ret       may be NULL.
 *
 * Returns FMP_EBASE, naming the first differing tensor; FMP_EUSAGE for options that make no sense
 * here; what fmp_apply() returns for a broken patch.  Reads the base once for its digests, and
 * again where it changes; some 24 MiB of work space a thread.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_recode(const fmp_store *base, const fmp_patch *patch,
                                            const char *path, const fmp_create_options *options,
                                            fmp_create_result *ret, fmp_error *err);

typedef struct fmp_subset_options {
    size_t size;                /* sizeof(fmp_subset_options) */
    const char *const *tensors; /* keep what matches one of these patterns; default: all */
    size_t n_tensors;
    const char *const *except; /* but nothing that matches one of these */
    size_t n_except;
    bool side_files; /* keep what the patch does to side files; default: they stay as in the base */
} fmp_subset_options;

/*
 * fmp_subset() makes the patch that does a part of what another does: tensors that the patterns
 * (fnmatch(3), "*" matching any characters) leave out stay as they are in the base.  Added and
 * removed tensors count by their own names, a renamed one as the new name added and the old one
 * removed.  The target's files are those of the patch's target when all tensors have their places
 * there, else the base's, with new headers.  Returns FMP_EUSAGE when no tensor of the patch matches
 * at all.
 */
FMP_API FMP_NODISCARD fmp_status fmp_subset(const fmp_patch *patch, const fmp_subset_options *what,
                                            const char *path, const fmp_create_options *options,
                                            fmp_create_result *ret, fmp_error *err);

/* ---- overlap and diff -------------------------------------------------------------------------
 */

/*
 * Patches of one base side by side, without the base.  Tensors of the targets are matched by name.
 * An element is a unit of the tensor's dtype: one number, half a C64, a byte of packed types; of a
 * file of unknown structure, what its patches take for one.
 *
 * A patch changes an element when it gives it a residual other than 0, or new bits.  A tensor that
 * is added or stored whole is changed as a whole.  What a renamed tensor is compared with is the
 * tensor that it was.  Residuals have a direction, up or down in the order of values, the shorter
 * way round.  New bits have none, and nor has a tensor that became a copy of another.
 *
 * Two changes of an element are alike when they are equal residuals on equal bytes, or equal new
 * bits; a residual and new bits are alike when both targets have the same tensor.  They are in
 * conflict when both are residuals on equal bytes, one up and the other down.
 */

#define FMP_OVERLAP_MAX      64u
#define FMP_OVERLAP_SETS_MAX 65536u

typedef struct fmp_overlap_options {
    size_t size;        /* sizeof(fmp_overlap_options) */
    unsigned n_threads; /* default: one for each processor */
    bool shapes_only;   /* bases need only have the same names, dtypes and shapes; tensors of one
                           name then count as equal bytes.  default: FMP_EBASE unless the bases are
                           one */
    fmp_progress progress;
} fmp_overlap_options;

/* What two patches do to the same elements. */
typedef struct fmp_overlap_pair {
    uint64_t n_first, n_second; /* elements that each changes */
    uint64_t n_shared;          /* that both change */
    uint64_t n_same;            /* of those, alike */
    uint64_t n_conflicts;       /* of those, up by one and down by the other */
} fmp_overlap_pair;

typedef struct fmp_overlap_tensor {
    const char *name; /* borrowed from the patches */
    uint64_t n_elements;
    uint64_t n_changed;   /* elements that some patch changes */
    uint64_t n_shared;    /* that several change */
    uint64_t n_same;      /* of those, all alike */
    uint64_t n_conflicts; /* of those, up by one and down by another */
} fmp_overlap_tensor;

typedef struct fmp_overlap fmp_overlap;

/*
 * fmp_overlap_new() counts which elements 1 to FMP_OVERLAP_MAX patches share.  Masks are patches,
 * too: their overlap is that of the selections.
 *
 *   patches  must outlive the result.
 *   ret      free with fmp_overlap_free().
 *
 * Returns FMP_EBASE when the bases differ, naming a tensor; FMP_EUSAGE; FMP_ECORRUPT; FMP_EIO;
 * FMP_ENOMEM; FMP_ECANCELED.  Linear in the payload and in the pairs of changes of one element.
 * Memory: 12 MiB a thread, 40 where changes are dense, and a frame (some 1 MiB) of each patch a
 * thread; 40 bytes for each tensor that changes, and 12 for each patch that it may be changed by.
 * The same for any number of threads.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_overlap_new(const fmp_patch *const *patches, size_t n_patches,
                                                 const fmp_overlap_options *options,
                                                 fmp_overlap **ret, fmp_error *err);
FMP_API void fmp_overlap_free(fmp_overlap *o); /* takes NULL */

/* Patches by number, either way; twice the same one: what it changes.  Zeros for numbers that are
 * none, here and below. */
FMP_API fmp_overlap_pair fmp_overlap_of(const fmp_overlap *o, size_t first, size_t second);

/* Tensors that some patch changes, in byte order of names. */
FMP_API uint32_t fmp_overlap_tensor_count(const fmp_overlap *o);
FMP_API fmp_overlap_tensor fmp_overlap_tensor_at(const fmp_overlap *o, uint32_t tensor);
/* Elements of that tensor that a patch changes. */
FMP_API uint64_t fmp_overlap_changed(const fmp_overlap *o, uint32_t tensor, size_t patch);

/*
 * Sets of patches that change an element together and no other does: how many elements have that
 * set.  The bit of each patch is set in *ret_patches.  The most elements first, then by bits.  All
 * sets of one patch that occur, and the first FMP_OVERLAP_SETS_MAX of several in the order of
 * elements: with 16 patches or fewer, all of them.
 */
FMP_API uint32_t fmp_overlap_set_count(const fmp_overlap *o);
FMP_API uint64_t fmp_overlap_set_at(const fmp_overlap *o, uint32_t set, uint64_t *ret_patches);
/* Elements whose set is none of those. */
FMP_API uint64_t fmp_overlap_set_rest(const fmp_overlap *o);

typedef struct fmp_diff_options {
    size_t size;        /* sizeof(fmp_diff_options) */
    unsigned n_threads; /* default: one for each processor */
    bool shapes_only;   /* as for fmp_overlap_new() */
    fmp_progress progress;
} fmp_diff_options;

typedef struct fmp_diff_counts {
    uint64_t n_only[2];    /* elements that only the first, only the second changes */
    uint64_t n_same;       /* that both change, alike */
    uint64_t n_other;      /* that both change, but not alike */
    uint64_t n_apart;      /* of n_only and n_other, those whose distance is known */
    uint64_t sum_distance; /* of those; UINT64_MAX when it is more */
    uint64_t max_distance;
} fmp_diff_counts;

/* A tensor of base or target, and what each patch does to it. */
typedef struct fmp_diff_tensor {
    const char *name; /* borrowed from the patches */
    bool known[2];    /* the patch has it, in base or target; else the rest is 0 */
    bool in_target[2];
    fmp_tensor_state state[2];
    const char *source[2]; /* as in fmp_patch_tensor */
    bool same;             /* both do the same: the counts are all of elements changed alike */
    fmp_diff_counts counts;
} fmp_diff_tensor;

/* A side file, and what each patch does to it. */
typedef struct fmp_diff_file {
    const char *name;        /* borrowed from the patches */
    bool known[2];           /* the patch has it, in base or target */
    fmp_file_state state[2]; /* FMP_FILE_SAME when it is not known */
    uint64_t size[2];        /* bytes in the target; 0 when it is not there */
    bool same;               /* equal in both targets, or in neither */
} fmp_diff_file;

/* A member of the manifest that the patches do not have in common, as JSON text. */
typedef struct fmp_diff_note {
    const char *key;      /* borrowed from the result */
    const char *value[2]; /* NULL where it is missing; likewise */
} fmp_diff_note;

typedef struct fmp_diff_summary {
    size_t size;          /* set by the library */
    bool same_base;       /* equal model roots */
    bool same_target;     /* likewise */
    bool same_layout;     /* the target's weights files are equal but for what tensors hold */
    bool identical;       /* those three, and all side files: applied to the base, both make the
                             same files, however they are coded, signed and described */
    uint32_t n_tensors;   /* of both patches together */
    uint32_t n_differing; /* tensors to which they do different things */
    uint32_t n_only[2];   /* tensors that only the first, only the second target has */
    uint32_t n_files, n_differing_files;
    uint32_t n_notes;
    fmp_diff_counts counts; /* of all tensors */
} fmp_diff_summary;

typedef struct fmp_diff fmp_diff;

/*
 * fmp_diff_new() tells how two patches of one base differ in what they do.
 *
 * The distance of an element is how many steps in the order of values, the shorter way round, lie
 * between the two targets; it is known where each patch leaves the element alone or gives it a
 * residual, on equal bytes.
 *
 *   first, second   must outlive the result.
 *   ret             free with fmp_diff_free().
 *
 * Returns, costs and takes what fmp_overlap_new() does with two patches, and 120 bytes for each
 * tensor.  Headers that are stored as they are, are read and compared.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_diff_new(const fmp_patch *first, const fmp_patch *second,
                                              const fmp_diff_options *options, fmp_diff **ret,
                                              fmp_error *err);
FMP_API void fmp_diff_free(fmp_diff *d); /* takes NULL */
FMP_API fmp_diff_summary fmp_diff_summarize(const fmp_diff *d);

/* 0 .. n_tensors - 1, in byte order of names; likewise files and notes. */
FMP_API fmp_diff_tensor fmp_diff_tensor_at(const fmp_diff *d, uint32_t tensor);
FMP_API fmp_diff_file fmp_diff_file_at(const fmp_diff *d, uint32_t file);
FMP_API fmp_diff_note fmp_diff_note_at(const fmp_diff *d, uint32_t note);

/* ---- merge ------------------------------------------------------------------------------------
 */

/*
 * Several patches of one base become one.  Below, b is an element of the base, x_i what parent i
 * makes of it, t_i = x_i - b, w_i its weight, L lambda, n the number of elements of a tensor.
 * docs/merging.md tells where formulas come from and in what published programs differ.
 *
 * Values are read exactly, computed in IEEE double in the order of the formula, parents in order,
 * and rounded once to the base's dtype: to nearest, ties to even.  Elements that no parent changes
 * keep the base's bits.  b + t_i of a single parent, neither weighed nor trimmed, is x_i itself.  A
 * result equal to the x_i of the only parent that changes the element keeps that parent's bits, one
 * equal to b keeps b's (NaN counts as equal to NaN): so -0 and NaN survive where nothing happens to
 * them.  Otherwise infinities and NaN go the way of IEEE 754: b infinite and x_i finite is NaN.
 */
typedef enum fmp_merge_method {
    FMP_MERGE_LINEAR = 0,           /* sum w x / sum w */
    FMP_MERGE_TASK_ARITHMETIC = 1,  /* b + L sum w t */
    FMP_MERGE_TIES = 2,             /* trim; elect a sign; b + L mean of the t of that sign */
    FMP_MERGE_DARE_LINEAR = 3,      /* drop at random, rescale; then task arithmetic */
    FMP_MERGE_DARE_TIES = 4,        /* drop at random, rescale; then elect and average */
    FMP_MERGE_BREADCRUMBS = 5,      /* drop the largest and the small; then task arithmetic */
    FMP_MERGE_BREADCRUMBS_TIES = 6, /* the same; then elect and average */
    FMP_MERGE_RAM = 7,   /* b + L t of the only parent with |t| > epsilon, or the mean of several */
    FMP_MERGE_SLERP = 8, /* two parents; along the arc between their tensors, or the line when |cos|
                            > 0.9995.  On an arc every element of the tensor moves. */
    FMP_MERGE_PRUNE = 9, /* trim each tensor; then task arithmetic */
    FMP_MERGE_FISHER = 10 /* sum w F x / sum w F, F the Fisher information */
} fmp_merge_method;

/* Which TIES: what is trimmed; what elects; what is averaged. */
typedef enum fmp_ties_variant {
    FMP_TIES_PAPER = 0, /* all of a task at once, int(density n) + 1 stay; sgn sum t, where that is
                           0 the sign of most of the model; plain mean, weights must be 1 */
    FMP_TIES_PEFT = 1,  /* int(density n) of each tensor stay; sum t >= 0; sum w t / count */
    FMP_TIES_MERGEKIT = 2 /* max(1, int(density n)) stay; sum w t >= 0; sum w t / sum w */
} fmp_ties_variant;

typedef enum fmp_rescale {
    FMP_RESCALE_INVERSE = 0, /* by 1 / density */
    FMP_RESCALE_L1 = 1,      /* to the tensor's sum of |t| from before */
    FMP_RESCALE_NONE = 2
} fmp_rescale;

/* A number that may be left out. */
typedef struct fmp_real {
    bool given;
    double value;
} fmp_real;

#define FMP_MERGE_MAX 64u

typedef struct fmp_merge_options {
    size_t size; /* sizeof(fmp_merge_options) */
    fmp_merge_method method;
    const double *weights; /* one a parent; default: 1 each */
    fmp_real lambda;       /* default 1 */
    fmp_real density;      /* share of a tensor's elements that stay; default 1: no trim */
    fmp_real gamma;        /* breadcrumbs: share of the largest that go; default 0.01 */
    fmp_real epsilon;      /* RAM; default 1e-5 */
    fmp_real t;            /* SLERP: 0 is the first parent, 1 the second; default 0.5 */
    fmp_ties_variant ties;
    fmp_rescale rescale; /* DARE */
    int normalize;       /* divide by sum w: 1 yes, -1 no; default: yes for linear and for TIES as
                            mergekit has it, no for the others */
    uint64_t seed; /* DARE: parent i (from 0) keeps element j of tensor NAME if u < density, with
                      u = (XXH3_64(le64(i) le64(j), seed XXH3_64(NAME, seed)) >> 11) / 2^53 */
    const fmp_store *const
        *scores;    /* Fisher: one a parent, tensors named as the base's, F32 or F64, 0 or more */
    fmp_real floor; /* Fisher: least F of the first parent; default 1e-6 */
    bool floor_all; /* of every parent */
    bool no_norm;   /* default: each F is divided by the L2 norm of all of it */
    int integers; /* tensors that are no floats and that a parent changes: 0: refused; -1: from the
                     first parent that changes the tensor; k: from parent k (from 1) */
    int added;    /* tensors that parents add: 0: refused; -1: left out; k: those of parent k */
} fmp_merge_options;

/*
 * fmp_merge() writes the patch that makes the merged model from `base`.
 *
 *   patches  1 to FMP_MERGE_MAX, all of this base.
 *   output   as fmp_create()'s options; renames, width and set_values make no sense (FMP_EUSAGE).
 *   ret      may be NULL.
 *
 * The result is unsigned unless output->keys sign it; its manifest is of kind "merge", lists
 * parents with their signers, and holds all options as "recipe".  Side files stay as in the base.
 * Trimming ranks by |t|; of equal ones the lower element stays.
 *
 * Returns FMP_EBASE when a patch is not of this base; FMP_EUSAGE, naming the tensor, for a tensor
 * that a parent removes, renames, resizes or (see `integers`, `added`) adds, and for options that
 * make no sense; what fmp_create() returns.  One pass over the base; trimming, L1 rescaling, SLERP
 * and the sign of the paper's TIES read the changed tensors before it.  Memory as fmp_create()'s
 * and for each thread some 10 MiB and, of each parent, a frame and 12 bytes for each element that
 * it changes in 1 MiB of tensor; where it trims or drops, 56 bytes for each tensor and parent.
 * Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_merge(const fmp_store *base, const fmp_patch *const *patches,
                                           size_t n_patches, const char *path,
                                           const fmp_merge_options *options,
                                           const fmp_create_options *output, fmp_create_result *ret,
                                           fmp_error *err);

/* What parents of a merge do to one tensor of the base. */
typedef struct fmp_merge_overlap {
    fmp_tensor_info tensor; /* borrowed from the base */
    uint64_t n_by[4];       /* elements changed by 1, 2, 3, and 4 or more parents */
    uint64_t n_conflicts;   /* of those, moved up by one and down by another */
    uint64_t n_merged;      /* elements that the merge changes */
} fmp_merge_overlap;

typedef struct fmp_merge_forecast {
    fmp_merge_overlap *tensors; /* those that some parent changes, in the base's order */
    uint32_t n_tensors;
    uint64_t n_changed; /* elements that some parent changes */
    uint64_t n_merged;  /* elements that the merge changes: fewer where it trims */
    uint64_t n_bytes;   /* estimated size of the merged patch */
} fmp_merge_forecast;

/* Where the parents meet and how large the merged patch will be, about; writes nothing.  Arguments
 * and codes are fmp_merge()'s.  Release with fmp_merge_forecast_release(). */
FMP_API FMP_NODISCARD fmp_status fmp_merge_plan(const fmp_store *base,
                                                const fmp_patch *const *patches, size_t n_patches,
                                                const fmp_merge_options *options,
                                                unsigned n_threads, fmp_merge_forecast *ret,
                                                fmp_error *err);
FMP_API void fmp_merge_forecast_release(fmp_merge_forecast *f);

/*
 * fmp_merge_values() is the same for one tensor in the caller's memory: n numbers of the base, of
 * each of k tuned models and, for Fisher merging, of scores (used as they are: `no_norm`) to n
 * merged numbers, not rounded.  The tensor is all of the model: with FMP_TIES_PAPER it is trimmed
 * on its own.  FMP_EUSAGE, FMP_ENOMEM; work space 24 bytes an element and parent.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_merge_values(const fmp_merge_options *options,
                                                  const char *name, size_t k, const double *base,
                                                  const double *const *tuned,
                                                  const double *const *scores, uint64_t n,
                                                  double *out, fmp_error *err);

/* ---- keys, signatures, trust ------------------------------------------------------------------
 */

#define FMP_KEY_ID_LEN  32 /* BLAKE2b-256 of suite and public key; its first 8 bytes: minisign's */
#define FMP_COMMENT_MAX 1024

typedef struct fmp_public_key {
    uint8_t key[32]; /* Ed25519 */
    uint8_t id[FMP_KEY_ID_LEN];
    uint8_t number[8]; /* minisign's key number; the first 8 bytes of id for our own keys */
} fmp_public_key;

/* The text of a minisign public key: the file's two lines, or the base64 line alone. */
FMP_API FMP_NODISCARD fmp_status fmp_public_key_parse(const char *text, size_t len,
                                                      fmp_public_key *ret, fmp_error *err);
FMP_API FMP_NODISCARD fmp_status fmp_public_key_load(const char *path, fmp_public_key *ret,
                                                     fmp_error *err);
/* Two lines, NUL-terminated. */
FMP_API void fmp_public_key_text(const fmp_public_key *key, char text[256]);

/* Fills `pass` (capacity `cap`, secret memory) and returns its length, or -1 to give up. */
typedef int (*fmp_passphrase_fn)(void *ctx, const char *prompt, char *pass, size_t cap);

/* A new key pair, in locked memory. */
FMP_API FMP_NODISCARD fmp_status fmp_secret_key_generate(fmp_secret_key **ret, fmp_error *err);
/* minisign secret key files (scrypt or unencrypted) and ours (Argon2id).  Refuses a file that group
 * or others may read, or that is not the caller's, unless `any_mode`. */
FMP_API FMP_NODISCARD fmp_status fmp_secret_key_load(const char *path, bool any_mode,
                                                     fmp_passphrase_fn ask, void *ctx,
                                                     fmp_secret_key **ret, fmp_error *err);

typedef enum fmp_key_format {
    FMP_KEY_MINISIGN = 0, /* scrypt, as minisign writes it; unencrypted with a NULL passphrase */
    FMP_KEY_ARGON2ID = 1  /* our own file; needs a passphrase */
} fmp_key_format;

/* Writes the secret key with mode 0600 and the public key beside it; neither may exist. */
FMP_API FMP_NODISCARD fmp_status fmp_secret_key_save(const fmp_secret_key *key,
                                                     fmp_key_format format, const char *passphrase,
                                                     const char *secret_path,
                                                     const char *public_path, fmp_error *err);
FMP_API fmp_public_key fmp_secret_key_public(const fmp_secret_key *key);
FMP_API void fmp_secret_key_free(fmp_secret_key *key); /* wipes; takes NULL */

typedef struct fmp_signature_info {
    fmp_public_key key;
    bool valid;
    const char *comment; /* signed, NUL-terminated, borrowed from the patch */
} fmp_signature_info;

FMP_API fmp_signature_info fmp_patch_signature(const fmp_patch *patch, uint32_t i);

/* Rewrites the signature section only: payload bytes and patch id stay.  Replaces the file by
 * rename. A key that has signed already replaces its signature. */
FMP_API FMP_NODISCARD fmp_status fmp_sign_file(const char *path, fmp_secret_key *const *keys,
                                               size_t n_keys, const char *comment, fmp_error *err);
FMP_API FMP_NODISCARD fmp_status fmp_strip_file(const char *path, fmp_error *err);

/* minisign sidecar ("ED" only) over the whole file: written to, and checked from, `sig_path`. */
FMP_API FMP_NODISCARD fmp_status fmp_minisign_sign(const char *path, const char *sig_path,
                                                   const fmp_secret_key *key,
                                                   const char *trusted_comment, bool replace,
                                                   fmp_error *err);
/* FMP_EAUTH unless both of its signatures are right and by `key`.  `comment` gets the trusted
 * comment, NUL-terminated. */
FMP_API FMP_NODISCARD fmp_status fmp_minisign_verify(const char *path, const char *sig_path,
                                                     const fmp_public_key *key, char *comment,
                                                     size_t comment_cap, fmp_error *err);

typedef struct fmp_keyring fmp_keyring;

/* An empty keyring; then any number of directories (each with trusted.d and revoked.d, *.pub
 * inside, either may be missing) and of keys.  A directory or file that others may write is
 * FMP_EAUTH. */
FMP_API FMP_NODISCARD fmp_status fmp_keyring_new(fmp_keyring **ret, fmp_error *err);
FMP_API FMP_NODISCARD fmp_status fmp_keyring_add_dir(fmp_keyring *ring, const char *dir,
                                                     fmp_error *err);
FMP_API FMP_NODISCARD fmp_status fmp_keyring_add_key(fmp_keyring *ring, const fmp_public_key *key,
                                                     const char *name, bool revoked,
                                                     fmp_error *err);
FMP_API uint32_t fmp_keyring_count(const fmp_keyring *ring);
/* Borrowed name; *ret_revoked says which list. */
FMP_API const char *fmp_keyring_at(const fmp_keyring *ring, uint32_t i, fmp_public_key *ret_key,
                                   bool *ret_revoked);
FMP_API void fmp_keyring_free(fmp_keyring *ring);

typedef struct fmp_trust {
    size_t size;             /* sizeof(fmp_trust) */
    const fmp_keyring *ring; /* NULL: nobody is trusted */
    uint32_t threshold;      /* distinct trusted keys; default 1 */
    bool require;            /* --require-signature */
    bool allow_unsigned;     /* --allow-unsigned */
} fmp_trust;

typedef enum fmp_verdict {
    FMP_TRUSTED = 0,   /* threshold met by trusted, unrevoked keys */
    FMP_UNTRUSTED = 1, /* validly signed, by nobody we trust; counts as unsigned */
    FMP_UNSIGNED = 2
} fmp_verdict;

/*
 * Design rule: a non-empty ring or `require` demands a trusted signature (else FMP_EAUTH) unless
 * `allow_unsigned`; without either, FMP_UNTRUSTED and FMP_UNSIGNED are results, not errors.  A
 * signature by a revoked key is FMP_EAUTH always, unless enough others are trusted.
 */
FMP_API FMP_NODISCARD fmp_status fmp_patch_check_trust(const fmp_patch *patch,
                                                       const fmp_trust *trust, fmp_verdict *ret,
                                                       fmp_error *err);

/* ---- policy -----------------------------------------------------------------------------------
 */

/*
 * A policy is a JSON file that says what a patch may do; docs/policy.md describes it.  Every rule
 * of it is judged, and what breaks one is a finding.
 */
typedef struct fmp_policy fmp_policy;

/* The rules that a policy can have, numbered 0 .. fmp_policy_rule_count() - 1. */
typedef struct fmp_policy_rule {
    const char *id;    /* "max-changed-share"; static, never renamed */
    const char *title; /* a sentence without full stop */
    const char *help;  /* what to do about a finding */
} fmp_policy_rule;

FMP_API uint32_t fmp_policy_rule_count(void);
FMP_API fmp_policy_rule fmp_policy_rule_at(uint32_t i); /* all NULL when there is none */

/*
 * fmp_policy_open() reads a policy and checks all of it.
 *
 *   path   followed when it is a symbolic link; at most 1 MiB.
 *   ret    close with fmp_policy_close(); any number of threads may use it.
 *
 * Returns FMP_OK; FMP_ECORRUPT, naming the member, what was expected and what stood there: also for
 * a member that is not known, so that a misspelt rule is not a missing one, and for a policy
 * without any rule; FMP_ENOTSUP for a version that is not known; FMP_EIO; FMP_ELIMIT; FMP_ENOMEM.
 * Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_policy_open(const char *path, fmp_policy **ret,
                                                 fmp_error *err);
FMP_API void fmp_policy_close(fmp_policy *policy); /* takes NULL */

/* Whether it has rules that look at the patch's lineage, and so needs a record of lineages. */
FMP_API bool fmp_policy_has_lineage(const fmp_policy *policy);

typedef struct fmp_policy_options {
    size_t size;             /* sizeof(fmp_policy_options) */
    const char *now;         /* RFC 3339; default: the system's clock */
    const char *record;      /* path of the record of lineages; default: none, and then the rules
                                on a sequence are findings */
    const fmp_keyring *ring; /* its revoked keys count for nothing; default: none are revoked */
    unsigned n_threads;      /* default: one for each processor */
    fmp_progress progress;
} fmp_policy_options;

/* Something that breaks a rule.  All of it is borrowed from the results. */
typedef struct fmp_finding {
    const char *rule;   /* id of the rule */
    const char *member; /* of the policy: "limits[0].max_residual" */
    const char *tensor; /* name; NULL when it is not about one */
    const char *file;   /* a side file, likewise */
    const char *message;
    const char *expected, *found;
} fmp_finding;

typedef struct fmp_policy_results fmp_policy_results;

/*
 * fmp_policy_check() judges a patch by every rule of a policy.
 *
 *   patch     as fmp_verify() has found it right; with `base`, together with that.
 *   base      NULL when there is none.  A rule that cannot be judged without it is then a finding
 *             that says so.
 *   options   NULL: all defaults.
 *   ret       free with fmp_policy_results_free(); also set when there are findings.
 *
 * Only when there is no finding, and the policy has a lineage, is its sequence put into the record:
 * by rename after fsync, under a lock, mode 0600.
 *
 * Returns FMP_OK when every rule was judged, whatever the outcome; FMP_EUSAGE (`now` is no date);
 * FMP_EAUTH (the record or its directory is another user's, a link, or open to others); what
 * fmp_measure() returns; FMP_ECORRUPT (the record); FMP_EIO; FMP_ENOMEM.  Costs a fmp_measure()
 * where a rule needs one.  Memory: some 100 bytes a tensor; at most 1000 findings a rule are kept.
 * Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_policy_check(const fmp_policy *policy, const fmp_patch *patch,
                                                  const fmp_store *base,
                                                  const fmp_policy_options *options,
                                                  fmp_policy_results **ret, fmp_error *err);

/* FMP_OK without findings; FMP_EAUTH when the rule on signatures is broken; else FMP_EPOLICY. */
FMP_API fmp_status fmp_policy_results_verdict(const fmp_policy_results *results);
FMP_API uint32_t fmp_policy_results_count(const fmp_policy_results *results);
FMP_API fmp_finding fmp_policy_results_at(const fmp_policy_results *results, uint32_t i);
/* Findings that were not kept. */
FMP_API uint64_t fmp_policy_results_left_out(const fmp_policy_results *results);
FMP_API void fmp_policy_results_free(fmp_policy_results *results); /* takes NULL */

/*
 * fmp_lineage_reset() makes a record forget a lineage, as after a change of keys: the next patch of
 * it is taken whatever its sequence.  *ret_found: whether the record knew it.  Codes as above.
 * Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_lineage_reset(const char *record, const char *id,
                                                   bool *ret_found, fmp_error *err);

/* ---- buffers ----------------------------------------------------------------------------------
 */

/*
 * For callers whose weights are in memory.  A tensor's change is a blob: the frames of one tensor,
 * as they would stand in a patch file, one after the other, each behind its length.
 */
typedef struct fmp_blob {
    uint8_t *data; /* free with fmp_blob_release() */
    size_t len;
    uint64_t n_changed; /* elements */
} fmp_blob;

FMP_API void fmp_blob_release(fmp_blob *blob);

/* base and target: n_bytes each, of `dtype`.  base NULL: the target is stored whole.  Of the
 * options (NULL: defaults) level, profile and no_check count. */
FMP_API FMP_NODISCARD fmp_status fmp_encode_tensor(const char *dtype, const void *base,
                                                   const void *target, uint64_t n_bytes,
                                                   const fmp_create_options *options, fmp_blob *ret,
                                                   fmp_error *err);
/* data: the base, n_bytes; becomes the target.  Contents unspecified on failure. */
FMP_API FMP_NODISCARD fmp_status fmp_decode_tensor(const char *dtype, const void *blob,
                                                   size_t blob_len, void *data, uint64_t n_bytes,
                                                   fmp_error *err);

/* Called with runs of a tensor's changed elements, ascending: indices, and residuals (or, where
 * `absolute`, new bit patterns) zero-extended to 64 bits.  Return false to stop. */
typedef bool (*fmp_sparse_fn)(void *ctx, const uint64_t *idx, const uint64_t *value, size_t n,
                              bool absolute);
FMP_API FMP_NODISCARD fmp_status fmp_patch_read_sparse(const fmp_patch *patch, uint32_t tensor,
                                                       fmp_sparse_fn fn, void *ctx, fmp_error *err);
/* As fmp_decode_tensor(), with the frames of an open patch: base bytes in, target bytes out. */
FMP_API FMP_NODISCARD fmp_status fmp_patch_apply_tensor(const fmp_patch *patch, uint32_t tensor,
                                                        void *data, uint64_t n_bytes,
                                                        fmp_error *err);

/* A patch written from indices and new values: what a trainer of sparse weights has. */
typedef struct fmp_writer fmp_writer;

FMP_API FMP_NODISCARD fmp_status fmp_writer_new(const fmp_store *base, const char *path,
                                                const fmp_create_options *options, fmp_writer **ret,
                                                fmp_error *err);
/* Sets elements idx[0 .. n) (ascending, unique) of a base tensor to `values` (n elements of its
 * dtype, packed).  Tensors in any order, each at most once. */
FMP_API FMP_NODISCARD fmp_status fmp_writer_set(fmp_writer *w, const char *name,
                                                const uint64_t *idx, const void *values, uint64_t n,
                                                fmp_error *err);
/* Adds a tensor that the base lacks. */
FMP_API FMP_NODISCARD fmp_status fmp_writer_add(fmp_writer *w, const char *name, const char *dtype,
                                                uint32_t rank, const uint64_t *shape,
                                                const void *data, fmp_error *err);
/* Reads the base, computes digests, writes and commits the file, frees the writer (always). */
FMP_API FMP_NODISCARD fmp_status fmp_writer_finish(fmp_writer *w, fmp_create_result *ret,
                                                   fmp_error *err);
FMP_API void fmp_writer_abort(fmp_writer *w);

/* ---- masks ------------------------------------------------------------------------------------
 */

/*
 * A mask says which elements of a model are selected.  It is a patch of kind "mask": its base is a
 * checkpoint of BOOL zeros with the model's tensor names and shapes, its target has 1 at every
 * selected element.  So all that reads patches reads masks, and one mask suits every base of those
 * names and shapes, whatever its dtypes.  FORMAT.md, "Masks".
 */
typedef struct fmp_mask_writer fmp_mask_writer;

/*
 * fmp_mask_writer_new() begins a mask that will appear at `path`.  Nothing is written before
 * fmp_mask_writer_finish().
 *
 *   path      copied.
 *   options   as fmp_create()'s; NULL: all defaults.  manifest_json may leave "kind" out or say
 *             "mask", and is copied; what else the struct points to stays the caller's and must
 *             live until the writer is finished or aborted.  renames, set_values and a profile make
 *             no sense here: FMP_EUSAGE.  width, reversible and sha256 change nothing.
 *   ret       end with fmp_mask_writer_finish() or fmp_mask_writer_abort().  One thread at a time.
 *
 * Returns FMP_OK, FMP_EUSAGE, FMP_ENOMEM.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_mask_writer_new(const char *path,
                                                     const fmp_create_options *options,
                                                     fmp_mask_writer **ret, fmp_error *err);

/*
 * fmp_mask_writer_add() adds one tensor.  Every tensor of the model belongs into its mask, those
 * without a selected element too.  Tensors in any order, each once: the order does not show in the
 * file.
 *
 *   name    1 to 1024 bytes of UTF-8, not "__metadata__"; copied.
 *   shape   `rank` numbers, copied; may be NULL when rank is 0 (one element).
 *   idx     n indices, strictly ascending, row-major over the shape, each below the tensor's
 *           element count; copied.  NULL with n = the element count: all; NULL with n = 0: none.
 *
 * Returns FMP_OK; FMP_EUSAGE, naming the tensor and what is wrong with it; FMP_ELIMIT; FMP_ENOMEM.
 * After a failure the writer is as it was before the call.  Time and memory: 8 bytes an index (none
 * for a full tensor), about 200 bytes and the name a tensor.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_mask_writer_add(fmp_mask_writer *w, const char *name,
                                                     uint32_t rank, const uint64_t *shape,
                                                     const uint64_t *idx, uint64_t n,
                                                     fmp_error *err);

/*
 * fmp_mask_writer_finish() writes the mask and frees the writer, whatever comes of it.  The file
 * appears at its path when it is whole and synced, or not at all.  The same selection gives the
 * same bytes, in whatever order the tensors were added.
 *
 *   ret   may be NULL.  n_changed of its summary is the number of selected elements, n_elements
 *         that of all.
 *
 * Returns what fmp_create() returns; FMP_EUSAGE also when two tensors have one name.  Hashes a byte
 * for every element, twice; memory as fmp_create()'s beside what the writer holds.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_mask_writer_finish(fmp_mask_writer *w, fmp_create_result *ret,
                                                        fmp_error *err);
FMP_API void fmp_mask_writer_abort(fmp_mask_writer *w); /* takes NULL */

/* Whether an open patch is a mask: its kind is "mask", all its tensors are BOOL, on both sides with
 * one shape, and each is unchanged or coded against the base.  Constant time. */
FMP_API bool fmp_patch_is_mask(const fmp_patch *patch);

/*
 * fmp_mask_count() tells how many elements of a tensor a mask selects: the room that
 * fmp_mask_decode() needs.  Arguments, codes and cost are those of fmp_mask_decode().  (The sum
 * over all tensors is n_changed of fmp_patch_summarize(), at no cost.)  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_mask_count(const fmp_patch *patch, uint32_t tensor,
                                                uint64_t *ret_n, fmp_error *err);

/*
 * fmp_mask_decode() expands one tensor's mask into the element indices it selects.
 *
 *   patch    borrowed.  Any number of threads may decode from one patch at once.
 *   tensor   0 .. n_tensors - 1 of fmp_patch_summarize(), in the patch's name order.
 *   idx      room for `cap` indices.  Written ascending, row-major over the tensor's shape, each
 *            below its element count.  Contents unspecified on failure.
 *   cap      in elements, not bytes.
 *   ret_n    set on success only, to the indices written.
 *
 * Returns FMP_OK; FMP_EUSAGE when the patch is no mask, has no such tensor, or `cap` is short;
 * FMP_ECORRUPT; FMP_ENOTSUP (coded in units of more than an element); FMP_EIO; FMP_ENOMEM.  Linear
 * in the frames that hold the tensor; about 16 MiB of work space.  Since 0.1.
 */
FMP_API FMP_NODISCARD fmp_status fmp_mask_decode(const fmp_patch *patch, uint32_t tensor,
                                                 uint64_t *idx, size_t cap, size_t *ret_n,
                                                 fmp_error *err);

#ifdef __cplusplus
}
#endif

#endif

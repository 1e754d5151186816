/*
 * The outer shape of a patch file: prefix, signature section, body of sections.  FORMAT.md,
 * "Prefix". Offsets and digests, not meanings.
 */
#ifndef FMP_CONTAINER_SECTIONS_H
#define FMP_CONTAINER_SECTIONS_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/zframe.h"
#include "fmpatch.h"

enum {
    FMP_SECTION_MANIFEST = 1,
    FMP_SECTION_TENSORS = 2,
    FMP_SECTION_DIGESTS = 3,
    FMP_SECTION_FRAMES = 4,
    FMP_SECTION_FRAME_DIGESTS = 5,
    FMP_SECTION_LAYOUT = 6,
    FMP_SECTION_PAYLOAD = 7
    /* 8 leaf digests, 9 journal hints: reserved */
};

enum { FMP_SECTION_REQUIRED = 1 };
enum { FMP_CODING_STORED = 0, FMP_CODING_ZSTD = 1 };

#define FMP_PREFIX_HEAD    24u
#define FMP_SECTION_ENTRY  64u
#define FMP_SECTIONS_MAX   32u
#define FMP_PREFIX_MAX     (FMP_PREFIX_HEAD + FMP_SECTIONS_MAX * FMP_SECTION_ENTRY)
#define FMP_SIGNATURES_MAX (64u << 10)

typedef struct fmp_section {
    uint16_t type;
    uint16_t flags;
    uint32_t coding;
    uint64_t off; /* from the end of the signature section */
    uint64_t stored, raw;
    fmp_digest digest; /* of the stored bytes; payload: of the stored frame digests */
} fmp_section;

typedef struct fmp_prefix {
    uint16_t version;
    uint32_t n_sections;
    uint64_t body_len;
    fmp_section section[FMP_SECTIONS_MAX]; /* by offset */
    uint8_t bytes[FMP_PREFIX_MAX];         /* as they stand in the file */
    size_t len;
} fmp_prefix;

/*
 * Reads and checks the prefix and finds the signature section: *ret_signatures (freed with
 * fmp_buf_release()) holds all of it, length first; *ret_body is the file offset of the body.  The
 * file must end exactly where the prefix says.
 */
fmp_status fmp_prefix_read(const fmp_file *f, fmp_prefix *ret, fmp_buf *ret_signatures,
                           uint64_t *ret_body, fmp_error *err);
/* Fills prefix->bytes and len from the other fields. */
void fmp_prefix_write(fmp_prefix *prefix);
/* NULL when there is none of that type. */
const fmp_section *fmp_prefix_find(const fmp_prefix *prefix, unsigned type);

/* The raw bytes of a section into `out`, digest checked first.  FMP_ECORRUPT, FMP_ELIMIT (raw over
 * max_raw), FMP_ENOMEM. */
fmp_status fmp_section_read(const fmp_file *f, uint64_t body, const fmp_prefix *p, unsigned type,
                            fmp_z *z, uint64_t max_raw, fmp_buf *out, fmp_error *err);
/* Codes raw bytes for the file, zstd where that is smaller: fills all of *ret but `off`, and
 * `stored`. */
fmp_status fmp_section_code(unsigned type, const fmp_buf *raw, uint64_t n_digests, fmp_z *z,
                            fmp_section *ret, fmp_buf *stored, fmp_error *err);

#endif

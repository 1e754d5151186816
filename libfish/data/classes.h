/*
 * The names of the classes: given in a fixed order, or collected from the labels and then sorted.
 */
#ifndef FISH_CLASSES_H
#define FISH_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FISH_CLASSES_MAX 32768u
#define FISH_LABEL_MAX   255u /* bytes of a name */

typedef struct fish_class {
    char *name;
    uint32_t id;
} fish_class;

typedef struct fish_classes {
    fish_class *sorted; /* by the bytes of their names */
    const char **names; /* by id; filled by fish_classes_fix() and fish_classes_finish() */
    uint32_t n;
    uint32_t cap;
    bool fixed;
} fish_classes;

void fish_classes_release(fish_classes *c); /* takes all zero, leaves it */

/* Takes n names in their order; later names are then refused.  FMP_EUSAGE for one given twice. */
FMP_NODISCARD fmp_status fish_classes_fix(fish_classes *c, const char *const *names, uint32_t n,
                                          fmp_error *err);

/* Why a label cannot name a class ("is empty", ...), or NULL: 1 to FISH_LABEL_MAX bytes of UTF-8
 * without control characters. */
const char *fish_label_problem(const char *label, size_t len);

/*
 * The number of a label, which is added unless the names are fixed.  Numbers are in the order of
 * arrival until fish_classes_finish().  `where` opens the text of an error: FMP_ECORRUPT for a
 * label that cannot be one, FMP_EUSAGE for one that is not among fixed names, FMP_ELIMIT.
 */
FMP_NODISCARD fmp_status fish_classes_label(fish_classes *c, const char *label, size_t len,
                                            const char *where, int32_t *ret, fmp_error *err);

/* True when names are fixed and none of them is an integer: numeric labels are then positions. */
bool fish_classes_by_position(const fish_classes *c);

/* Sorts what was collected, as numbers if all are integers, and renumbers the labels. */
FMP_NODISCARD fmp_status fish_classes_finish(fish_classes *c, int32_t *labels, size_t n_labels,
                                             fmp_error *err);

#endif

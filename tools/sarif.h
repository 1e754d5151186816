/*
 * The findings of a policy as a SARIF 2.1.0 document (OASIS, 2020): what code scanning services
 * read.
 */
#ifndef TOOLS_SARIF_H
#define TOOLS_SARIF_H

#include "fmpatch.h"

/* All of it, to free.  `path`: of the patch that the findings are about. */
char *sarif_text(const fmp_policy_results *results, const char *path);

#endif

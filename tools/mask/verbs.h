/*
 * The verbs of fmpatch mask.
 */
#ifndef TOOLS_MASK_VERBS_H
#define TOOLS_MASK_VERBS_H

#include "command.h"

extern const command cmd_select, cmd_union, cmd_intersect, cmd_subtract, cmd_xor, cmd_jaccard,
    cmd_split, cmd_show;

#endif

/*
 * The verbs of fmpatch fish.
 */
#ifndef TOOLS_FISH_VERBS_H
#define TOOLS_FISH_VERBS_H

#include "command.h"

extern const command cmd_init, cmd_fisher, cmd_train, cmd_eval, cmd_predict;

#endif

/*
 * libfish: training that produces patches.  Fisher information of a checkpoint's parameters on
 * labelled data, masks of the k best, training of just those, and the patch (Sung, Nair, Raffel
 * 2021, "Training Neural Networks with Fixed Sparse Masks").
 *
 * In reading order: data and tokenizer, models, scores and masks, Fisher, training, metrics.  The
 * conventions are those of fmpatch.h: FMP_OK or a status and an error with a sentence in it; what
 * is passed in stays the caller's; what comes back through `ret` is the caller's to free; one
 * handle is used by one thread at a time unless its comment says more.  Nothing prints or exits.
 */
#ifndef FISH_H
#define FISH_H

#include "core/mem.h"
#include "core/outfile.h"
#include "core/par.h"
#include "core/tensors.h"
#include "data/data.h"
#include "data/tokenizer.h"
#include "model/model.h"
#include "model/params.h"
#include "model/patched.h"
#include "score/scores.h"
#include "train/fisher.h"
#include "train/loss.h"
#include "train/metrics.h"
#include "train/train.h"

#endif

/*
 * The rules that a policy can have, in the order of policy.h.
 */
#include "policy.h"

static const fmp_policy_rule rules[FMP_RULE_COUNT] = {
    [FMP_RULE_SIGNATURES] =
        {"signatures", "Enough of the listed keys have signed the patch",
         "Have it signed by more of the keys that the policy lists, or check where it comes from."},
    [FMP_RULE_KINDS] = {"kinds", "The patch is of a listed kind",
                        "Check what the patch is for; list its kind if that is meant."},
    [FMP_RULE_MAX_BYTES] = {"max-bytes", "The patch file is no larger than allowed",
                            "Check what makes it large: fmpatch stat PATCH."},
    [FMP_RULE_MAY_CHANGE] =
        {"may-change", "Only tensors that may change do",
         "Train with these tensors frozen, or allow them if their change is meant."},
    [FMP_RULE_MUST_NOT_CHANGE] =
        {"must-not-change", "Protected tensors do not change",
         "Train with these tensors frozen; look at where the patch comes from."},
    [FMP_RULE_MUST_CHANGE] = {"must-change", "Tensors that must change do",
                              "Check that the patch is the one that was meant."},
    [FMP_RULE_NO_ADDED] = {"no-added-tensors", "No tensor is added",
                           "Check what the new tensors are for."},
    [FMP_RULE_NO_REMOVED] = {"no-removed-tensors", "No tensor is removed",
                             "Check why the target lacks these tensors."},
    [FMP_RULE_NO_RENAMED] = {"no-renamed-tensors", "No tensor is renamed",
                             "Save the target under the names of the base."},
    [FMP_RULE_SAME_SHAPES] = {"same-dtypes-and-shapes", "No tensor changes its dtype or shape",
                              "Save the target in the dtypes and shapes of the base."},
    [FMP_RULE_NO_NEW_NAN] =
        {"no-new-nan-or-inf", "No NaN or infinity appears where there was none",
         "Such values spread through the model: the target is broken, or meant to be."},
    [FMP_RULE_MAX_SHARE] =
        {"max-changed-share", "No more elements change than allowed",
         "Check that the patch is as sparse as it should be, and made from the right base."},
    [FMP_RULE_MAX_RESIDUAL] = {"max-residual",
                               "No element moves further than allowed, in steps of its dtype",
                               "Look at the largest steps: fmpatch inspect --tensors PATCH."},
    [FMP_RULE_MAX_L2] =
        {"max-relative-l2", "No tensor or layer moves further than allowed, against its own norm",
         "Check the learning rate and the number of steps; look at what moved most."},
    [FMP_RULE_SIDE_FILES] = {"side-files", "Only side files that may change do",
                             "Look at what the patch does to the file: fmpatch inspect PATCH."},
    [FMP_RULE_LINEAGE_ID] = {"lineage-id", "The patch belongs to a listed lineage",
                             "Check that the patch is the one that was meant."},
    [FMP_RULE_LINEAGE_SEQUENCE] = {"lineage-sequence",
                                   "The patch is newer than what was accepted before",
                                   "An older patch may be served to bring back an old fault.  To "
                                   "begin anew, as after a change "
                                   "of keys: fmpatch verify --reset-lineage ID."},
    [FMP_RULE_NOT_AFTER] = {"not-after", "The patch has not expired",
                            "Get the current patch of its lineage."},
    [FMP_RULE_MAX_AGE] = {"max-age", "The patch is recent",
                          "Get the current patch of its lineage; its date is that of creation."},
    [FMP_RULE_UNMATCHED] =
        {"unmatched-glob", "Every glob that protects something matches a tensor",
         "Correct the glob, or set allow_unmatched_globs for a policy of many models."},
};

uint32_t fmp_policy_rule_count(void)
{
    return FMP_RULE_COUNT;
}

fmp_policy_rule fmp_policy_rule_at(uint32_t i)
{
    return i < FMP_RULE_COUNT ? rules[i] : (fmp_policy_rule){0};
}

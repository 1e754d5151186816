#!/usr/bin/env python3
"""Holds `fmpatch merge` to mergekit and PEFT, element by element, on patches of a real model.

usage: check_merge.py FMPATCH FISH MINILM_DIR DATA [--patches FISH,FISH,RANDOM,FULL,FULL] [--markdown FILE]

Without --patches it trains five small ones on DATA.  Their functions are called with float64 tensors and what they
return is rounded once to float32, which is what `fmpatch merge` says it does: equal formulas then give equal bits.
mergekit-yaml also runs as a whole program, in float32.  DARE draws random numbers of its own: theirs are
replaced by our keep-mask, made here from what fmpatch.h says of it.  Where a method trims, equal magnitudes at
the threshold may be kept or not; only there may results differ.  --markdown writes the table of docs/merging.md.
Ends with 'N passed, M failed'.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402
import xxhash  # noqa: E402
from mergekit.merge_methods.api import merge_tensors  # noqa: E402
from peft.utils import merge_utils as peft  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

torch.set_num_threads(2)
SEED = 42


def run(*args):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("%s\n%s\n0 passed, 1 failed" % (" ".join(map(str, args)), done.stdout + done.stderr))
    return done.stdout


class Parents:
    """Some patches of one base, and the checkpoints that they make."""

    def __init__(self, name, patches, models):
        self.name, self.patches, self.models = name, patches, models


def train(args, work):
    """Five patches of DATA: FISH, FISH, random, all weights twice."""
    base, out = args.model + "/model.safetensors", []
    common = ["--pooling", "mean", "--max-tokens", 32]
    for i, kind in enumerate(("fish", "fish", "random", "full", "full")):
        what = ["--full", "--lr", 1e-4]
        if kind != "full":
            scores, mask = "%s/%d.scores.safetensors" % (work, i), "%s/%d.mask.fmp" % (work, i)
            run(args.fish, "fisher", base, args.data, "-o", scores, "--samples", 32, "--seed", i, *common)
            run(os.path.join(os.path.dirname(args.fish), "fmpatch-mask"), scores, "--ratio", 0.005, "-o", mask,
                *(["--source", "random", "--seed", i] if kind == "random" else []))
            what = ["--mask", mask, "--lr", 3e-3]
        out.append("%s/%d.fmp" % (work, i))
        run(args.fish, "train", base, args.data, "-o", out[-1], "--steps", 8, "--seed", i, *common, *what)
    return out


# ---- what theirs make of it ------------------------------------------------------------------------


def mergekit(method, weights=None, **shared):
    """(base, tuned) -> merged, in float64, by mergekit's own method."""
    def merged(name, base, tuned):
        ids = ["base", *range(len(tuned))]
        parameters = dict(shared)
        if weights:
            parameters["weight"] = dict(enumerate(weights))
        if method == "linear":
            ids, tensors, at = ids[1:], tuned, None
        else:
            tensors, at = [base, *tuned], 0
        return merge_tensors(tensors, method, parameters=parameters, ids=ids, base_index=at)
    return merged


def mergekit_slerp(t):
    def merged(name, base, tuned):
        return merge_tensors(tuned, "slerp", parameters={"t": t}, ids=[0, 1], base_index=0)
    return merged


def with_peft(function, weights, *options):
    def merged(name, base, tuned):
        deltas = [t - base for t in tuned]
        return base + function(deltas, torch.tensor(weights, dtype=torch.float64), *options)
    return merged


def keep_mask(name, parent, where, n, density):
    """What fmpatch.h says of DARE's random numbers, for the elements `where` of one parent's tensor; 0 elsewhere."""
    seed = xxhash.xxh3_64_intdigest(name.encode(), seed=SEED)
    head, mask = parent.to_bytes(8, "little"), np.zeros(n)
    for element in where.tolist():
        draw = xxhash.xxh3_64_intdigest(head + element.to_bytes(8, "little"), seed=seed)
        mask[element] = (draw >> 11) / 2**53 < density
    return mask


def with_our_mask(theirs, density):
    """Runs theirs with torch.bernoulli() giving our keep-masks, parent after parent."""
    def merged(name, base, tuned):
        masks = iter([keep_mask(name, i, torch.nonzero((t - base).reshape(-1)).reshape(-1).numpy(), base.numel(),
                                density) for i, t in enumerate(tuned)])

        def bernoulli(like, **_):
            return torch.from_numpy(next(masks)).reshape(like.shape).to(like.dtype)

        # mergekit samples in what it finds at torch.float32, whatever it is given; here that is float64.
        with mock.patch.object(torch, "bernoulli", bernoulli), mock.patch.object(torch, "float32", F64):
            return theirs(name, base, tuned)
    return merged


def paper_ties(density, names, base, tuned):
    """TIES as its authors published it (arXiv 2306.01708, section 3.2): one global trim of each task vector.

    A transcription for whole models, since that code cannot be installed: the threshold is the magnitude of rank
    n - int(density n), from below and counted from 1, and what reaches it stays; the sign is that of the sum; a sum of
    zero takes the majority's; the mean is of the members of that sign.
    """
    flat = [np.concatenate([(t[k] - base[k]).reshape(-1).numpy() for k in names]) for t in tuned]
    for v in flat:
        n = len(v)
        rank = n - int(density * n)
        v[np.abs(v) < (np.partition(np.abs(v), rank - 1)[rank - 1] if rank else 0)] = 0
    sign = np.sign(sum(flat))
    sign[sign == 0] = np.sign(sign.sum())
    count, total = np.zeros(len(sign)), np.zeros(len(sign))
    for v in flat:
        agree = np.where(sign > 0, v > 0, v < 0)
        count += agree
        total += np.where(agree, v, 0)
    merged, out, at = total / np.maximum(count, 1), {}, 0
    for k in names:
        n = base[k].numel()
        out[k] = base[k] + torch.from_numpy(merged[at : at + n]).reshape(base[k].shape)
        at += n
    return out


def authors_fisher(base, parents, scores, weights, floor):
    """Fisher merging as its authors' code does it (arXiv 2111.09832; that code needs TensorFlow 2 of its day): each
    Fisher information over its own norm, the floor for the first parent only."""
    norms = [sum(float(s[k].to(F64).square().sum()) for k in base if k in s) ** 0.5 for s in scores]
    out = {}
    for k in base:
        if not all(k in s for s in scores):  # integers, and what the model does not use: no parent changes it
            continue
        above, below = 0, 0
        for i, (model, s) in enumerate(zip(parents.models, scores)):
            f = s[k].to(F64)
            term = weights[i] / norms[i] * (f.clamp(min=floor) if i == 0 else f)
            below = below + term
            above = above + term * model[k].to(F64)
        out[k] = above / below
    return out


# ---- comparing -------------------------------------------------------------------------------------


def order(x):
    """float32 bits as integers in the order of the numbers, so that a difference counts steps."""
    u = x.contiguous().view(torch.int32).to(torch.int64)
    return torch.where(u < 0, -(u & 0x7FFFFFFF), u)


class Found:
    """What a comparison counted: elements, those that differ for no reason that we know, those halfway between two
    float32 in theirs' own double (where the last bit of a double decides), and those at a threshold."""

    def __init__(self, slack=2**-50):
        self.slack = slack  # how far two ways to compute the same in double lie apart
        self.n = self.differ = self.halfway = self.at_threshold = self.beyond = self.ulp = 0

    def add(self, ours, theirs, base, excused=None, operands=None):
        """theirs: float64, or float32 of a program; excused: where results may differ (a mask, or nothing); operands:
        the largest number that went into each element, to whose last bits a program's float32 is right."""
        ours, theirs, base = ours.reshape(-1), theirs.reshape(-1), base.reshape(-1)
        single = theirs.to(torch.float32)
        steps = (order(ours) - order(single)).abs()
        self.n += steps.numel()
        if excused is not None:
            excused = excused.reshape(-1) & (steps > 0)
            self.at_threshold += int(excused.sum())
            steps = steps.masked_fill(excused, 0)
        if theirs.dtype == F64:
            middle = (ours.to(F64) + single.to(F64)) / 2
            near = (steps == 1) & ((theirs - middle).abs() <= self.slack * (middle.abs() + base.to(F64).abs()))
            self.halfway += int(near.sum())
            steps = steps.masked_fill(near, 0)
        self.differ += int((steps > 0).sum())
        if operands is None:
            self.beyond += int((steps > 1).sum())
        else:
            apart = (ours.to(F64) - single.to(F64)).abs() > 2**-20 * operands.reshape(-1)
            self.beyond += int((apart & (steps > 0)).sum())
        self.ulp = max(self.ulp, int(steps.max()))

    def text(self):
        said = []
        if self.differ:
            said.append("%s of %s differ, %s by more than rounding"
                        % (format(self.differ, ","), format(self.n, ","), format(self.beyond, ",") if self.beyond else "none"))
        if self.halfway:
            said.append("%d halfway" % self.halfway)
        if self.at_threshold:
            said.append("%d at the threshold" % self.at_threshold)
        return "; ".join(said) or "all bits equal"


def at_threshold(base, tuned, density, gamma=0.0):
    """Where a magnitude that some parent has is that at which mergekit and PEFT cut (in float32, as mergekit)."""
    out, n = torch.zeros(base.numel(), dtype=torch.bool), base.numel()
    keep, top = max(1, int(density * n)), int(gamma * n)
    for t in tuned:
        size = (t - base).abs().reshape(-1).float()
        for rank in {top, keep + top} if gamma else {keep}:  # so many lie above the cut
            if 0 < rank < n:
                kept, left = (size.kthvalue(k).values for k in (n - rank + 1, n - rank))
                out |= (size == kept) & (kept == left) & (kept != 0)
    return out


def merged_by_fmpatch(args, parents, options, work):
    base, patch, out = args.model + "/model.safetensors", work + "/merged.fmp", work + "/merged.safetensors"
    run(args.fmpatch, "merge", *options, "--added", "skip", base, *parents.patches, "-o", patch, "-f")
    run(args.fmpatch, "apply", base, patch, "-o", out, "-f", "--allow-unsigned")
    return load_file(out)


# ---- the cases -------------------------------------------------------------------------------------

# No tenths: of weights with a small common denominator sums often lie halfway between two float32, where the last bit
# of a double decides, and that depends on whether a multiplication and an addition were fused.
W3, W2 = [0.57131, 0.28912, 0.13957], [0.70709, 0.29291]
F64 = torch.float64


def comma(xs):
    return ",".join(map(str, xs))


def voting(method, whose):
    """Which TIES, for methods that elect signs.  (mergekit normalises its plain TIES only.)"""
    return ["--ties", whose] if method.endswith("ties") else []


def cases(sets):
    """(method, theirs, parents, options of fmpatch merge, function, densities at which it trims)"""
    sparse, dense, mixed = sets
    for parents, w in ((sparse, W3), (dense, W2), (mixed, W3)):
        given = ["--weights", comma(w)]
        yield "linear", "mergekit", parents, ["--method", "linear", *given], mergekit("linear", w), None
        yield ("task-arithmetic", "mergekit", parents, ["--method", "task-arithmetic", "--lambda", "0.8", *given],
               mergekit("task_arithmetic", w, **{"lambda": 0.8}), None)
        yield ("task-arithmetic", "PEFT", parents, ["--method", "task-arithmetic", *given],
               with_peft(peft.task_arithmetic, w), None)
        for density in (1.0, 0.002) if parents is sparse else (0.2,):
            at = ["--density", density]
            yield ("ties, density %g" % density, "mergekit", parents,
                   ["--method", "ties", "--ties", "mergekit", *at, *given], mergekit("ties", w, density=density),
                   (density, 0))
            yield ("ties, density %g" % density, "PEFT", parents,
                   ["--method", "ties", "--ties", "peft", *at, *given], with_peft(peft.ties, w, density), (density, 0))
            yield ("prune, density %g" % density, "PEFT", parents, ["--method", "prune", *at, *given],
                   with_peft(peft.magnitude_prune, w, density), (density, 0))
        density, gamma = (0.003, 0.001) if parents is sparse else (0.9, 0.01)
        at = ["--density", density, "--gamma", gamma, *given]
        for method in ("breadcrumbs", "breadcrumbs-ties"):
            yield ("%s, density %g, gamma %g" % (method, density, gamma), "mergekit", parents,
                   ["--method", method, *voting(method, "mergekit"), "--normalize", "no", *at],
                   mergekit(method.replace("-", "_"), w, density=density, gamma=gamma), (density, gamma))
        yield "ram", "mergekit", parents, ["--method", "ram"], mergekit("ram", epsilon=1e-5), None
        if len(parents.patches) == 2:
            yield "slerp", "mergekit", parents, ["--method", "slerp", "--t", 0.3], mergekit_slerp(0.3), None
    given, at = ["--weights", comma(W3)], ["--density", 0.5, "--seed", SEED]
    for method in ("linear", "ties"):
        yield ("dare-%s, density 0.5, inverse" % method, "PEFT", sparse,
               ["--method", "dare-" + method, *voting(method, "peft"), "--rescale", "inverse", *at, *given],
               with_our_mask(with_peft(getattr(peft, "dare_" + method), W3, 0.5), 0.5), None)
        for rescale in ("l1", "none"):
            yield ("dare-%s, density 0.5, %s" % (method, rescale), "mergekit, lifted to float64", sparse,
                   ["--method", "dare-" + method, *voting(method, "mergekit"), "--normalize", "no", "--rescale", rescale,
                    *at, *given],
                   with_our_mask(mergekit("dare_" + method, W3, density=0.5, rescale=rescale == "l1"), 0.5), None)


def in_double(tensors):
    return {k: v.to(F64) for k, v in tensors.items()}


def by_function(args, base, parents, options, theirs, trims, work):
    """Tensor by tensor in float64, rounded once."""
    ours = merged_by_fmpatch(args, parents, options, work)
    found = Found(2**-40) if "slerp" in options else Found()  # norms and products of millions of elements
    for name in sorted(base):
        if not base[name].is_floating_point():
            assert torch.equal(ours[name], base[name]), name
            continue
        b, tuned = base[name].to(F64), [m[name].to(F64) for m in parents.models]
        if all(torch.equal(b, t) for t in tuned):
            assert torch.equal(ours[name].view(torch.int32), base[name].view(torch.int32)), name
            continue
        excused = at_threshold(b, tuned, *trims) if trims else None
        found.add(ours[name], theirs(name, b, tuned), b, excused)
    return found


def model_folder(work, name, tensors, names):
    """What mergekit-yaml reads.  Its own description of BERT cannot be planned (mergekit 0.1.5, plan.py: a list plus a
    tuple), so the config names no architecture that it knows and it goes by the names of tensors."""
    folder = os.path.join(work, name)
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/config.json", "w") as f:
        json.dump({"architectures": ["Encoder"], "model_type": "mpnet", "num_hidden_layers": 6}, f)
    save_file({k: tensors[k] for k in names}, folder + "/model.safetensors", {"format": "pt"})
    return folder


def by_program(args, base, parents, method, w, more, options, work):
    """mergekit-yaml on whole checkpoints, in float32."""
    names = [k for k in base if base[k].is_floating_point()]
    config = {"merge_method": method, "dtype": "float32", "models": []}
    if method != "linear":
        config["base_model"] = model_folder(work, "base", base, names)
    for i, model in enumerate(parents.models):
        config["models"].append({"model": model_folder(work, "tuned%d" % i, model, names),
                                 "parameters": {"weight": w[i], **more}})
    with open(work + "/config.yaml", "w") as f:  # JSON is YAML
        json.dump(config, f)
    shutil.rmtree(work + "/out", ignore_errors=True)
    run(os.path.join(os.path.dirname(sys.executable), "mergekit-yaml"), work + "/config.yaml", work + "/out",
        "--no-copy-tokenizer", "--quiet")
    theirs, ours, found = load_file(work + "/out/model.safetensors"), merged_by_fmpatch(args, parents, options, work), Found()
    assert sorted(theirs) == sorted(names)
    for name in names:
        density = more.get("density", 1)
        excused = None
        if density < 1:
            excused = at_threshold(base[name].to(F64), [m[name].to(F64) for m in parents.models], density)
        operands = torch.stack([base[name].to(F64), *(m[name].to(F64) for m in parents.models)]).abs().amax(dim=0)
        found.add(ours[name], theirs[name], base[name], excused, operands)
    return found


def programs(sets):
    """(method, parents, weights, more of mergekit's parameters, options of fmpatch merge)"""
    sparse, dense, mixed = sets
    for parents, w in ((sparse, W3), (dense, W2), (mixed, W3)):
        given = ["--weights", comma(w)]
        yield "linear", parents, w, {}, ["--method", "linear", *given]
        yield "task_arithmetic", parents, w, {}, ["--method", "task-arithmetic", *given]
        yield ("ties", parents, w, {"density": 0.2},
               ["--method", "ties", "--ties", "mergekit", "--density", 0.2, *given])


def paper_case(args, base, parents, density, work):
    options = ["--method", "ties", "--ties", "paper", "--density", density]
    ours, found = merged_by_fmpatch(args, parents, options, work), Found()
    names = [k for k in sorted(base) if base[k].is_floating_point()]
    want = paper_ties(density, names, in_double(base), [in_double(m) for m in parents.models])
    for name in names:
        found.add(ours[name], want[name], base[name])
    return found


def fisher_case(args, base, parents, work):
    """With Fisher information of the base, other examples for each parent: any scores try the formula."""
    files, norm = [], ["--fisher-normalize", "l2", "--fisher-floor", "target", "--floor", "1e-6"]
    for i in range(len(parents.patches)):
        files.append("%s/%d.fisher.safetensors" % (work, i))
        run(args.fish, "fisher", args.model + "/model.safetensors", args.data, "-o", files[-1], "-f", "--samples", 16,
            "--seed", i, "--pooling", "mean", "--max-tokens", 32)
    options = ["--method", "fisher", "--weights", comma(W3[: len(files)]), *norm]
    for file in files:
        options += ["--scores", file]
    ours, found = merged_by_fmpatch(args, parents, options, work), Found()
    want = authors_fisher(base, parents, [load_file(f) for f in files], W3, 1e-6)
    for name, theirs in want.items():
        found.add(ours[name], theirs, base[name])
    return found


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.rows = []

    def add(self, method, theirs, parents, found, ok):
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        print("%-4s %-36s %-18s %-7s %s" % ("ok" if ok else "FAIL", method, theirs, parents.name, found.text()), flush=True)
        self.rows.append((method, theirs, parents.name, found.text()))

    def markdown(self, path):
        """One row a method, one column a set of parents."""
        sets = list(dict.fromkeys(row[2] for row in self.rows))
        cells = {}
        for method, theirs, name, text in self.rows:
            cells.setdefault((method, theirs), {})[name] = text
        with open(path, "w", encoding="utf-8") as f:
            f.write("| method | held to | %s |\n" % " | ".join(sets) + "| --- " * (2 + len(sets)) + "|\n")
            for (method, theirs), found in cells.items():
                f.write("| %s | %s | %s |\n" % (method, theirs, " | ".join(found.get(x, "-") for x in sets)))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("fmpatch", "fish", "model", "data"):
        p.add_argument(name)
    p.add_argument("--patches")
    p.add_argument("--markdown")
    args = p.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        patches = args.patches.split(",") if args.patches else train(args, work)
        base, models = load_file(args.model + "/model.safetensors"), []
        for patch in patches:
            run(args.fmpatch, "apply", args.model + "/model.safetensors", patch, "-o", work + "/t.safetensors", "-f",
                "--allow-unsigned")
            models.append(load_file(work + "/t.safetensors"))
        pick = lambda name, *which: Parents(name, [patches[i] for i in which], [models[i] for i in which])  # noqa: E731
        sets = pick("sparse", 0, 1, 2), pick("dense", 3, 4), pick("mixed", 0, 2, 3)
        for method, theirs, parents, options, function, trims in cases(sets):
            found = by_function(args, base, parents, options, function, trims, work)
            report.add(method, theirs, parents, found, found.differ == 0)
        for parents in sets:
            found = paper_case(args, base, parents, 0.2, work)
            report.add("ties, density 0.2", "paper (transcribed)", parents, found, found.differ == 0)
            found = fisher_case(args, base, parents, work)
            report.add("fisher", "its authors' code (transcribed)", parents, found, found.differ == 0)
        for method, parents, w, more, options in programs(sets):
            found = by_program(args, base, parents, method, w, more, options, work)
            report.add(method.replace("_", "-"), "mergekit-yaml", parents, found, found.beyond == 0)
    if args.markdown:
        report.markdown(args.markdown)
    print("%d passed, %d failed" % (report.passed, report.failed))
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Merges the task patches of tasks.py and measures what is left of each task.

usage: bench/merge/run.py [the options of tasks.py] [--k 2,4,8]

For each kind of patch and each k it merges the first k tasks by every method and measures the merged encoder, with
each task's own head, on that task's test data.  Lambda is chosen on validation data with the first seed.  Writes
bench/merge/results/accuracy.md and accuracy.json.  Results are kept in WORK as they come, so that an interrupted run
goes on.
"""
import datetime
import itertools
import json
import os
import sys

import numpy as np

sys.dont_write_bytecode = True
from tasks import MODEL, TASKS, TOKENS, open_tasks, options  # noqa: E402
from common import ROOT, mean_interval, table  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "bench"))
import checkpoint  # noqa: E402

RESULTS = os.path.join(ROOT, "bench", "merge", "results")
LAMBDAS = {"task arithmetic": ("0.1", "0.2", "0.3", "0.5", "0.7", "1"), "TIES": ("0.3", "0.5", "0.7", "1", "1.5")}
LIKE = {"DARE": "task arithmetic"}  # in expectation DARE is that, so its lambda is that one's
METHODS = {
    "base": ["--method", "task-arithmetic", "--lambda", "0"],
    "average": ["--method", "linear"],
    "task arithmetic": ["--method", "task-arithmetic"],
    "TIES": ["--method", "ties", "--ties", "paper", "--density", "0.2"],
    "DARE": ["--method", "dare-linear", "--rescale", "inverse", "--density", "0.5", "--normalize", "no"],
    "RAM": ["--method", "ram"],
    "Fisher": ["--method", "fisher"],
    "Fisher, floor for all": ["--method", "fisher", "--fisher-floor", "all"],
}


def signs_of(old, new):
    """-1, 0 or 1 for each element of the base's float tensors: where the target moved it."""
    out = [np.sign(np.frombuffer(new[k][2], "<f4") - np.frombuffer(old[k][2], "<f4")).astype(np.int8)
           for k in sorted(old) if old[k][0] == "F32"]
    return np.concatenate(out)


class Merging:
    """What merged models score; each figure is measured once and kept."""

    def __init__(self, tasks, path):
        self.tasks, self.bench, self.path = tasks, tasks.bench, path
        self.known = json.load(open(path)) if os.path.exists(path) else {}
        self.names, self.heads = set(checkpoint.read(tasks.base)[0]), {}

    def keep(self, key, make):
        if key not in self.known:
            self.known[key] = make()
            with open(self.path + ".new", "w") as f:
                json.dump(self.known, f, indent=1, sort_keys=True)
            os.replace(self.path + ".new", self.path)
        return self.known[key]

    def whole(self, patch):
        """The tensors of the base with this patch laid over it."""
        out = self.bench.path("whole.safetensors")
        self.bench.run(self.bench.fmpatch, "apply", self.tasks.base, patch, "-o", out, "-f", "--allow-unsigned")
        return checkpoint.read(out)[0]

    def head(self, kind, task, seed):
        """The tensors that the task's own patch adds to the base."""
        key = kind, task, seed
        if key not in self.heads:
            tensors = self.whole(self.tasks.patch(kind, task, seed))
            self.heads[key] = {k: (t, s, bytes(d)) for k, (t, s, d) in tensors.items() if k not in self.names}
        return self.heads[key]

    def evaluate(self, base, patches, task, part):
        folder = os.path.dirname(self.tasks.base)
        got = self.bench.evaluate(base, patches, self.tasks.text(task, part),
                                  ["--config", os.path.join(folder, "config.json"), "--tokenizer", folder, *MODEL])
        return got["accuracy"]

    def own(self, kind, task, seed):
        """The task's own patch, on its own."""
        return self.keep("own %s %s %d" % (kind, task, seed),
                         lambda: self.evaluate(self.tasks.base, [self.tasks.patch(kind, task, seed)],
                                               task, "test"))

    def overlap(self, kind, k, seed):
        """For each pair of the first k tasks, over the tensors of the base: elements that both change, that either
        changes, and that both change in opposite directions."""
        def measure():
            signs, out, old = [], [], checkpoint.read(self.tasks.base)[0]
            for t in list(TASKS)[:k]:
                signs.append(signs_of(old, self.whole(self.tasks.patch(kind, t, seed))))
            for a, b in itertools.combinations(signs, 2):
                both = (a != 0) & (b != 0)
                out.append([int(both.sum()), int(((a != 0) | (b != 0)).sum()), int((both & (a != b)).sum())])
            return out
        return self.keep("overlap %s %d %d" % (kind, k, seed), measure)

    def merged(self, kind, names, seed, method, lam, part):
        """Accuracy on each task of the merge of the patches of these tasks."""
        patches = [self.tasks.patch(kind, t, seed) for t in names]
        argv = list(METHODS[method]) + (["--lambda", lam] if lam else []) + (["--seed", str(seed)] if method == "DARE" else [])
        if METHODS[method][1] == "fisher":
            for t in names:
                argv += ["--scores", self.tasks.fisher(kind, t, seed)]

        def measure():
            out = self.bench.path("merged.fmp")
            self.bench.run(self.bench.fmpatch, "merge", *argv, "--added", "skip", self.tasks.base, *patches, "-o", out,
                           "-f")
            tensors, accuracies, model = self.whole(out), {}, self.bench.path("model.safetensors")
            for t in names:
                checkpoint.write(model, {**tensors, **self.head(kind, t, seed)})
                accuracies[t] = self.evaluate(model, [], t, part)
            return accuracies
        return self.keep("merged %s %d %d %s %s %s" % (kind, len(names), seed, method, lam or "-", part), measure)

    def best_lambda(self, kind, names, seed, method):
        """The lambda with the best mean on validation data; None where the method takes none."""
        method = LIKE.get(method, method)
        if method not in LAMBDAS:
            return None

        def mean(lam):
            got = self.merged(kind, names, seed, method, lam, "valid")
            return sum(got.values()) / len(got)
        return max(LAMBDAS[method], key=lambda lam: (mean(lam), -float(lam)))


def average(xs):
    return sum(xs) / len(xs)


def percent(xs):
    m, half = mean_interval(xs)
    return "%.1f" % (100 * m) if len(xs) < 2 else "%.1f ± %.1f" % (100 * m, 100 * half)


def measure_all(m, kinds, sizes, seeds):
    """{(kind, k): {method: (lambda, [accuracies of a seed])}}"""
    out = {}
    for kind in kinds:
        for k in sizes:
            names, rows = list(TASKS)[:k], {}
            rows["own patch"] = None, [{t: m.own(kind, t, s) for t in names} for s in seeds]
            for method in METHODS:
                lam = m.best_lambda(kind, names, seeds[0], method)
                rows[method] = lam, [m.merged(kind, names, s, method, lam, "test") for s in seeds]
                print(kind, k, method, lam, percent([average(r.values()) for r in rows[method][1]]), flush=True)
            out[kind, k] = rows
    return out


def summary(found, kinds, sizes):
    methods = ["own patch", *METHODS]
    rows = []
    for kind in kinds:
        for k in sizes:
            cells = [percent([average(list(r.values())) for r in found[kind, k][x][1]]) for x in methods]
            rows.append(["%s, k = %d" % (kind, k), *cells])
    return table(["patches", *methods], rows)


def by_task(found, kinds, k):
    text = ""
    for kind in kinds:
        names, rows = list(TASKS)[:k], []
        for method, (lam, runs) in found[kind, k].items():
            label = method + (" (lambda %s)" % lam if lam else "")
            rows.append([label] + ["%.1f" % (100 * average([r[t] for r in runs])) for t in names] +
                        [percent([average(list(r.values())) for r in runs])])
        text += "\n%s, k = %d:\n\n" % (kind, k) + table(["method", *names, "mean"], rows)
    return text


def chosen(found, kinds, sizes):
    rows = [[x] + [found[kind, k][x][0] for kind in kinds for k in sizes] for x in LAMBDAS]
    return table(["lambda"] + ["%s, %d" % (kind, k) for kind in kinds for k in sizes], rows)


def overlaps(m, kinds, k, seed):
    """Pairs of the first k tasks: mean and range of shared elements, Jaccard index and sign conflicts."""
    rows = []
    for kind in kinds:
        got = m.overlap(kind, k, seed)
        spread = lambda xs, form: form % average(xs) + " (%s to %s)" % (form % min(xs), form % max(xs))  # noqa: E731
        rows.append([kind, spread([x[0] for x in got], "%.0f"), spread([x[0] / x[1] for x in got], "%.3f"),
                     spread([100 * x[2] / max(1, x[0]) for x in got], "%.1f")])
    return table(["patches", "elements that both change", "Jaccard", "of them in opposite directions, %"], rows)


def save(args, text, m):
    os.makedirs(RESULTS, exist_ok=True)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    stamp = "`bench/merge/tasks.py` and `bench/merge/run.py --kinds %s --seeds %s --k %s`, %s, %d threads, %s\n\n" % (
        args.kinds, args.seeds, args.k, cpu, args.threads, datetime.date.today().isoformat())
    with open(os.path.join(RESULTS, "accuracy.md"), "w", encoding="utf-8") as f:
        f.write(stamp + text)
    with open(os.path.join(RESULTS, "accuracy.json"), "w", encoding="utf-8") as f:
        json.dump(m.known, f, indent=1, sort_keys=True)
    print(stamp + text)


def main():
    parser = options(__doc__)
    parser.add_argument("--k", default="2,4,8")
    args = parser.parse_args()
    kinds, sizes = args.kinds.split(","), [int(k) for k in args.k.split(",")]
    seeds = [int(s) for s in args.seeds.split(",")]
    m = Merging(open_tasks(args), os.path.join(args.work, "accuracy.json"))
    found = measure_all(m, kinds, sizes, seeds)
    text = ("MiniLM-L6 (22.7 M weights, fp32), %d steps of 16 texts of %d tokens, mean pooling. Mean test accuracy over "
            "the k tasks in %%; %s. \"base\" is the untouched encoder with each task's own head; \"own patch\" the task's "
            "patch alone.\n\n" % (args.steps, TOKENS, "mean of %d seeds with its 95 %% interval (Student's t)" % len(seeds)
                                  if len(seeds) > 1 else "one seed"))
    text += summary(found, kinds, sizes)
    text += "\nLambda, chosen on validation data with seed %d:\n\n" % seeds[0] + chosen(found, kinds, sizes)
    text += "\nOverlap of pairs of the %d patches, tensors of the base, seed %d: mean (least to most):\n\n" % (
        max(sizes), seeds[0]) + overlaps(m, kinds, max(sizes), seeds[0])
    text += "\nTask by task:\n" + by_task(found, kinds, max(sizes))
    save(args, text, m)


if __name__ == "__main__":
    main()

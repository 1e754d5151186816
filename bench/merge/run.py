#!/usr/bin/env python3
"""Merges the task patches of tasks.py and measures what is left of each task.

usage: bench/merge/run.py [the options of tasks.py] [--k 2,4,8]

For each kind of patch and each k it merges the first k tasks by every method and measures the merged encoder, with
each task's own head, on that task's test data.  Lambda is chosen on validation data with the first seed.  Writes
bench/merge/results/accuracy.md and accuracy.json.  Results are kept in WORK as they come, so that an interrupted run
goes on.
"""
import datetime
import json
import os
import sys

sys.dont_write_bytecode = True
from tasks import KINDS, MODEL, RATIO, TASKS, open_tasks, options  # noqa: E402
from common import ROOT, mean_interval, table  # noqa: E402

RESULTS = os.path.join(ROOT, "bench", "merge", "results")
LAMBDAS = {"task arithmetic": ("0.3", "0.5", "0.7", "1"), "TIES": ("0.5", "1", "1.5", "2"),
           "DARE": ("0.3", "0.5", "0.7", "1")}
METHODS = {
    "base": ["--method", "task-arithmetic", "--lambda", "0"],
    "average": ["--method", "linear"],
    "task arithmetic": ["--method", "task-arithmetic"],
    "TIES": ["--method", "ties", "--ties", "paper", "--density", "0.2"],
    "DARE": ["--method", "dare-linear", "--rescale", "inverse", "--density", "0.5", "--normalize", "no"],
    "RAM": ["--method", "ram"],
    "Fisher": ["--method", "fisher", "--fisher-normalize", "l2"],
}


class Merging:
    """What merged models score; each figure is measured once and kept."""

    def __init__(self, tasks, path):
        self.tasks, self.bench, self.path = tasks, tasks.bench, path
        self.known = json.load(open(path)) if os.path.exists(path) else {}

    def keep(self, key, make):
        if key not in self.known:
            self.known[key] = make()
            with open(self.path + ".new", "w") as f:
                json.dump(self.known, f, indent=1, sort_keys=True)
            os.replace(self.path + ".new", self.path)
        return self.known[key]

    def accuracy(self, patch, task, part):
        got = self.bench.evaluate(self.tasks.base, [patch], self.tasks.text(task, part), MODEL)
        return got["accuracy"]

    def own(self, kind, task, seed):
        """The task's own patch, on its own."""
        return self.keep("own %s %s %d" % (kind, task, seed),
                         lambda: self.accuracy(self.tasks.patch(kind, task, seed), task, "test"))

    def overlap(self, kind, a, b, seed):
        """{shared, jaccard, conflicts} of two tasks' patches, over the tensors of the base."""
        def measure():
            got = self.bench.run(self.bench.fmpatch, "overlap", self.tasks.patch(kind, a, seed),
                                 self.tasks.patch(kind, b, seed))
            return got
        return self.keep("overlap %s %s %s %d" % (kind, a, b, seed), measure)

    def merged(self, kind, names, seed, method, lam, part):
        """Accuracy on each task of the merge of the patches of these tasks."""
        patches = [self.tasks.patch(kind, t, seed) for t in names]
        argv = list(METHODS[method]) + (["--lambda", lam] if lam else []) + (["--seed", str(seed)] if method == "DARE" else [])
        if method == "Fisher":
            for t in names:
                argv += ["--scores", self.tasks.fisher(kind, t, seed)]

        def measure():
            out, accuracies = self.bench.path("merged.fmp"), {}
            for i, t in enumerate(names):
                self.bench.run(self.bench.fmpatch, "merge", *argv, "--added", str(i + 1), self.tasks.base, *patches,
                               "-o", out, "-f")
                accuracies[t] = self.accuracy(out, t, part)
            return accuracies
        return self.keep("merged %s %d %d %s %s %s" % (kind, len(names), seed, method, lam or "-", part), measure)

    def best_lambda(self, kind, names, seed, method):
        """The lambda with the best mean on validation data; None where the method takes none."""
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
    """Pairs of the first k tasks: shared elements, Jaccard, sign conflicts; mean, least and most."""
    names, rows = list(TASKS)[:k], []
    for kind in kinds:
        got = [m.overlap(kind, a, b, seed) for i, a in enumerate(names) for b in names[i + 1 :]]
        rows.append([kind] + spread(got))
    return rows


def main():
    parser = options(__doc__)
    parser.add_argument("--k", default="2,4,8")
    args = parser.parse_args()
    kinds, sizes = args.kinds.split(","), [int(k) for k in args.k.split(",")]
    seeds = [int(s) for s in args.seeds.split(",")]
    m = Merging(open_tasks(args), os.path.join(args.work, "accuracy.json"))
    found = measure_all(m, kinds, sizes, seeds)


if __name__ == "__main__":
    main()

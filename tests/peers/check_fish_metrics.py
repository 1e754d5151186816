#!/usr/bin/env python3
"""Compares the metrics of fmpatch-fish eval with scikit-learn's and SciPy's.

usage: check_fish_metrics.py FMPATCH_FISH MODEL_DIR DATA [--samples N]

MODEL_DIR is a BERT-family checkpoint, DATA is JSONL with text and label.  A head of random weights
is put on a copy; `predict` gives the outputs of N texts, from which the libraries work out what
`eval --json` must say: with the labels as they are, with 5 made-up classes, and as numbers.  Exit
status 1 when a figure differs by more than 1e-6; 77 without the libraries.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import transformers
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import (accuracy_score, confusion_matrix, f1_score, log_loss,
                                 matthews_corrcoef)

    from check_fish_fisher import make_base, take
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)


def expected(out, labels, classes):
    if classes is None:
        values = np.array([float(v) for v in labels])
        return {"spearman": spearmanr(out[:, 0], values).statistic,
                "pearson": pearsonr(out[:, 0], values).statistic,
                "mse": np.mean((out[:, 0] - values) ** 2)}, None
    truth = np.array([classes.index(v) for v in labels])
    said = out.argmax(1)
    p = np.exp(out - out.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    average = "binary" if len(classes) == 2 else "macro"
    return {"loss": log_loss(truth, p, labels=range(len(classes))),
            "accuracy": accuracy_score(truth, said),
            "f1": f1_score(truth, said, average=average, zero_division=0),
            "mcc": matthews_corrcoef(truth, said)}, \
        confusion_matrix(truth, said, labels=range(len(classes))).tolist()


def check(args, work, rows, labels, classes, name):
    base = os.path.join(work, name)
    data = os.path.join(work, f"{name}.jsonl")
    make_base(args.model, len(classes) if classes else 1, base)
    with open(data, "w", encoding="utf-8") as f:
        for row, label in zip(rows, labels):
            f.write(json.dumps({"text": row["text"], "label": label}) + "\n")
    rest = [os.path.join(base, "model.safetensors"), data, "--json", "--max-tokens", "32"]
    rest += [] if classes else ["--regression"]
    told = json.loads(subprocess.run([args.fish, "eval", *rest], check=True, text=True,
                                     stdout=subprocess.PIPE).stdout)
    lines = subprocess.run([args.fish, "predict", *rest], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    out = np.array([json.loads(x).get("logits") or [json.loads(x)["value"]] for x in lines])
    want, confusion = expected(out.astype(np.float64), labels, classes)
    worst = max(abs(told["metrics"][k] - v) for k, v in want.items())
    good = worst <= 1e-6 and (confusion is None or told["confusion"] == confusion)
    print(f"{name:10} {len(rows)} examples  largest difference {worst:.1e}  "
          f"{'ok' if good else f'BAD: {told}, expected {want} {confusion}'}")
    return good


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("fish")
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--samples", type=int, default=200)
    args = p.parse_args()
    transformers.logging.set_verbosity_error()
    rows, classes = take(args.data, args.samples)
    labels = [r["label"] for r in rows]
    five = [str(len(r["text"]) % 5) for r in rows]
    numbers = [round(len(r["text"]) % 7 / 2, 1) for r in rows]  # many ties
    with tempfile.TemporaryDirectory() as work:
        good = [check(args, work, rows, labels, classes, "labels"),
                check(args, work, rows, five, sorted(set(five)), "five"),
                check(args, work, rows, numbers, None, "numbers")]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()

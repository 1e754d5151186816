#!/usr/bin/env python3
"""Base + patch in transformers: trains a small task with fmpatch fish, applies the patch with fmpatch, loads the
result as BertForSequenceClassification and holds its logits to those of `fish predict` (1e-4), its
accuracy to that of `fish eval`.  In fp32, with a base in bf16, and with mean pooling.
usage: check_fish_predict.py TOOLS MINILM_DIR DATA_DIR      (DATA_DIR: train.tsv, test.tsv)
Ends with 'N passed, M failed'.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

TOKENS = 32


def run(*args):
    return subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, check=True, text=True).stdout


def texts_of(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f][1:]


def theirs_mean(folder, rows):
    """BertModel, the mean of its rows, and the head that the patch added."""
    model = BertModel.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    head = load_file(folder + "/model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = []
    with torch.no_grad():
        for at in range(0, len(rows), 32):
            x = tokenizer([r[0] for r in rows[at : at + 32]], padding=True, truncation=True, max_length=TOKENS,
                          return_tensors="pt")
            mask = x["attention_mask"].unsqueeze(-1)
            mean = (model(**x).last_hidden_state * mask).sum(1) / mask.sum(1)
            out.append(mean @ head["classifier.weight"].T + head["classifier.bias"])
    return torch.cat(out)


def theirs(folder, rows, n_labels):
    model, report = BertForSequenceClassification.from_pretrained(
        folder, num_labels=n_labels, output_loading_info=True, dtype=torch.float32)
    if report["missing_keys"] or report["unexpected_keys"]:
        raise SystemExit("0 passed, 1 failed: %s" % report)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = []
    with torch.no_grad():
        for at in range(0, len(rows), 32):
            x = tokenizer([r[0] for r in rows[at : at + 32]], padding=True, truncation=True, max_length=TOKENS,
                          return_tensors="pt")
            out.append(model(**x).logits)
    return torch.cat(out)


def check(tools, minilm, data, dtype, pooling):
    rows = texts_of(data + "/test.tsv")[:200]
    with tempfile.TemporaryDirectory() as work:
        base, tuned = work + "/base", work + "/tuned"
        shutil.copytree(minilm, base)
        shutil.copytree(minilm, tuned)
        if dtype == "bf16":
            state = {k: v.bfloat16() if v.is_floating_point() else v for k, v in load_file(base + "/model.safetensors").items()}
            os.unlink(base + "/model.safetensors")
            save_file(state, base + "/model.safetensors")
        test = work + "/test.tsv"
        with open(test, "w", encoding="utf-8") as f:
            f.write("text\tlabel\n" + "".join("\t".join(r) + "\n" for r in rows))
        fish, fmpatch = tools + "/fmpatch-fish", tools + "/fmpatch"
        weights = base + "/model.safetensors"
        run(fish, "train", weights, data + "/train.tsv", "-o", work + "/task.fmp", "--max-tokens", TOKENS, "--samples", 64,
            "--lr", 2e-3, "--steps", 30, "--pooling", pooling, "-q")
        os.unlink(tuned + "/model.safetensors")
        run(fmpatch, "apply", weights, work + "/task.fmp", "-o", tuned + "/model.safetensors", "-q", "--allow-unsigned")
        lines = [json.loads(x) for x in run(fish, "predict", weights, work + "/task.fmp", test, "--max-tokens", TOKENS,
                                            "--json").splitlines()]
        ours = torch.tensor([x["logits"] for x in lines])
        accuracy = json.loads(run(fish, "eval", weights, work + "/task.fmp", test, "--max-tokens", TOKENS, "--json"))
        classes = json.loads(run(fmpatch, "inspect", work + "/task.fmp", "--json"))["manifest"]["task"]["classes"]
        want = theirs_mean(tuned, rows) if pooling == "mean" else theirs(tuned, rows, len(classes))
        gap = (ours - want).abs().max().item()
        right = sum(classes[i] == r[1] for i, r in zip(want.argmax(1).tolist(), rows)) / len(rows)
        print("%s, %s: largest difference of logits %.2e, accuracy %.4f and %.4f" % (dtype, pooling, gap, accuracy["metrics"]["accuracy"], right))
        return int(gap <= 1e-4) + int(abs(accuracy["metrics"]["accuracy"] - right) < 1e-9)


def main(tools, minilm, data):
    torch.set_num_threads(2)
    good = sum(check(tools, minilm, data, *how) for how in (("fp32", "cls"), ("bf16", "cls"), ("fp32", "mean")))
    print("%d passed, %d failed" % (good, 6 - good))
    return good != 6


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

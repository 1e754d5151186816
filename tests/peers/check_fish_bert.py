#!/usr/bin/env python3
"""Compares outputs and every gradient of libfish's BERT with PyTorch's, on a real checkpoint.

usage: check_fish_bert.py FISH_GRAD MODEL [--activation gelu_new|relu] [--prefix] [--float64]
                          [--all]

FISH_GRAD is the program built from fish_grad.c; MODEL a directory with config.json, vocab.txt and
model.safetensors of a BertModel (MiniLM, say).  Needs torch and transformers.  A head is added to a
copy, a batch of texts of varied lengths goes through both, and for each tensor the figure is
max |a - b| / max |b|.  Exit status 1 when one is above 1e-4.

The gradient of a key's bias is 0 in exact arithmetic (a softmax does not see what is added to all
its inputs); there the figure is taken relative to the greatest gradient of the query's bias.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

LIMIT = 1e-4
TEXTS = [
    "ok",
    "free money, click here to claim your prize before midnight",
    "Subject: minutes of the meeting on Thursday. Please find attached what we agreed upon.",
    "The library reads checkpoints and writes patches; nothing is mapped into memory. " * 3,
    "Ein kurzer deutscher Satz, damit auch seltene Wortstücke vorkommen.",
    "A text of some length about tensors, their names, and what a mask selects of them. " * 6,
    "12345 67890 !!! ??? ...",
]


def make_model(directory, out, activation, prefix):
    config = BertConfig.from_pretrained(directory)
    config.num_labels = 3
    config._attn_implementation = "eager"
    if activation:
        config.hidden_act = activation
    torch.manual_seed(5)
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    prefix = "bert." if prefix else ""
    tensors = {prefix + k: v for k, v in tensors.items() if v.is_floating_point()}
    tensors["classifier.weight"] = torch.randn(3, config.hidden_size) * 0.02
    tensors["classifier.bias"] = torch.randn(3) * 0.02
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    raw = config.to_dict()
    raw["num_labels"] = 3
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(raw, f)
    model, info = BertForSequenceClassification.from_pretrained(
        out, attn_implementation="eager", output_loading_info=True)
    if any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        sys.exit(f"transformers does not load the checkpoint: {info}")
    return model.eval()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("fish_grad")
    args.add_argument("model")
    args.add_argument("--activation")
    args.add_argument("--prefix", action="store_true")
    args.add_argument("--float64", action="store_true", help="let PyTorch compute in double")
    args.add_argument("--all", action="store_true", help="print every tensor, not the ten worst")
    args = args.parse_args()
    tokenizer = BertTokenizerFast(os.path.join(args.model, "vocab.txt"))
    rows = tokenizer(TEXTS, truncation=True, max_length=128)
    with tempfile.TemporaryDirectory() as tmp:
        model = make_model(args.model, tmp, args.activation, args.prefix)
        if args.float64:
            model = model.double()
        batch = tokenizer.pad(rows, return_tensors="pt")
        logits = model(**batch).logits
        logits.retain_grad()
        labels = torch.arange(len(TEXTS)) % 3
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
        starts = [0]
        for ids in rows["input_ids"]:
            starts.append(starts[-1] + len(ids))
        flat = lambda key: torch.tensor(sum(rows[key], []), dtype=torch.int32)
        batch_path = os.path.join(tmp, "batch.safetensors")
        out = os.path.join(tmp, "out.safetensors")
        save_file({"ids": flat("input_ids"), "types": flat("token_type_ids"),
                   "start": torch.tensor(starts, dtype=torch.int32),
                   "d_outputs": logits.grad.float().contiguous()}, batch_path)
        subprocess.run([args.fish_grad, tmp, batch_path, out], check=True)
        ours = load_file(out)
    lengths = [b - a for a, b in zip(starts, starts[1:])]
    print(f"{starts[-1]} tokens in {len(TEXTS)} texts of {lengths}")
    figures = [("outputs", compare(ours.pop("outputs"), logits.detach()))]
    grads = {n: p.grad for n, p in model.named_parameters()}
    for name, grad in grads.items():
        key = "grad." + (name if args.prefix or not name.startswith("bert.") else name[5:])
        scale = grads[name.replace(".key.bias", ".query.bias")].abs().max()
        figures.append((name, compare(ours.pop(key), grad, scale)))
    figures.sort(key=lambda f: -f[1])
    for name, figure in figures if args.all else figures[:10]:
        print(f"{figure:.2e}  {name}")
    if ours:
        sys.exit(f"gradients that PyTorch does not have: {sorted(ours)}")
    print(f"worst of {len(figures)}: {figures[0][1]:.2e}, limit {LIMIT:.0e}")
    sys.exit(figures[0][1] > LIMIT)


def compare(ours, theirs, scale=None):
    scale = theirs.abs().max() if scale is None else scale
    return float((ours.double() - theirs.double()).abs().max() / scale)


if __name__ == "__main__":
    main()

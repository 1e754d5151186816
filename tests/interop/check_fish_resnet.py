#!/usr/bin/env python3
"""Holds libfish's residual networks and perceptrons against PyTorch's.

usage: check_fish_resnet.py FISH_GRAD_IMAGE [-v]

For several config.json, with random weights and running statistics: outputs and the gradient of
every tensor, with running statistics and with those of the batch, and the running statistics after
that, against PyTorch in double precision.  max|a - b| / max|b| of each tensor must be at most 1e-4,
of outputs 1e-5, or at most twice the worst error of PyTorch in float: a deep network that
normalises by few values turns a ReLU over at the last bit.  Also: what fish_model_new() makes loads
into the PyTorch model, and is spread like PyTorch's own.
Needs torch and safetensors; exits 77 without them.
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError:
    print("skipped: no torch or safetensors package")
    sys.exit(77)

import torch_image_models as models

LIMIT = 1e-4
LIMIT_OUTPUTS = 1e-5

CASES = {
    "resnet-18, width 16, 28 x 28": (16, {
        "model_type": "resnet", "layers": [2, 2, 2, 2], "width": 16, "stem": "small",
        "image_size": 28, "num_labels": 10}),
    "resnet-18, width 16, pooled stem, odd size": (5, {
        "model_type": "resnet", "layers": [2, 2, 2, 2], "width": 16, "stem": "small-pool",
        "image_size": [31, 26], "num_labels": 10}),
    "resnet-34, 3 channels, 96 x 96": (4, {
        "model_type": "resnet", "layers": [3, 4, 6, 3], "width": 32, "in_channels": 3,
        "image_size": 96, "num_labels": 10}),
    "resnet-50, 3 channels, 112 x 112": (3, {
        "model_type": "resnet", "layers": [3, 4, 6, 3], "block": "bottleneck", "width": 32,
        "in_channels": 3, "image_size": 112, "num_labels": 100}),
    "wide bottleneck, three stages": (6, {
        "model_type": "resnet", "layers": [1, 2, 1], "block": "bottleneck", "widths": [8, 12, 20],
        "width_per_group": 128, "stem": "small", "in_channels": 3, "image_size": [20, 24],
        "num_labels": 7, "norm_eps": 1e-3}),
    "cifar resnet-20": (16, {
        "model_type": "resnet", "layers": [3, 3, 3], "width": 16, "stem": "small",
        "in_channels": 3, "image_size": 32, "num_labels": 10}),
    "mlp relu": (32, {"model_type": "mlp", "sizes": [784, 256, 128, 10]}),
    "mlp gelu": (32, {"model_type": "mlp", "sizes": [192, 100, 50, 5], "activation": "gelu",
                      "in_channels": 3, "image_size": 8}),
}


def relative(got, want):
    most = want.abs().max().item()
    return (got.double() - want.double()).abs().max().item() / (most if most else 1.0)


def randomise(model):
    """Statistics and affine parts that a trained network could have."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.2)
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)


def run(model, pixels, d_outputs, batch_mode):
    """Outputs, gradients and running statistics by name."""
    model.train(batch_mode)
    outputs = model(pixels)
    (outputs * d_outputs).sum().backward()
    kept = {k: t for k, t in models.tensors(model).items() if "running" in k}
    return {"outputs": outputs.detach(), **models.gradients(model), **kept}


def compare(program, config, n, model, where, batch_mode):
    state = {k: v.clone().contiguous() for k, v in models.tensors(model).items()}
    base = where / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text(json.dumps(config))
    save_file(state, base / "model.safetensors")
    pixels = torch.randn(n, *models.image_shape(config))
    d_outputs = torch.randn(n, config.get("num_labels") or config["sizes"][-1])
    save_file({"pixels": pixels, "d_outputs": d_outputs}, where / "batch.safetensors")
    subprocess.run([program, base, where / "batch.safetensors", where / "out.safetensors"]
                   + (["batch"] if batch_mode else []), check=True)
    got = load_file(where / "out.safetensors")

    want = run(copy.deepcopy(model).double(), pixels.double(), d_outputs.double(), batch_mode)
    plain = run(copy.deepcopy(model), pixels, d_outputs, batch_mode)
    assert set(want) == set(got), set(want) ^ set(got)
    return ({k: relative(got[k], want[k]) for k in want},
            {k: relative(plain[k], want[k]) for k in want})


def check_new(program, config, where):
    (where / "new.json").write_text(json.dumps(config))
    subprocess.run([program, "--new", where / "new.json", where / "made", "7"], check=True)
    made = load_file(where / "made" / "model.safetensors")
    model = models.build(config)
    wanted = models.tensors(model)
    inner = model.net if isinstance(model, models.Flat) else model
    missing, unexpected = inner.load_state_dict(made, strict=False)
    problems = [f"{k} missing" for k in missing if not k.endswith("num_batches_tracked")]
    problems += [f"{k} unexpected" for k in unexpected]
    for name, t in models.build(config).state_dict().items():
        name = name.removeprefix("net.")
        if name not in wanted or t.numel() < 1000 or not t.std():
            continue
        ratio = made[name].std().item() / t.std().item()
        if abs(ratio - 1) > 0.2 or abs(made[name].mean()) > 0.2 * t.std():
            problems.append(f"{name}: {ratio:.3f} times PyTorch's spread")
    return problems


def main():
    program, verbose = sys.argv[1], "-v" in sys.argv[2:]
    torch.manual_seed(1)
    torch.set_num_threads(1)
    failed = False
    for title, (n, config) in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            where = pathlib.Path(scratch)
            for batch_mode in (False, True) if config["model_type"] == "resnet" else (False,):
                model = models.build(config)
                randomise(model)
                errors, plain = compare(program, config, n, model, where, batch_mode)
                worst = max((e, k) for k, e in errors.items() if k != "outputs")
                floor = 2 * max(plain.values()) if batch_mode else 0
                bad = {k: e for k, e in errors.items()
                       if not e <= max(floor, LIMIT_OUTPUTS if k == "outputs" else LIMIT)}
                failed |= bool(bad)
                print(f"{title}, {'batch' if batch_mode else 'running'} statistics: outputs "
                      f"{errors['outputs']:.1e}, worst of {len(errors) - 1} tensors {worst[0]:.1e} "
                      f"({worst[1]}); PyTorch in float {max(plain.values()):.1e}"
                      f"{': FAILED' if bad else ''}")
                for name, e in errors.items() if verbose else bad.items():
                    print(f"    {name} {e:.2e}")
            for problem in check_new(program, config, where):
                print(f"{title}: new: {problem}")
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

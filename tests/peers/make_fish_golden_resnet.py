#!/usr/bin/env python3
"""
Writes tests/unit/fish_resnet_golden.h and fish_mlp_golden.h: outputs, gradients and running
statistics of tiny models as PyTorch computes them.  Weights and images are those of
gradcheck_number() in tests/unit/fish_gradcheck.h, so that only results are stored.

usage: make_fish_golden_resnet.py [DIRECTORY]
"""
import json
import pathlib
import sys

import numpy
import torch

import torch_image_models as models

RESNETS = [
    {"model_type": "resnet", "layers": [1, 1], "widths": [4, 5], "stem": "imagenet",
     "in_channels": 2, "image_size": [13, 11], "num_labels": 3},
    {"model_type": "resnet", "layers": [2], "width": 3, "stem": "small", "image_size": 5,
     "num_labels": 2},
    {"model_type": "resnet", "layers": [1, 1], "width": 2, "block": "bottleneck",
     "stem": "small-pool", "image_size": 9, "num_labels": 3, "norm_eps": 0.001},
]
MLPS = [
    {"model_type": "mlp", "sizes": [9, 7, 5, 3]},
    {"model_type": "mlp", "sizes": [9, 7, 5, 3], "activation": "gelu"},
]
N_IMAGES = 4


def numbers(name, n):
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    x = (numpy.arange(n, dtype=numpy.uint64) * 2654435761 + h) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    return torch.from_numpy(((x >> 8).astype(numpy.float64) / 16777216.0 - 0.5).astype("float32"))


def fill(model):
    for name, t in models.tensors(model).items():
        x = numbers(name, t.numel())
        if "running_var" in name or (t.dim() == 1 and "weight" in name):
            x += 1
        t.copy_(x.view(t.shape))


def run(model, config, train):
    shape = (N_IMAGES, *models.image_shape(config))
    pixels = 2 * numbers("pixels", int(numpy.prod(shape))).view(shape)
    model.train(train)
    model.zero_grad()
    y = model(pixels)
    (y * 2 * numbers("d_outputs", y.numel()).view(y.shape)).sum().backward()
    return y.detach(), models.gradients(model)


def floats(name, tensors):
    flat = torch.cat([t.flatten() for t in tensors]).tolist()
    words = [f"{x:.7g}" for x in flat]
    words = [w if any(c in w for c in ".e") else w + ".0" for w in words]
    lines, line = [], "   "
    for w in words:
        if len(line) + len(w) + 3 > 100:
            lines.append(line)
            line = "   "
        line += f" {w}f,"
    lines.append(line)
    return f"static const float {name}[] = {{\n" + "\n".join(lines) + "\n};\n", len(flat)


def head(guard, what):
    return (f"/* Made by tests/peers/make_fish_golden_resnet.py: {what} */\n"
            f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n\n"
            "/* clang-format off */\n")


def quote(config):
    return json.dumps(json.dumps(config))


def mlp_header():
    out = [head("FISH_MLP_GOLDEN_H", "perceptrons in PyTorch.")]
    rows = []
    for k, config in enumerate(MLPS):
        model = models.build(config)
        fill(model)
        y, g = run(model, config, False)
        out.append(floats(f"mlp_outputs_{k}", [y])[0])
        text, n = floats(f"mlp_gradients_{k}", g.values())
        out.append(text)
        rows.append(f"    {{{quote(config)},\n     {N_IMAGES}, mlp_outputs_{k}, mlp_gradients_{k}, "
                    f"{n}}},")
    out.append("typedef struct mlp_golden_case {\n    const char *config;\n    unsigned n_images;\n"
               "    const float *outputs;\n    const float *gradients; /* in order of parameters */\n"
               "    size_t n_gradients;\n} mlp_golden_case;\n\n"
               "static const mlp_golden_case mlp_golden[] = {\n" + "\n".join(rows) + "\n};\n")
    out.append("/* clang-format on */\n\n#endif\n")
    return "\n".join(out)


def resnet_header():
    out = [head("FISH_RESNET_GOLDEN_H",
                "residual networks in PyTorch.  Gradients are\n"
                " * in the order of libfish's parameters, running statistics left out.")]
    rows = []
    for k, config in enumerate(RESNETS):
        parts = []
        for train in (False, True):
            model = models.build(config)
            fill(model)
            y, g = run(model, config, train)
            word = "batch" if train else "running"
            out.append(floats(f"resnet_{word}_outputs_{k}", [y])[0])
            text, n = floats(f"resnet_{word}_gradients_{k}", g.values())
            out.append(text)
            parts.append(f"resnet_{word}_outputs_{k}, resnet_{word}_gradients_{k}")
        kept = [t for name, t in models.tensors(model).items() if "running" in name]
        text, n_kept = floats(f"resnet_statistics_{k}", kept)
        out.append(text)
        rows.append(f"    {{{quote(config)},\n     {N_IMAGES},\n     {parts[0]},\n     {parts[1]},\n"
                    f"     {n}, resnet_statistics_{k}, {n_kept}}},")
    out.append("typedef struct resnet_golden_case {\n    const char *config;\n"
               "    unsigned n_images;\n    const float *running_outputs, *running_gradients;\n"
               "    const float *batch_outputs, *batch_gradients; /* by statistics of the batch */\n"
               "    size_t n_gradients;\n"
               "    const float *statistics; /* running ones after that pass */\n"
               "    size_t n_statistics;\n} resnet_golden_case;\n\n"
               "static const resnet_golden_case resnet_golden[] = {\n" + "\n".join(rows) + "\n};\n")
    out.append("/* clang-format on */\n\n#endif\n")
    return "\n".join(out)


def main():
    here = pathlib.Path(__file__).resolve().parent.parent / "unit"
    where = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    torch.manual_seed(0)
    torch.set_num_threads(1)
    (where / "fish_mlp_golden.h").write_text(mlp_header())
    (where / "fish_resnet_golden.h").write_text(resnet_header())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes patches of small random checkpoints with the program and applies them with read_fmp.py.

usage: check_reader.py [FMPATCH] [--count N] [--seed S] [--keep DIR]

read_fmp.py knows nothing but FORMAT.md.  Each target that it makes must be the original byte for
byte, and load with the safetensors package; reversible patches must give the base back; damaged
patches must be refused.  Exits 77 without numpy, safetensors or zstandard.
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import safetensors
    import safetensors.numpy
    import zstandard  # pylint: disable=unused-import
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import read_fmp

# Bits of an element.
DTYPES = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
          "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "I64": 64, "U64": 64,
          "F64": 64, "F4": 4}
FLOATS = {"F16": "f2", "F32": "f4", "F64": "f8", "BF16": "bf", "C64": "f4"}
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")


class Tensor:
    """A dtype, a shape and bytes."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), bytes(data)


def n_bytes(dtype, shape):
    return int(np.prod(shape, dtype=np.int64)) * DTYPES[dtype] // 8


def content(rng, dtype, size):
    """Bytes as weights have them, or random ones, or few different ones."""
    kind = rng.choice(["weights", "weights", "random", "zero", "few"])
    if dtype == "BOOL":
        return rng.np.integers(0, 2, size, np.uint8).tobytes()
    if kind == "weights" and dtype in FLOATS:
        code = FLOATS[dtype]
        width = 4 if code == "bf" else int(code[1])
        values = rng.np.standard_normal(size // (2 if code == "bf" else width)) * 0.02
        if code == "bf":
            return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return values.astype("<" + code).tobytes()
    if kind == "zero":
        return bytes(size)
    if kind == "few":
        return bytes(rng.np.choice(np.frombuffer(b"\0\x3f\x80\xbf", np.uint8), size))
    return rng.np.bytes(size)


def random_shape(rng, dtype, most):
    rank = rng.choice([0, 1, 1, 2, 2, 3])
    shape = [max(1, int(rng.random() ** 2 * most ** (1 / rank))) for _ in range(rank)]
    if rank and rng.random() < 0.06:
        shape[rng.randrange(rank)] = 0
    if dtype == "F4":
        shape = (shape or [1]) + [2]
    return shape


def random_tensor(rng, most=20000):
    dtype = rng.choice(list(DTYPES))
    shape = random_shape(rng, dtype, most)
    return Tensor(dtype, shape, content(rng, dtype, n_bytes(dtype, shape)))


def change_units(rng, data, width, kind):
    """The same bytes with some units of `width` bytes changed in one of several ways."""
    units = np.frombuffer(data, f"<u{width}", count=len(data) // width).copy()
    n = len(units)
    if n == 0:
        return data
    if kind == "one":
        at = np.array([rng.randrange(n)])
    elif kind == "full":
        at = np.arange(n)
    elif kind == "runs":
        mask = np.zeros(n, bool)
        for _ in range(rng.randrange(1, 9)):
            begin = rng.randrange(n)
            mask[begin:begin + rng.randrange(1, 200)] = True
        at = np.flatnonzero(mask)
    else:
        share = {"sparse": 0.003, "some": 0.03, "dense": 0.4, "most": 0.97}[kind]
        at = np.flatnonzero(rng.np.random(n) < share)
    way = rng.choice(["step", "steps", "random", "up", "sign", "zero"])
    new = units[at]
    if way == "step":
        new = new + rng.np.choice(np.array([1, 2 ** (8 * width) - 1], units.dtype), len(at))
    elif way == "steps":
        new = new + (rng.np.standard_normal(len(at)) * 40).astype(np.int64).astype(units.dtype)
    elif way == "random":
        new = np.frombuffer(rng.np.bytes(len(at) * width), units.dtype)
    elif way == "up":
        new = new + units.dtype.type(1)
    elif way == "sign":
        new = new ^ units.dtype.type(1 << (8 * width - 1))
    else:
        new = np.zeros(len(at), units.dtype)
    units[at] = new
    return units.tobytes() + data[n * width:]


CHANGES = ["one", "full", "runs", "sparse", "some", "dense", "most"]


def change_tensor(rng, tensor, kind=None):
    width = max(1, min(DTYPES[tensor.dtype], 64) // 8)
    if tensor.dtype == "C64":
        width = 4
    if rng.random() < 0.1:
        width = 1
    data = change_units(rng, tensor.data, width, kind or rng.choice(CHANGES))
    if tensor.dtype == "BOOL":
        data = (np.frombuffer(data, np.uint8) & 1).tobytes()
    return Tensor(tensor.dtype, tensor.shape, data)


def random_names(rng, n):
    parts = ["model", "layers", "q_proj", "weight", "bias", "äöü", 'quo"te', "back\\slash", "x"]
    names = set()
    while len(names) < n:
        names.add(".".join(rng.choice(parts) for _ in range(rng.randrange(1, 5)))
                  + rng.choice(["", f".{rng.randrange(100)}"]))
    return sorted(names, key=lambda _: rng.random())


def random_pair(rng, n, most=20000):
    """Two checkpoints with every kind of row between them."""
    base = {name: random_tensor(rng, most) for name in random_names(rng, n)}
    target, free = {}, iter(f"new.{i}" for i in range(1000))
    for name, tensor in base.items():
        way = rng.choice(["keep", "change", "change", "change", "grow", "reshape", "remove", "rename",
                          "retype", "tie", "other"])
        if way == "keep":
            target[name] = tensor
        elif way == "grow" and tensor.shape and tensor.dtype != "F4":
            shape = [tensor.shape[0] + rng.randrange(1, 5)] + tensor.shape[1:]
            more = n_bytes(tensor.dtype, shape) - len(tensor.data)
            old = tensor if rng.random() < 0.5 else change_tensor(rng, tensor, "sparse")
            target[name] = Tensor(tensor.dtype, shape,
                                  old.data + content(rng, tensor.dtype, more))
        elif way == "reshape":
            flat = [int(np.prod(tensor.shape, dtype=np.int64)), 1]
            target[name] = Tensor(tensor.dtype, flat, tensor.data)
        elif way == "remove":
            pass
        elif way == "rename":
            target[next(free)] = tensor if rng.random() < 0.6 else change_tensor(rng, tensor)
        elif way == "retype" and DTYPES[tensor.dtype] == 16:
            target[name] = Tensor("U16", tensor.shape, tensor.data)
        elif way == "tie" and tensor.data:
            changed = change_tensor(rng, tensor)
            target[name] = changed
            target[next(free)] = changed
        elif way == "other":
            target[name] = random_tensor(rng, most)
        else:
            target[name] = change_tensor(rng, tensor)
    for _ in range(rng.randrange(3)):
        target[next(free)] = random_tensor(rng, most)
    return base, target


def write_tensors(rng, path, tensors, metadata=None):
    """A safetensors file, in an order and a spelling of its own."""
    order = list(tensors)
    style = rng.choice(["reference", "reference", "names", "spaced", "odd"])
    if style == "reference":
        order.sort(key=lambda name: (-DTYPES[tensors[name].dtype], name))
    elif style == "names":
        order.sort()
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name in order:
        tensor = tensors[name]
        end = at + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end]}
        at = end
    separators = (", ", ": ") if style == "spaced" else (",", ":")
    if style == "odd":
        text = json.dumps(header, indent=1, ensure_ascii=rng.random() < 0.5).encode()
    else:
        text = json.dumps(header, separators=separators, ensure_ascii=False).encode()
    if rng.random() < 0.9:
        text += b" " * (-len(text) % 8)
    else:
        text += b" " * rng.randrange(40)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.write(b"".join(tensors[name].data for name in order))


def write_directory(rng, path, tensors, n_files, sides):
    os.makedirs(path)
    names = list(tensors)
    weight_map = {}
    for i in range(n_files):
        name = f"model-{i + 1:05}-of-{n_files:05}.safetensors" if n_files > 1 else "model.safetensors"
        mine = names[i::n_files]
        write_tensors(rng, os.path.join(path, name), {k: tensors[k] for k in mine})
        weight_map.update({k: name for k in mine})
    if n_files > 1:
        with open(os.path.join(path, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
            json.dump({"metadata": {}, "weight_map": weight_map}, file)
    for name, data in sides.items():
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        with open(os.path.join(path, name), "wb") as file:
            file.write(data)


def read_all(path):
    """The files of a checkpoint by name; one file has the name ''."""
    if path.endswith(".index.json"):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return {b"": file.read()}
    result = {}
    for folder, _, names in os.walk(os.fsencode(path)):
        for name in names:
            full = os.path.join(folder, name)
            with open(full, "rb") as file:
                result[os.path.relpath(full, os.fsencode(path))] = file.read()
    return result


class Checker:
    """Counts, and runs one case after the other in a directory of its own."""

    def __init__(self, program, work, seed):
        self.program, self.work, self.seed = program, work, seed
        self.passed, self.failed, self.n = 0, 0, 0
        self.seen = {}
        self.states = {}

    def random(self, label):
        rng = random.Random(f"{self.seed}-{label}")
        rng.np = np.random.default_rng([self.seed, rng.randrange(1 << 32)])
        return rng

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.returncode}: {done.stderr.strip()}")

    def case(self, label, make, options=()):
        """`make` writes base and target and returns their names in the work directory."""
        shutil.rmtree(self.work)
        os.mkdir(self.work)
        rng = self.random(label)
        try:
            base, target = (self.path(name) for name in make(self, rng))
            patch_path = self.path("task.fmp")
            self.run("create", "-q", "--no-progress", "-o", patch_path, *options, base, target)
            self.check(patch_path, base, target, "--reversible" in options)
            self.passed += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failed += 1
            print(f"FAILED {label} {' '.join(options)}: {type(error).__name__}: {error}")
            if os.environ.get("KEEP"):
                shutil.copytree(self.work, os.path.join(os.environ["KEEP"], label.replace(" ", "-")),
                                dirs_exist_ok=True)

    def check(self, patch_path, base, target, reversible):
        patch = read_fmp.open_patch(patch_path)
        is_dir, files = patch.apply(read_fmp.Checkpoint(base))
        self.compare("target", is_dir, files, target)
        units = 0
        for frame in patch.frames:
            exact = read_fmp.exact_changed(frame)
            assert frame.n_changed == exact, f"n_changed {frame.n_changed}, expected {exact}"
            units += exact if frame.domain == 0 else 0
            for block in frame.blocks:
                palette = block.apart and block.value_class == 3
                key = (block.kind, block.positions, block.complement, block.apart + palette)
                if block.model:
                    key = ("modelled", bool(block.model.by_row), bool(block.model.kept), bool(block.model.scale))
                self.seen[key] = self.seen.get(key, 0) + 1
        self.check_changes(patch, units)
        for name, data in files.items():
            if name.endswith(b".safetensors") or os.fspath(target).endswith(".safetensors"):
                self.load(data)
        assert not reversible or patch.ways_back() is not None, "not reversible"
        if patch.ways_back() is not None:
            is_dir, files = patch.revert(read_fmp.Checkpoint(target))
            self.compare("base", is_dir, files, base)

    def check_changes(self, patch, units):
        counts = {}
        for row in patch.rows:
            state = read_fmp.STATES[row.state]
            counts[state] = counts.get(state, 0) + 1
            self.states[state] = self.states.get(state, 0) + 1
        told = dict(patch.manifest.get("changes", {}))
        assert told.pop("units", 0) == units, "changes.units"
        assert told == counts, f"changes {told}, expected {counts}"

    @staticmethod
    def compare(what, is_dir, files, path):
        expected = read_all(path)
        if not is_dir and os.path.isfile(path):
            files = {b"": b"".join(files.values())}
        assert sorted(files) == sorted(expected), f"{what}: {sorted(files)}, not {sorted(expected)}"
        for name, data in expected.items():
            if files[name] != data:
                at = next((i for i, (a, b) in enumerate(zip(files[name], data)) if a != b), -1)
                raise AssertionError(f"{what} {name!r} differs at {at}: "
                                     f"{len(files[name])} bytes, expected {len(data)}")

    @staticmethod
    def load(data):
        """Lets the safetensors package read it; numpy has no types for some dtypes."""
        for _, entry in safetensors.deserialize(data):
            assert isinstance(entry["data"], (bytes, bytearray))
        dtypes = {e["dtype"] for _, e in safetensors.deserialize(data)}
        if not dtypes & {"BF16", "F4", "C64"} and not any(d.startswith("F8") for d in dtypes):
            safetensors.numpy.load(data)


# --- Cases

def files_pair(n, most=20000):
    def make(checker, rng):
        base, target = random_pair(rng, n, most)
        metadata = rng.choice([None, None, {"format": "pt"}, {"a": "ä\n\"", "b": ""}])
        write_tensors(rng, checker.path("a.safetensors"), base, metadata)
        write_tensors(rng, checker.path("b.safetensors"), target, metadata)
        return "a.safetensors", "b.safetensors"
    return make


def one_tensor(dtype, kind, size):
    def make(checker, rng):
        shape = [size // 4, 4]
        old = Tensor(dtype, shape, content(rng, dtype, n_bytes(dtype, shape)))
        state = rng.getstate()
        write_tensors(rng, checker.path("a.safetensors"), {"t": old})
        rng.setstate(state)
        write_tensors(rng, checker.path("b.safetensors"), {"t": change_tensor(rng, old, kind)})
        return "a.safetensors", "b.safetensors"
    return make


def large_tensor(percent):
    def make(checker, rng):
        n = 10 << 20
        values = (rng.np.standard_normal(n, np.float32) * np.float32(0.02)).view("<u4") >> 16
        old = values.astype("<u2")
        new = old.copy()
        at = np.flatnonzero(rng.np.random(n) < percent / 100)
        step = np.maximum(rng.np.geometric(0.6, len(at)), 1).astype("<u2")
        new[at] += np.where(rng.np.random(len(at)) < 0.5, step, np.uint16(0) - step)
        for name, data in (("a", old), ("b", new)):
            write_tensors(rng, checker.path(name + ".safetensors"),
                          {"w": Tensor("BF16", [n // 1024, 1024], data.tobytes())})
        return "a.safetensors", "b.safetensors"
    return make


def many_tensors(checker, rng):
    base = {f"layers.{i}.w": random_tensor(rng, 200) for i in range(3000)}
    target = {k: change_tensor(rng, t) if rng.random() < 0.5 else t for k, t in base.items()}
    write_tensors(rng, checker.path("a.safetensors"), base)
    write_tensors(rng, checker.path("b.safetensors"), target)
    return "a.safetensors", "b.safetensors"


def raw_pair(checker, rng):
    size = rng.choice([0, 1, 3, 7, 17, 1001, 65537, 3 * 65536 + 5, (1 << 20) + 3, (2 << 20) + 1])
    old = content(rng, "F32", size) if size % 4 == 0 else rng.np.bytes(size)
    new = change_units(rng, old, rng.choice([1, 2, 4, 8]), rng.choice(CHANGES))
    if rng.random() < 0.5:
        new = new[:rng.randrange(len(new) + 1)] if rng.random() < 0.5 else new + rng.np.bytes(99)
    for name, data in (("a.bin", old), ("b.bin", new)):
        with open(checker.path(name), "wb") as file:
            file.write(data)
    return "a.bin", "b.bin"


def directory_pair(checker, rng):
    base, target = random_pair(rng, rng.randrange(2, 12))
    config = json.dumps({"layers": rng.randrange(100)}).encode()
    sides = {"config.json": config, "tokenizer.json": rng.np.bytes(rng.randrange(3000)),
             "empty.txt": b"", "sub/merges.txt": b"a b\n" * rng.randrange(500)}
    others = dict(sides)
    others.pop(rng.choice(list(sides)))
    others["added.txt"] = rng.np.bytes(rng.randrange(100))
    if "config.json" in others:
        others["config.json"] += b"\n"
    write_directory(rng, checker.path("a"), base, rng.randrange(1, 4), sides)
    write_directory(rng, checker.path("b"), target, rng.randrange(1, 4), others)
    return "a", "b"


def mixed_pair(checker, rng):
    """A file on one side and a directory on the other."""
    base, target = random_pair(rng, 5)
    write_tensors(rng, checker.path("a.safetensors"), base)
    write_directory(rng, checker.path("b"), target, rng.randrange(1, 3), {"x.json": b"{}"})
    return ("a.safetensors", "b") if rng.random() < 0.5 else ("b", "a.safetensors")


def index_pair(checker, rng):
    base, target = random_pair(rng, 6)
    write_directory(rng, checker.path("a"), base, 2, {})
    write_directory(rng, checker.path("b"), target, 3, {})
    return "a/model.safetensors.index.json", "b/model.safetensors.index.json"


def renamed(checker, rng):
    old = random_tensor(rng)
    other = random_tensor(rng)
    write_tensors(rng, checker.path("a.safetensors"), {"old": old, "other": other})
    write_tensors(rng, checker.path("b.safetensors"),
                  {"new": change_tensor(rng, old), "other": other})
    return "a.safetensors", "b.safetensors"


def trained(dtype, kind):
    """Weights that move by steps of one size: all of them, or some rows and columns; maybe rounded."""
    def make(checker, rng):
        rows, cols = rng.choice([(100, 64), (37, 300), (1000, 7), (700, 768)])
        code = {"bf": "f4", "f2": "f2", "f8": "f8", "f4": "f4"}[FLOATS[dtype]]
        size = rows * cols * (2 if dtype == "C64" else 1)
        old = (rng.np.standard_normal(size) * 0.02).astype("<" + code)
        step = rng.np.standard_normal(size) * rng.choice([1e-5, 1e-3])
        if "rows" in kind:
            weight = np.outer(rng.np.random(rows) ** 8, rng.np.random(size // rows) ** 4).ravel()
            step[rng.np.random(size) > weight] = 0
        unit = f"<u{old.itemsize}"
        new = (old + step).astype(old.dtype)
        if "rounded" in kind:
            delta = new.view(unit).astype("<i8") - old.view(unit).astype("<i8")
            low = np.maximum(np.floor(np.log2(np.maximum(np.abs(delta), 1))).astype(int) - 2, 0)
            new = (old.view(unit).astype("<i8") + (delta >> low << low)).astype(unit).view(old.dtype)
        def data(x):
            return ((x.view("<u4") >> 16).astype("<u2") if FLOATS[dtype] == "bf" else x).tobytes()
        for name, x in (("a", old), ("b", new)):
            write_tensors(rng, checker.path(name + ".safetensors"), {"w": Tensor(dtype, [rows, cols], data(x))})
        return "a.safetensors", "b.safetensors"
    return make


def signed(checker):
    """Two signatures, one with a comment; and a patch whose signature is wrong by a bit."""
    with tempfile.TemporaryDirectory() as folder:
        keys = [os.path.join(folder, name) for name in ("one", "two")]
        for key in keys:
            checker.run("keygen", "-q", "-W", "-o", key)
        checker.case("signed", files_pair(3), [f"--sign={key}.key" for key in keys]
                     + ["--comment=a comment, ä"])
    path = checker.path("task.fmp")
    patch = read_fmp.open_patch(path)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[patch.body - 70] ^= 1
    try:
        read_fmp.Patch(data)
        rule = "accepted"
    except read_fmp.Refused as error:
        rule = error.rule
    right = len(patch.signers) == 2 and rule in ("G2", "G3", "G5")
    checker.passed += right
    checker.failed += not right
    if not right:
        print(f"FAILED signed: {len(patch.signers)} signatures, damaged: {rule}")


def damaged(checker):
    """Every byte of the annotated patch changed, and every shorter length, must be refused."""
    path = os.path.join(GOLDEN, "annotated.fmp")
    with open(path, "rb") as file:
        data = file.read()
    base = read_fmp.Checkpoint(os.path.join(GOLDEN, "annotated.base.safetensors"))
    read_fmp.Patch(data).apply(base)
    bad = [data[:n] for n in range(len(data))] + [data + b"\0"]
    for i, byte in enumerate(data):
        for other in (byte ^ 1, byte ^ 0x80):
            bad.append(data[:i] + bytes([other]) + data[i + 1:])
    for number, case in enumerate(bad):
        try:
            read_fmp.Patch(case).apply(base)
        except read_fmp.Refused:
            checker.passed += 1
            continue
        except Exception as error:  # pylint: disable=broad-except
            print(f"FAILED damaged {number}: {type(error).__name__}: {error}")
        else:
            print(f"FAILED damaged {number}: accepted")
        checker.failed += 1


def all_cases(checker, count):
    option_sets = [(), ("--reversible",), ("--values=set",), ("--no-check",),
                   ("--level=9",), ("--sha256", "--reversible"), ("--task=ä", "--date=2026-01-02T03:04:05Z"),
                   ("--profile=compact",), ("--profile=compact", "--level=8", "--no-check")]
    sizes = [4, 64, 3000, 80000]
    number = 0
    for dtype in DTYPES:
        for kind in CHANGES:
            options = ("--values=set",) if number % 4 == 3 else ()
            make = one_tensor(dtype, kind, sizes[number * 5 // 3 % 4])
            checker.case(f"{dtype} {kind}", make, options)
            checker.case(f"{dtype} {kind} compact", make, ("--profile=compact",))
            number += 1
    for i in range(count):
        options = option_sets[i % len(option_sets)]
        checker.case(f"pair {i}", files_pair(1 + i % 13), options)
        if i % 2 == 0:
            checker.case(f"directory {i}", directory_pair, options)
            width = ("auto", "8", "16", "32", "64")[i // 2 % 5]
            checker.case(f"raw {i}", raw_pair, options + (f"--width={width}",))
        if i % 8 == 0:
            checker.case(f"index {i}", index_pair, options)
            checker.case(f"mixed {i}", mixed_pair, options)
            checker.case(f"wide {i}", files_pair(3, 3000000), options)
            checker.case(f"as raw {i}", files_pair(3), options + ("--raw",))
    for i in range(6):
        checker.case(f"renamed {i}", renamed, ("--rename=old=new",))
    signed(checker)
    checker.case("many", many_tensors)
    for percent in (0.1, 1, 40):
        checker.case(f"large {percent}", large_tensor(percent), ("--reversible",))
    checker.case("large set", large_tensor(1), ("--values=set",))
    checker.case("large compact", large_tensor(1), ("--profile=compact",))
    for dtype in FLOATS:
        for kind in ("steps", "rows", "rounded", "rounded rows"):
            for level in (1, 3, 9):
                checker.case(f"{dtype} {kind} {level}", trained(dtype, kind),
                             ("--profile=compact", f"--level={level}"))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program", nargs="?", default=os.environ.get("FMPATCH") or
                        "build/tools/fmpatch")
    parser.add_argument("--count", type=int, default=112)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    if arguments.keep:
        os.environ["KEEP"] = arguments.keep
    with tempfile.TemporaryDirectory() as folder:
        work = os.path.join(folder, "work")
        os.mkdir(work)
        checker = Checker(os.path.abspath(arguments.program), work, arguments.seed)
        all_cases(checker, arguments.count)
        damaged(checker)
    print("blocks by (kind, positions, complement, 1 sign apart or 2 palette):",
          ", ".join(f"{k}: {v}" for k, v in sorted(checker.seen.items(), key=str)))
    print("rows:", ", ".join(f"{k}: {v}" for k, v in sorted(checker.states.items())))
    print(f"{checker.passed} passed, {checker.failed} failed")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())

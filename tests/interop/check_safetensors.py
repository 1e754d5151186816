#!/usr/bin/env python3
"""Compares our safetensors reader with the reference one over valid and invalid files.

usage: check_safetensors.py STORE_DUMP [--count N] [--seed S]

Every file goes to the safetensors library and to STORE_DUMP, strict and lenient.  Where both
accept, name, dtype, shape, offset and size of every tensor must agree.  Where they differ, the
difference must be one of those documented below.  Needs the safetensors package; exits 77
without it.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

try:
    import safetensors
except ImportError:
    print("skipped: no safetensors package")
    sys.exit(77)

# What we refuse though the reference accepts it: words of our error.
ALWAYS = ["found twice", "at most 2^48", "at most 32 dimensions", "nested deeper than"]
STRICT = ALWAYS + [
    "expected a name of 1 to 1024 bytes",
    "expected a printable name",
    "expected only spaces after its last brace",
    "expected it to begin with '{'",
    "expected dtype, shape, data_offsets, found \"",
    "__metadata__: expected an object, found null",
]

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}


def escape(name):
    out = []
    for c in name:
        out.append("\\x%02x" % ord(c) if ord(c) < 0x20 or c in "\\\x7f" else c)
    return "".join(out)


def reference(path):
    """The lines that STORE_DUMP would print, or None when the library refuses."""
    lines = []
    off = 0
    try:
        with safetensors.safe_open(path, "np") as f:
            for name in f.offset_keys():
                part = f.get_slice(name)
                shape = part.get_shape()
                n = BITS[part.get_dtype()]
                for d in shape:
                    n *= d
                lines.append("%s\t%s\t[%s]\t%d\t%d" % (escape(name), part.get_dtype(),
                                                       ",".join(map(str, shape)), off, n // 8))
                off += n // 8
    except safetensors.SafetensorError:
        return None
    return lines


def ours(dump, path, lenient):
    args = [dump] + (["--lenient"] if lenient else []) + [path]
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if r.returncode < 0 or b"Sanitizer" in r.stderr:
        return "crash", r.stderr.decode(errors="replace")
    if r.returncode:
        return None, r.stderr.decode(errors="replace")
    return r.stdout.decode().splitlines(), ""


def has_empty_overflow(path):
    """A shape that is empty, and whose product overflows before its 0: the order decides there."""
    with open(path, "rb") as f:
        data = f.read()
    try:
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        shapes = [v["shape"] for k, v in header.items() if k != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    for shape in shapes:
        n = 1
        for d in shape:
            n *= d
            if n * 64 >= 2 ** 64 and 0 in shape:
                return True
    return False


def has_duplicate(path):
    """A key that stands twice in one object, whatever error it meets first."""
    found = []

    def pairs(items):
        keys = [k for k, _ in items]
        found.extend([k for k in keys if keys.count(k) > 1])
        return dict(items)

    with open(path, "rb") as f:
        data = f.read()
    try:
        json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]], object_pairs_hook=pairs)
    except ValueError:
        return False
    return bool(found)


def differs(ref, mine, text, documented, path):
    """None, or what is wrong."""
    if mine == "crash":
        return "crash: " + text
    if ref is None and mine is None:
        return None
    if ref is None:
        return None if has_empty_overflow(path) else "the reference refuses, we accept"
    if mine is None:
        if any(words in text for words in documented) or has_duplicate(path):
            return None
        return "the reference accepts, we refuse: " + text
    # Tensors without bytes may lie in any order where they share an offset.
    if sorted(ref) != sorted(mine) or [r for r in ref if not r.endswith("\t0")] != \
            [m for m in mine if not m.endswith("\t0")]:
        return "expected\n  %s\nfound\n  %s" % ("\n  ".join(ref), "\n  ".join(mine))
    return None


def entry(name, dtype, shape, begin, end):
    return '"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}' % (
        name, dtype, json.dumps(shape, separators=(",", ":")), begin, end)


def fixed_cases():
    """(header, bytes of data): every dtype, and what the rules turn on."""
    for dtype, bits in BITS.items():
        for shape in ([], [8], [0], [3, 8], [4, 0, 2], [3], [2, 2, 2]):
            n = bits
            for d in shape:
                n *= d
            yield "{%s}" % entry("t", dtype, shape, 0, n // 8), n // 8
            yield "{%s}" % entry("t", dtype, shape, 0, n // 8 + 1), n // 8 + 1
    a = entry("a", "U8", [4], 0, 4)
    big = 2 ** 48
    for header, n in [
        ("{}", 0), ("{}", 1), ("", 0), ("{", 0), ("[]", 0), ("{}  ", 0), (" {}", 0), ("{}\n", 0),
        ("{}\t", 0), ("\ufeff{}", 0), ("{%s}" % a, 4), ("{%s}" % a, 3), ("{%s}" % a, 5),
        ("{%s,}" % a, 4), ("{%s,%s}" % (a, a), 4), ("{%s} x" % a, 4), ("{%s}{}" % a, 4),
        ('{"__metadata__":{"k":"v"},%s}' % a, 4), ('{%s,"__metadata__":{"k":"v"}}' % a, 4),
        ('{"__metadata__":null}', 0), ('{"__metadata__":[]}', 0), ('{"__metadata__":{"k":1}}', 0),
        ('{"__metadata__":{"k":null}}', 0), ('{"__metadata__":{"k":"1","k":"2"}}', 0),
        ('{"__metadata__":{},"__metadata__":{}}', 0),
        ('{"__metadata__":{"k":"\\n\\u0000"}}', 0),
        ("{%s,%s}" % (a, entry("a", "I8", [2, 2], 0, 4)), 4),
        ("{%s,%s}" % (a, entry("a", "U8", [4], 4, 8)), 8),
        ("{%s,%s}" % (a, entry("\\u0061", "U8", [1], 4, 5)), 5),
        ("{%s,%s}" % (a, entry("b", "U8", [4], 0, 4)), 4),
        ("{%s,%s}" % (a, entry("b", "U8", [2], 3, 5)), 5),
        ("{%s,%s}" % (a, entry("b", "U8", [2], 5, 7)), 7),
        ("{%s,%s}" % (entry("b", "U8", [2], 4, 6), a), 6),
        ("{%s,%s,%s}" % (a, entry("z", "F32", [0], 4, 4), entry("b", "U8", [1], 4, 5)), 5),
        ("{%s,%s}" % (a, entry("z", "F32", [0], 2, 2)), 4),
        ("{%s,%s}" % (a, entry("z", "F32", [0], 9, 9)), 4),
        ("{%s}" % entry("", "U8", [1], 0, 1), 1), ("{%s}" % entry("a\\u0000b", "U8", [1], 0, 1), 1),
        ("{%s}" % entry("a\\nb", "U8", [1], 0, 1), 1),
        ("{%s}" % entry("\u00e9\u20ac", "U8", [], 0, 1), 1),
        ("{%s}" % entry("\\ud83d\\ude00", "U8", [], 0, 1), 1),
        ("{%s}" % entry("\\ud83d", "U8", [], 0, 1), 1),
        ("{%s}" % entry("n" * 1025, "U8", [], 0, 1), 1),
        ("{%s}" % entry("a", "U8", [0, big], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [0, big + 1], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [big, big, 0], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [0, 2 ** 64 - 1, 2 ** 64 - 1], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [2 ** 64 - 1, 2, 0], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [2 ** 64, 0], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [2 ** 32, 2 ** 32], 0, 0), 0),
        ("{%s}" % entry("a", "U8", [1] * 32, 0, 1), 1),
        ("{%s}" % entry("a", "U8", [1] * 33, 0, 1), 1),
        ("{%s}" % entry("a", "u8", [1], 0, 1), 1), ("{%s}" % entry("a", "U9", [1], 0, 1), 1),
        ("{%s}" % entry("a", "U8", [-1], 0, 1), 1), ("{%s}" % entry("a", "U8", [1.0], 0, 1), 1),
        ("{%s}" % entry("a", "U8", 1, 0, 1), 1), ("{%s}" % entry("a", "U8", [1], 1, 0), 1),
        ('{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0),
        ('{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":"01"}}', 1),
        ('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1]}}', 1), ('{"a":null}', 0), ('{"a":[]}', 0),
        ('{"a":{}}', 0),
        ('{"a":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}', 1),
        ('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":[[]]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":[[[[[]]]]]}}', 1),
        ('{"a" : {"dtype" : "U8", "shape" : [ 1 ] ,\n"data_offsets":\t[ 0 , 1 ] } }', 1),
        ("{'a':1}", 0), ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}', 1),
    ]:
        yield header, n


def random_cases(rng, count):
    """Valid headers, most of them damaged in one to three places."""
    pieces = ['"', "{", "}", "[", "]", ",", ":", " ", "\n",
              "\\", "0", "1", "-", ".", "e", "\\u00e9",
              "\x01", "null", "true", '"x":1,', "\u00e9", "9" * 20]
    for _ in range(count):
        off = 0
        entries = []
        if rng.random() < 0.4:
            entries.append('"__metadata__":{"format":"pt"}')
        for i in range(rng.randrange(5)):
            dtype = rng.choice(list(BITS))
            shape = [rng.choice([0, 1, 2, 3, 8]) for _ in range(rng.randrange(4))]
            n = BITS[dtype]
            for d in shape:
                n *= d
            n = (n + 7) // 8
            entries.append(entry("t%d" % rng.randrange(8), dtype, shape, off, off + n))
            off += n
        if rng.random() < 0.2:
            rng.shuffle(entries)
        header = "{%s}" % ",".join(entries) + " " * rng.choice([0, 0, 3])
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            at = rng.randrange(len(header) + 1)
            cut = rng.choice([0, 0, 1, 1, 2, 5])
            header = header[:at] + rng.choice(pieces + [""] * 8) + header[at + cut:]
        yield header, max(0, off + rng.choice([0, 0, 0, 0, 0, 1, -1]))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("dump")
    args.add_argument("--count", type=int, default=1500)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    cases = list(fixed_cases()) + list(random_cases(random.Random(args.seed), args.count))
    n_accepted = n_documented = n_wrong = 0
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "case.safetensors")
        for header, n_data in cases:
            text = header.encode()
            with open(path, "wb") as f:
                f.write(struct.pack("<Q", len(text)) + text + bytes(n_data))
            ref = reference(path)
            n_accepted += ref is not None
            for lenient in False, True:
                mine, why = ours(args.dump, path, lenient)
                wrong = differs(ref, mine, why, ALWAYS if lenient else STRICT, path)
                if wrong:
                    n_wrong += 1
                    print("%s, %d bytes of data, %s:\n%s" % (
                        header, n_data, "lenient" if lenient else "strict", wrong))
                n_documented += (ref is None) != (mine is None) and not wrong
    print("%d files, %d accepted by safetensors %s, %d documented differences, %d others" % (
        len(cases), n_accepted, safetensors.__version__, n_documented, n_wrong))
    return 1 if n_wrong or not n_accepted else 0


if __name__ == "__main__":
    sys.exit(main())

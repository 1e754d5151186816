"""Safetensors files for the benchmarks: headers, tensors, rounding.  Needs numpy.

Knows no tool and no patch.  What is written here is what the public safetensors library writes: one
JSON header padded to 8 bytes, then the tensors without gaps in the header's order.
"""
import json
import struct

import numpy as np

WIDTH = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I8": 1, "U8": 1, "BOOL": 1}
UINT = {8: np.uint64, 4: np.uint32, 2: np.uint16, 1: np.uint8}


def parse(blob):
    """({name: (dtype, shape, bytes)}, metadata or None) of a whole file."""
    (n,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8 : 8 + n])
    meta = header.pop("__metadata__", None)
    view = memoryview(blob)[8 + n :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], view[begin:end])
    return tensors, meta


def read(path):
    with open(path, "rb") as f:
        return parse(f.read())


def head(entries, meta=None):
    """The bytes before the data, for [(name, dtype, shape, length)]."""
    header, at = {"__metadata__": meta} if meta else {}, 0
    for name, dtype, shape, length in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path, tensors, meta=None):
    with open(path, "wb") as f:
        f.write(head([(k, t, s, len(d)) for k, (t, s, d) in tensors.items()], meta))
        for _, _, data in tensors.values():
            f.write(data)


def bits(dtype, data):
    """A tensor's bytes as unsigned integers of its width."""
    return np.frombuffer(data, UINT[WIDTH[dtype]])


def round_bf16(values):
    """fp32 values to the bits of the nearest bf16, ties to even."""
    u = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def compare(base, target):
    """(elements both have, elements that differ) over the tensors of equal dtype and shape."""
    n_both = n_changed = 0
    for name, (dtype, shape, data) in target.items():
        if name in base and base[name][:2] == (dtype, shape):
            n_both += len(data) // WIDTH[dtype]
            n_changed += int((bits(dtype, base[name][2]) != bits(dtype, data)).sum())
    return n_both, n_changed

#!/usr/bin/env python3
"""Rounds every F32 tensor of a safetensors file to BF16, nearest even.  usage: bf16.py IN OUT

Standard library only, so that the quick start needs no numpy.  NaNs keep their sign and stay NaNs.
"""
import array
import json
import struct
import sys

CHUNK = 1 << 20  # elements at a time


def nearest(u):
    if u & 0x7FFFFFFF > 0x7F800000:
        return u >> 16 | 0x40
    return (u + 0x7FFF + (u >> 16 & 1)) >> 16


def rounded(data):
    """The bytes of fp32 values as the bytes of bf16 values."""
    bits = array.array("I")
    bits.frombytes(data)
    return array.array("H", map(nearest, bits)).tobytes()


def main(in_path, out_path):
    with open(in_path, "rb") as source, open(out_path, "wb") as out:
        (n,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(n))
        meta = header.pop("__metadata__", None)
        new, at = {"__metadata__": meta} if meta else {}, 0
        entries = sorted(header.items(), key=lambda entry: entry[1]["data_offsets"])
        for name, entry in entries:
            begin, end = entry["data_offsets"]
            is_f32 = entry["dtype"] == "F32"
            length = (end - begin) // 2 if is_f32 else end - begin
            new[name] = {"dtype": "BF16" if is_f32 else entry["dtype"], "shape": entry["shape"],
                         "data_offsets": [at, at + length]}
            at += length
        text = json.dumps(new, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(struct.pack("<Q", len(text)) + text)
        for _, entry in entries:
            begin, end = entry["data_offsets"]
            for at in range(begin, end, CHUNK * 4):
                data = source.read(min(CHUNK * 4, end - at))
                out.write(rounded(data) if entry["dtype"] == "F32" else data)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

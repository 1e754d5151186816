#!/usr/bin/env python3
"""Peers that are libraries or formats, each as a process of its own.

usage: peer_tool.py PEER create BASE TARGET PATCH
       peer_tool.py PEER apply BASE PATCH OUT

  z4ai, hdiffpatch   the packages of those names
  pulse              PULSEPT1 v3 of basilica-sdk, which codes bf16 tensors in memory: reading and writing
                     the file, and what is not bf16, are done here
  slime-like         re-created: dense XOR of each changed tensor, one zstd-1 frame each
  trl-like           re-created: int32 indices and new values of each changed tensor, in safetensors
  exponent-rice      re-created after what is published of PULSEPT1 v3: in each class of the base's
                     exponents the ranks of changed weights in Rice code (of the others where more
                     than half change), zig-zag differences of bit patterns, zstd-1 a tensor
The re-created three are this project's reading of those formats, not the projects' code.
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def load(path):
    with open(path, "rb") as f:
        return f.read()


def save(path, *parts):
    with open(path, "wb") as f:
        for part in parts:
            f.write(part)


def z4ai(verb, base, second, third):
    from z4ai import model_delta

    if verb == "create":
        model_delta.compress_file(second, base, third)
    else:
        model_delta.decompress_file(second, base, third)


def hdiffpatch(verb, base, second, third):
    import hdiffpatch as hp

    if verb == "create":
        save(third, hp.diff(load(base), load(second), compression="zstd", validate=False))
    else:
        save(third, hp.apply(load(base), load(second)))


def pulse(verb, base_path, second, third):
    import torch
    from basilica._pulse import codec

    import checkpoint

    def tensors(blob):
        """The bf16 tensors, over the blob's own memory."""
        found, _ = checkpoint.parse(blob)
        others = [k for k, (dtype, _, _) in found.items() if dtype not in ("BF16", "I64")]
        if others:
            raise SystemExit(f"bf16 only: {others[0]}")
        return {k: torch.frombuffer(data, dtype=torch.bfloat16).reshape(shape)
                for k, (dtype, shape, data) in found.items() if dtype == "BF16"}

    blob = bytearray(load(base_path))
    base = tensors(blob)
    if verb == "create":
        snapshot = codec.Snapshot(base)
        model = codec.ModelMeta("model", snapshot.digest(), snapshot.param_count())
        patch, _ = snapshot.encode_step(tensors(bytearray(load(second))).items(), step=1,
                                        base_step=0, model=model, format_version=3,
                                        workers=os.cpu_count() or 1)
        save(third, patch)
        return
    snapshot = codec.Snapshot(base)
    snapshot.apply_patch(codec.parse_patch(load(second)))
    for name, tensor in snapshot.named_tensors():
        base[name].copy_(tensor)
    save(third, blob)


def target_head(blob):
    """A safetensors file up to its data."""
    return bytes(blob[: 8 + struct.unpack_from("<Q", blob)[0]])


def changed_tensors(base, target):
    """(name, dtype, shape, old bits or None, new bits) of each tensor that is not in both alike."""
    import checkpoint

    for name, (dtype, shape, data) in target.items():
        new = checkpoint.bits(dtype, data)
        if name not in base or base[name][:2] != (dtype, shape):
            yield name, dtype, shape, None, new
        else:
            old = checkpoint.bits(dtype, base[name][2])
            if (old != new).any():
                yield name, dtype, shape, old, new


def slime_like(verb, base_path, second, third):
    import checkpoint
    import numpy as np
    import zstandard

    base, _ = checkpoint.read(base_path)
    if verb == "create":
        blob = load(second)
        target, _ = checkpoint.parse(blob)
        squeeze, frames, index = zstandard.ZstdCompressor(level=1), [], {}
        for name, _, _, old, new in changed_tensors(base, target):
            frames.append(squeeze.compress(new if old is None else old ^ new))
            index[name] = [len(frames[-1]), old is not None]
        text = json.dumps(index).encode()
        header = target_head(blob)
        save(third, struct.pack("<II", len(text), len(header)), text, header, *frames)
        return
    patch = load(second)
    n_text, n_head = struct.unpack_from("<II", patch)
    index, at = json.loads(patch[8 : 8 + n_text]), 8 + n_text + n_head
    header = patch[8 + n_text : at]
    expand, new = zstandard.ZstdDecompressor(), {}
    for name, (length, is_xor) in index.items():
        new[name] = expand.decompress(patch[at : at + length])
        at += length
        if is_xor:
            new[name] = np.frombuffer(new[name], np.uint8) ^ np.frombuffer(base[name][2], np.uint8)
    save(third, header, *(new[k] if k in new else base[k][2] for k in names_of(header)))


def names_of(header):
    """Tensor names in the order of a safetensors header."""
    return [name for name in json.loads(header[8:]) if name != "__metadata__"]


def trl_like(verb, base_path, second, third):
    import checkpoint
    import numpy as np

    base, _ = checkpoint.read(base_path)
    if verb == "create":
        blob = load(second)
        target, _ = checkpoint.parse(blob)
        out = {"header": ("U8", [len(target_head(blob))], target_head(blob))}
        for name, dtype, shape, old, new in changed_tensors(base, target):
            if old is None:
                out[name + ".whole"] = (dtype, shape, new.tobytes())
                continue
            at = np.flatnonzero(old != new).astype(np.int32)
            out[name + ".indices"] = ("I32", [at.size], at.tobytes())
            out[name + ".values"] = (dtype, [at.size], new[at].tobytes())
        checkpoint.write(third, out)
        return
    step, _ = checkpoint.read(second)
    header = bytes(step["header"][2])
    parts = [header]
    for name in names_of(header):
        if name + ".whole" in step:
            parts.append(step[name + ".whole"][2])
        elif name + ".indices" in step:
            dtype, _, data = base[name]
            new = checkpoint.bits(dtype, data).copy()
            at = np.frombuffer(step[name + ".indices"][2], np.int32)
            new[at] = checkpoint.bits(dtype, step[name + ".values"][2])
            parts.append(new)
        else:
            parts.append(base[name][2])
    save(third, *parts)


MANTISSA = {"BF16": 7, "F16": 10, "F32": 23}


def rice(ranks):
    """(shift, unary part, low bits) of ascending ranks, as arrays of bits."""
    import numpy as np

    gaps = np.diff(ranks, prepend=-1) - 1
    shift = max(0, int(gaps.mean() + 1).bit_length() - 1)
    unary = np.zeros(int((gaps >> shift).sum()) + gaps.size, np.uint8)
    unary[np.cumsum((gaps >> shift) + 1) - 1] = 1
    low = (gaps[:, None] >> np.arange(shift)) & 1
    return shift, unary, low.astype(np.uint8).ravel()


def unrice(n, shift, unary, low):
    """The inverse; also how many bits of each were used."""
    import numpy as np

    ends = np.flatnonzero(unary)[:n]
    high = np.diff(ends, prepend=-1) - 1
    gaps = (high << shift) + (low[: n * shift].reshape(n, shift).astype(np.int64)
                              << np.arange(shift)).sum(axis=1)
    return np.cumsum(gaps + 1) - 1, int(ends[-1]) + 1, n * shift


def exponents(dtype, old):
    """The class of each weight, as far as classes are made."""
    import numpy as np

    if dtype not in MANTISSA:
        return np.zeros(old.size, np.uint8)
    return (old >> np.array(MANTISSA[dtype], old.dtype)).astype(np.uint8) & (0x1F if dtype == "F16" else 0xFF)


def rice_encode(dtype, old, new):
    import numpy as np

    keys, changed = exponents(dtype, old), old != new
    head, unary, low = [], [], []
    for key in range(256):
        mine = changed[keys == key]
        n = int(mine.sum())
        if not n:
            continue
        other = 2 * n > mine.size
        ranks = np.flatnonzero(mine != other)
        shift, u, l = rice(ranks) if ranks.size else (0, [], [])
        head.append([key, int(ranks.size), shift, int(other)])
        unary.append(np.asarray(u, np.uint8))
        low.append(np.asarray(l, np.uint8))
    d = (new[changed] - old[changed]).view(np.dtype(f"i{old.itemsize}"))
    z = ((d << 1) ^ (d >> (8 * old.itemsize - 1))).view(old.dtype)
    small = z < 255
    values = np.where(small, z, 255).astype(np.uint8).tobytes() + z[~small].tobytes()
    return head, np.packbits(np.concatenate(unary)).tobytes(), np.packbits(np.concatenate(low)).tobytes(), values


def rice_decode(dtype, old, head, unary, low, values):
    import numpy as np

    keys, changed = exponents(dtype, old), np.zeros(old.size, bool)
    unary = np.unpackbits(np.frombuffer(unary, np.uint8))
    low = np.unpackbits(np.frombuffer(low, np.uint8))
    for key, n, shift, other in head:
        at = np.flatnonzero(keys == key)
        mine = np.full(at.size, bool(other))
        if n:
            ranks, used, used_low = unrice(n, shift, unary, low)
            unary, low = unary[used:], low[used_low:]
            mine[ranks] = not other
        changed[at] = mine
    n = int(changed.sum())
    z = np.frombuffer(values[:n], np.uint8).astype(old.dtype)
    z[z == 255] = np.frombuffer(values[n:], old.dtype)
    one = np.array(1, old.dtype)
    new = old.copy()
    new[changed] += (z >> one) ^ (np.array(0, old.dtype) - (z & one))
    return new


def exponent_rice(verb, base_path, second, third):
    import checkpoint
    import zstandard

    base, _ = checkpoint.read(base_path)
    if verb == "create":
        blob = load(second)
        target, _ = checkpoint.parse(blob)
        squeeze, frames, index = zstandard.ZstdCompressor(level=1), [], {}
        for name, dtype, _, old, new in changed_tensors(base, target):
            head, parts = [], [new.tobytes()]
            if old is not None:
                head, *parts = rice_encode(dtype, old, new)
            frames.append(squeeze.compress(b"".join(parts)))
            index[name] = [len(frames[-1]), [len(x) for x in parts], head]
        text = squeeze.compress(json.dumps(index).encode())
        header = target_head(blob)
        save(third, struct.pack("<II", len(text), len(header)), text, header, *frames)
        return
    patch = load(second)
    n_text, n_head = struct.unpack_from("<II", patch)
    expand, at, new = zstandard.ZstdDecompressor(), 8 + n_text + n_head, {}
    index, header = json.loads(expand.decompress(patch[8 : 8 + n_text])), patch[8 + n_text : at]
    for name, (length, sizes, head) in index.items():
        data = expand.decompress(patch[at : at + length])
        at += length
        parts = [data[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
        new[name] = parts[0] if not head else rice_decode(
            base[name][0], checkpoint.bits(base[name][0], base[name][2]), head, *parts)
    save(third, header, *(new[k] if k in new else base[k][2] for k in names_of(header)))


PEERS = {"z4ai": z4ai, "hdiffpatch": hdiffpatch, "pulse": pulse, "slime-like": slime_like,
         "trl-like": trl_like, "exponent-rice": exponent_rice}

if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[1] not in PEERS or sys.argv[2] not in ("create", "apply"):
        sys.exit(__doc__)
    PEERS[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
"""Peers that are libraries or formats, each as a process of its own.

usage: peer_tool.py PEER create BASE TARGET PATCH
       peer_tool.py PEER apply BASE PATCH OUT

  z4ai, hdiffpatch   the packages of those names
  pulse              PULSEPT1 v3 of basilica-sdk, which codes bf16 tensors in memory: reading and writing
                     the file, and what is not bf16, are done here
  slime-like         re-created: dense XOR of each changed tensor, one zstd-1 frame each
  trl-like           re-created: int32 indices and new values of each changed tensor, in safetensors
The re-created two are this project's reading of those formats, not the projects' code.
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


PEERS = {"z4ai": z4ai, "hdiffpatch": hdiffpatch, "pulse": pulse, "slime-like": slime_like,
         "trl-like": trl_like}

if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[1] not in PEERS or sys.argv[2] not in ("create", "apply"):
        sys.exit(__doc__)
    PEERS[sys.argv[1]](*sys.argv[2:])

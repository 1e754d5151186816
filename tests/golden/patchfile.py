"""Builds fmpatch patch files from their parts, after libpatch/FORMAT.md.

What FORMAT.md calls by a name has that name here; numbers in parentheses are its sections.  Nothing is
checked: a part that is changed before bytes() is written as it stands, with every digest made anew, so
that a file can break one rule and keep all others.  Python's standard library only.
"""
import hashlib
import json
import struct

MIB = 1 << 20
M64 = (1 << 64) - 1
UNCHANGED, RESIDUAL, WHOLE, ADDED, REMOVED, ALIAS, SET = range(7)
NONE, BITMAP, GAPS, SPLIT, RICE, RUNS, FULL = range(7)
K_RESIDUAL, K_SET, K_WHOLE, K_PLANES = range(4)
IN_BASE, IN_TARGET, TWO, MAPPED, OWN = 8, 16, 32, 64, 128
MAGIC = bytes.fromhex("89464d500d0a1a0a")
S_HEADS, S_BITS, S_BITMAP, S_BYTES, S_GAPS, S_VALUES, S_PLANES, S_COUNTS = 0, 1, 2, 3, 4, 8, 12, 20
S_DECISIONS = 21


def varint(v):
    out = bytearray()
    while v > 127:
        out.append(v & 127 | 128)
        v >>= 7
    return bytes(out) + bytes([v])


def zigzag(d, bits=64):
    d &= (1 << bits) - 1
    top = d >> (bits - 1)
    return ((d << 1) ^ -top) & ((1 << bits) - 1)


def svarint(d):
    return varint(zigzag(d))


def text(data):
    return varint(len(data)) + data


def runs(values):
    """A column of numbers (8)."""
    out, last, at = b"", 0, 0
    while at < len(values):
        n = 1
        step = values[at + 1] - values[at] if at + 1 < len(values) else 0
        while at + n < len(values) and values[at + n] - values[at + n - 1] == step:
            n += 1
        out += varint(n) + svarint(values[at] - last) + (svarint(step) if n > 1 else b"")
        at += n
        last = values[at - 1]
    return out


def blake(data, person=b""):
    return hashlib.blake2b(data, digest_size=32, person=person).digest()


def tensor_digest(data):
    level = [blake(struct.pack("<QQ", i // MIB, len(data[i:i + MIB])) + data[i:i + MIB], b"fmp1-leaf")
             for i in range(0, len(data), MIB)]
    while len(level) > 1:
        pairs = [blake(b"".join(level[i:i + 2]), b"fmp1-node") for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1:]
    return blake(struct.pack("<QQ", len(data), MIB) + b"".join(level), b"fmp1-root")


def zstd_raw(data, descriptor=0xA0, window=None, declared=None):
    """A zstd frame of one raw block: with bits 5 (single segment) and 7 (4 bytes of content size)."""
    size = len(data) if declared is None else declared
    head = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + (bytes([window]) if window is not None else b"")
    return head + struct.pack("<I", size) + struct.pack("<I", len(data) << 3 | 1)[:3] + data


def safetensors(tensors, metadata=None):
    """A file as the usual writer makes it: header derived, 8-aligned."""
    at, members = 0, []
    if metadata is not None:
        members.append('"__metadata__":' + metadata)
    for name, dtype, dims, data in tensors:
        members.append('%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}' % (
            json.dumps(name, ensure_ascii=False), dtype, ",".join(map(str, dims)), at, at + len(data)))
        at += len(data)
    head = ("{" + ",".join(members) + "}").encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(t[3] for t in tensors)


# --- Blocks (14, 15, 16)

class Bits:
    """A bit stream being written."""

    def __init__(self):
        self.value, self.n = 0, 0

    def put(self, v, n):
        self.value |= (v & ((1 << n) - 1)) << self.n
        self.n += n

    def bytes(self):
        return self.value.to_bytes((self.n + 7) // 8, "little")


def gap_token(v, bits):
    if v < 192:
        return v
    n = v.bit_length()
    bits.put(v, n - 1)
    return 192 + n - 8


def value_token(v, bits):
    if v < 16:
        return v
    n = v.bit_length()
    bits.put(v, n - 3)
    return 16 + 4 * (n - 5) + (v >> (n - 3) & 3)


class Block:
    """A block: the fields of its head, and its shares of the streams by number."""

    def __init__(self, kind=K_RESIDUAL, pos=GAPS, log2=1, sm=False, complement=False, apart=False,
                 palette=False, shift=0, gap_class=0, value_class=0, obj=0, off=0):
        self.kind, self.pos, self.log2, self.sm, self.complement = kind, pos, log2, sm, complement
        self.apart, self.palette, self.shift = apart or palette, palette, shift
        self.gap_class, self.value_class = gap_class, 3 if palette else value_class
        self.obj, self.off, self.short = obj, off, False
        self.n_bytes = self.n_set = self.n_runs = self.changed = 0
        self.shares = {}

    def order_map(self, x):
        w = 8 << self.log2
        if not self.sm:
            return x
        return x ^ ((1 << w) - 1) if x >> (w - 1) else x | 1 << (w - 1)

    def units(self, data):
        return [int.from_bytes(data[i:i + (1 << self.log2)], "little")
                for i in range(0, len(data), 1 << self.log2)]

    def code(self, base, target):
        """Codes target (bytes of the block) against base; returns the block."""
        self.n_bytes = len(target)
        b = self.units(target)
        if self.kind >= K_WHOLE:
            self.changed = len(b)
            self.shares = self.planes(b) if self.kind == K_PLANES else {S_BYTES: target}
            return self
        a, bits = self.units(base), Bits()
        where = [i for i in range(len(b)) if a[i] != b[i]]
        listed = [i for i in range(len(b)) if a[i] == b[i]] if self.complement else where
        if self.pos == FULL:
            where = listed = list(range(len(b)))
        self.n_set, self.changed = len(listed), len(where)
        tokens = self.positions(listed, len(b), bits)
        if tokens:
            self.shares[S_GAPS + self.gap_class] = tokens
        if self.kind == K_SET:
            self.shares.update(self.planes([b[i] for i in where]))
        else:
            z = [zigzag(self.order_map(b[i]) - self.order_map(a[i]), 8 << self.log2) for i in where]
            self.shares[S_VALUES + self.value_class] = self.values(z, bits)
        if bits.n:
            self.shares[S_BITS] = bits.bytes()
        return self

    def planes(self, units):
        return {S_PLANES + k: bytes(u >> 8 * k & 255 for u in units) for k in range(1 << self.log2)}

    def positions(self, listed, n_units, bits):
        tokens, before = bytearray(), -1
        gaps = []
        for p in listed:
            gaps.append(p - before - 1)
            before = p
        if self.pos == BITMAP:
            bitmap = sum(1 << p for p in listed)
            self.shares[S_BITMAP] = bitmap.to_bytes((n_units + 7) // 8, "little")
        elif self.pos == GAPS:
            for g in gaps:
                tokens.append(gap_token(g, bits))
        elif self.pos == SPLIT:
            for g in gaps:
                tokens.append(gap_token(g >> self.shift, bits))
                bits.put(g, self.shift)
        elif self.pos == RICE:
            for g in gaps:
                bits.put(1 << (g >> self.shift), (g >> self.shift) + 1)
                bits.put(g, self.shift)
        elif self.pos == RUNS:
            starts = [i for i, g in enumerate(gaps) if g or i == 0]
            self.n_runs = len(starts)
            for i, end in zip(starts, starts[1:] + [len(gaps)]):
                tokens.append(gap_token(gaps[i], bits))
                tokens.append(gap_token(end - i - 1, bits))
        return bytes(tokens)

    def values(self, z, bits):
        out = bytearray()
        w = 8 << self.log2
        if self.palette:
            entries = sorted(set(z), key=lambda v: (-z.count(v), v))[:3]
            bits.put(len(entries), 8)
            for entry in entries:
                bits.put(entry - 1, w)
            for v in z:
                out.append(entries.index(v) if v in entries else 255)
                if v not in entries:
                    bits.put(v - 1, w)
        else:
            for v in z:
                v -= self.pos != FULL
                if self.apart:
                    bits.put(v & 1, 1)
                    v >>= 1
                out.append(value_token(v, bits))
        return bytes(out)

    def has_bits(self):
        return self.kind == K_RESIDUAL or self.kind == K_SET and self.pos != BITMAP

    def expected_bits(self):
        b = self.changed if self.apart and self.value_class == 0 else 0
        b += self.n_set * {SPLIT: self.shift, RICE: self.shift + 1}.get(self.pos, 0)
        return (b + 7) // 8

    def head(self, before):
        """The head's bytes in the streams heads and counts."""
        moved = before is None or self.obj != before.obj
        gap = self.off - (0 if moved else before.off + before.n_bytes)
        bits_len = len(self.shares.get(S_BITS, b""))
        as_expected = self.has_bits() and bits_len == self.expected_bits()
        if self.short:
            heads = [7 << 2 | as_expected << 5 | moved << 6 | (gap != 0) << 7]
        else:
            heads = [self.kind | self.pos << 2 | self.complement << 5 | moved << 6 | (gap != 0) << 7,
                     self.log2 | self.sm << 2 | self.gap_class << 3 | self.value_class << 5
                     | self.apart << 7]
        heads, counts = bytes(heads), b""
        if moved:
            heads += varint(self.obj - (before.obj if before else 0))
        if gap:
            heads += varint(gap)
        if not self.short:
            heads += varint(self.n_bytes)
            if self.pos in (SPLIT, RICE):
                heads += bytes([self.shift])
        if self.kind <= K_SET and self.pos != FULL:
            counts += svarint(self.n_set - before.n_set) if self.short else varint(self.n_set)
            if self.pos == RUNS:
                counts += varint(self.n_runs)
        if self.has_bits() and not (self.short and as_expected):
            counts += svarint(bits_len - self.expected_bits())
        return heads, counts


class Decisions:
    """Writes decisions (16a), each in a context of its own name."""

    EVEN = ("more", "place", "sign", "lead")

    def __init__(self):
        self.low, self.range, self.out, self.contexts = 0, (1 << 64) - 1, 0, {}
        self.n = 0  # bytes in `out`, a number in which a carry goes where it must

    def put(self, bit, *name):
        p, n = self.contexts.get(name, (1 << 21, 6 if name[0] in self.EVEN else 0))
        bound = (self.range >> 16) * (p >> 6 | 1)
        w = (1 << 17) // (2 * n + 3)
        if bit:
            self.range = bound
            p += ((1 << 22) - 1 - p) * w >> 16
        else:
            self.low, self.range = self.low + bound, self.range - bound
            p -= p * w >> 16
        self.contexts[name] = (p, min(n + 1, 127))
        if self.range < 1 << 32:
            self.spill(4)
            self.range <<= 32

    def spill(self, n):
        """The highest n of the 8 bytes of low."""
        self.out = (self.out << 8 * n) + (self.low >> 64 - 8 * n)
        self.low = self.low << 8 * n & (1 << 64) - 1
        self.n += n

    def bytes(self):
        v = self.low + self.range - 1
        b = next(b for b in range(64, -1, -8) if v % (1 << b) < self.range)
        self.low = v - v % (1 << b)
        self.spill(8)
        return self.out.to_bytes(self.n, "big").rstrip(b"\0")


class Modelled(Block):
    """A modelled block (16a): its model's bytes, its decisions as (bit, context), and raw bits."""

    def __init__(self, model, decisions, raw=(), n_set=2, n_bytes=64, **options):
        super().__init__(pos=NONE, **options)
        self.model, self.n_set, self.changed, self.n_bytes = model, n_set, n_set, n_bytes
        self.same_model = False
        coded, bits = Decisions(), Bits()
        for bit, *name in decisions:
            coded.put(bit, *name)
        for value, n in raw:
            bits.put(value, n)
        self.shares = {S_DECISIONS: coded.bytes(), S_BITS: bits.bytes()}

    def head(self, before):
        moved = before is None or self.obj != before.obj
        gap = self.off - (0 if moved else before.off + before.n_bytes)
        if self.short:
            heads = bytes([7 << 2 | self.same_model << 5 | moved << 6 | (gap != 0) << 7])
        else:
            heads = bytes([self.complement << 5 | moved << 6 | (gap != 0) << 7,
                           self.log2 | self.sm << 2 | self.gap_class << 3 | self.value_class << 5
                           | self.apart << 7])
        if moved:
            heads += varint(self.obj - (before.obj if before else 0))
        if gap:
            heads += varint(gap)
        if not self.short:
            heads += varint(self.n_bytes)
        if not (self.short and self.same_model):
            heads += self.model
        old = [0, 0, 0]
        if self.short:
            old = [before.n_set, *(len(before.shares[s]) for s in (S_BITS, S_DECISIONS))]
        new = [self.n_set, *(len(self.shares[s]) for s in (S_BITS, S_DECISIONS))]
        counts = svarint(new[0] - old[0]) if self.short else varint(new[0])
        return heads, counts + svarint(new[1] - old[1]) + svarint(new[2] - old[2])


class Frame:
    """A frame (13) and its entry in the frame table (11).  What is None is found from the blocks."""

    def __init__(self, blocks, domain=0):
        self.domain, self.blocks = domain, blocks
        first, last = blocks[0], blocks[-1]
        self.first, self.start = first.obj, first.off
        self.last, self.end = last.obj, last.off + last.n_bytes
        self.n_changed = sum(b.changed for b in blocks)
        self.flags, self.n_blocks = 0, len(blocks)
        self.sums, self.mask = b"", None
        self.lengths = {}  # stream: (raw_len, stored_len, stored bytes) in place of the usual
        self.streams = {}
        self.refresh()

    def refresh(self):
        """The streams, from the blocks."""
        self.streams, before = {}, None
        for block in self.blocks:
            heads, counts = block.head(before)
            before = block
            for s, data in [(S_HEADS, heads), (S_COUNTS, counts), *block.shares.items()]:
                self.streams[s] = self.streams.get(s, b"") + data
        self.streams = {s: d for s, d in self.streams.items() if d}
        return self

    def bytes(self):
        present = sorted({**self.streams, **self.lengths})
        mask = sum(1 << s for s in present) if self.mask is None else self.mask
        out = bytes([self.flags]) + varint(self.n_blocks) + varint(mask)
        stored = b""
        for s in present:
            raw, n, data = self.lengths.get(s) or (len(self.streams[s]), 0, self.streams[s])
            out += varint(raw) + varint(n)
            stored += data
        return out + self.sums + stored


# --- Tables (9, 11, 12)

class Row:
    """A row of the tensor table; flags None: from state and sides."""

    def __init__(self, name, state, base=None, target=None, source=None, flags=None):
        self.name, self.state, self.base, self.target = name, state, base, target
        self.source, self.flags = source, flags  # source: (row, base_off, n_bytes, transform)

    def flag_bits(self):
        if self.flags is not None:
            return self.flags
        f = self.state | (IN_BASE if self.base is not None else 0)
        f |= IN_TARGET if self.target is not None else 0
        f |= TWO if None not in (self.base, self.target) and self.base != self.target else 0
        f |= MAPPED if self.source else 0
        return f | (OWN if self.target is not None and self.state not in (UNCHANGED, ALIAS) else 0)


class File:
    """A weights file of the layout."""

    def __init__(self, name, size, header_len, n_tensors, driver=b"safetensors", hint=b"\4\0"):
        self.name, self.driver, self.size, self.header_len = name, driver, size, header_len
        self.n_tensors, self.header, self.hint = n_tensors, 0, hint

    def bytes(self):
        return (text(self.name) + text(self.driver) + varint(self.size) + varint(self.header_len)
                + varint(self.n_tensors) + bytes([self.header])
                + (b"" if self.header else text(self.hint)))


class Side:
    """A side file: (size, digest) of base and target."""

    def __init__(self, name, flags, base=None, target=None):
        self.name, self.flags, self.base, self.target = name, flags, base, target

    def bytes(self):
        out = text(self.name) + bytes([self.flags])
        for side in (self.base, self.target):
            out += varint(side[0]) + side[1] if side else b""
        return out


class Layout:
    """Section 12."""

    def __init__(self, target, target_order, base, base_order):
        self.target, self.target_order, self.base, self.base_order = (target, target_order, base,
                                                                      base_order)
        self.target_is_dir = self.base_is_dir = 0
        self.same, self.sides = 0, []
        self.n_side = self.n_target = self.n_base = None

    def bytes(self):
        def files(is_dir, n, list_):
            n = len(list_) if n is None else n
            return bytes([is_dir]) + varint(n) + b"".join(f.bytes() for f in list_)

        return (files(self.target_is_dir, self.n_target, self.target) + runs(self.target_order)
                + files(self.base_is_dir, self.n_base, self.base) + bytes([self.same])
                + (b"" if self.same else runs(self.base_order))
                + varint(len(self.sides) if self.n_side is None else self.n_side)
                + b"".join(s.bytes() for s in self.sides))


class Entry:
    """An entry of the prefix (5)."""

    def __init__(self, kind, flags, coding, offset, stored, raw, digest):
        self.type, self.flags, self.coding, self.offset = kind, flags, coding, offset
        self.stored, self.raw, self.digest = stored, raw, digest

    def bytes(self):
        return struct.pack("<HHIQQQ", self.type, self.flags, self.coding, self.offset, self.stored,
                           self.raw) + self.digest


class Patch:
    """All of a patch file.  `sections` overrides the bytes of sections, `coded` is what they are stored
    as: by type, (coding, raw length, stored bytes).  `edit` is called with the entries."""

    ORDER = (7, 1, 2, 3, 4, 5, 6)

    def __init__(self, schemas, rows, base, target, frames, layout):
        """base, target: the tensors' bytes by name."""
        self.schemas, self.rows, self.base, self.target = schemas, rows, base, target
        self.frames, self.layout = frames, layout
        self.magic, self.version, self.reserved = MAGIC, 0, b"\0\0\0\0"
        self.n_sections = self.body_len = None
        self.manifest = {"profile": "open"}
        self.manifest_edit = lambda manifest: None
        self.sections, self.coded, self.edit = {}, {}, lambda entries: None
        self.signatures, self.tail = struct.pack("<I", 0), b""
        self.frame_digest = None
        self.digests = None

    def row_digests(self):
        if self.digests is not None:
            return self.digests
        out = [tensor_digest(self.base[r.name]) for r in self.rows if r.flag_bits() & IN_BASE]
        return out + [tensor_digest(self.target[r.name]) for r in self.rows if r.flag_bits() & OWN]

    def root(self, side, with_digests):
        out, n = b"", 0
        for r in self.rows:
            schema = (r.base, r.target)[side]
            if schema is None:
                continue
            dtype, _, dims = self.schemas[schema]
            out += struct.pack("<I", len(r.name)) + r.name + bytes([len(dtype)]) + dtype
            out += struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
            if with_digests:
                out += tensor_digest((self.base, self.target)[side][r.name])
            n += 1
        return blake(out + struct.pack("<Q", n), b"fmp1-model" if with_digests else b"fmp1-shape").hex()

    def section_1(self):
        manifest = dict(self.manifest)
        for side, name in enumerate(("base", "target")):
            manifest[name] = {"root": self.root(side, True), "shape_root": self.root(side, False)}
        self.manifest_edit(manifest)
        return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def names(self):
        """Heads of what names share, no tails."""
        heads, middles, lengths, last = b"", b"", b"", b""
        for r in self.rows:
            head = 0
            while head < min(len(last), len(r.name)) and last[head] == r.name[head]:
                head += 1
            heads += varint(head)
            lengths += varint(len(r.name) - head)
            middles += r.name[head:]
            last = r.name
        return [heads, b"\0" * len(self.rows), lengths, middles]

    def section_2(self):
        flags = [r.flag_bits() for r in self.rows]
        out = varint(len(self.rows)) + varint(len(self.schemas))
        for dtype, bits, dims in self.schemas:
            out += text(dtype) + varint(bits) + varint(len(dims)) + b"".join(map(varint, dims))
        out += b"".join(map(text, self.names()))
        out += runs(flags)
        out += runs([r.base or 0 for r, f in zip(self.rows, flags) if f & IN_BASE])
        out += runs([r.target or 0 for r, f in zip(self.rows, flags)
                     if f & IN_TARGET and (f & TWO or not f & IN_BASE)])
        for r, f in zip(self.rows, flags):
            if f & MAPPED:
                out += b"".join(map(varint, r.source or (0, 0, 0, 0)))
        return out

    def section_3(self):
        return b"".join(self.row_digests())

    def section_4(self):
        out, before = varint(len(self.frames)), None
        for f in self.frames:
            first, start = f.first, f.start
            if before and before.domain == f.domain:
                first -= before.last
                start -= before.end if first == 0 else 0
            end = f.end - (f.start if f.last == f.first else 0)
            out += bytes([f.domain]) + b"".join(
                varint(v & M64) for v in (first, start, f.last - f.first, end, len(f.bytes()),
                                          f.n_changed))
            before = f
        return out

    def section_5(self):
        return b"".join(blake(f.bytes()) for f in self.frames)

    def section_6(self):
        return self.layout.bytes()

    def section_7(self):
        return b"".join(f.bytes() for f in self.frames)

    def bytes(self):
        data = {t: self.sections.get(t, getattr(self, f"section_{t}")()) for t in range(1, 8)}
        entries, stored, at = [], [], 0
        for t in self.ORDER:
            coding, raw, body = self.coded.get(t) or (0, len(data[t]), data[t])
            digest = blake(data[5]) if t == 7 else blake(body)
            entries.append(Entry(t, 1, coding, at, len(body), raw, digest))
            stored.append(body)
            at += len(body)
        self.edit(entries)
        n = len(entries) if self.n_sections is None else self.n_sections
        body = b"".join(stored)
        body_len = len(body) if self.body_len is None else self.body_len
        return (self.magic + struct.pack("<HH", self.version, n) + self.reserved
                + struct.pack("<Q", body_len) + b"".join(e.bytes() for e in entries)
                + self.signatures + body + self.tail)

"""Reads fmpatch patch files: written from libpatch/FORMAT.md alone, to prove that it suffices.

usage: read_fmp.py PATCH BASE OUT            makes the target: a file, or a directory
       read_fmp.py --revert PATCH TARGET OUT makes the base again, of a reversible patch
       read_fmp.py --info PATCH              prints the manifest and the rows

Everything is checked, and what the text says MUST be refused raises Refused, which names the rule.
Needs numpy and zstandard.  Sums of touched units are checked if the xxhash module is there;
signatures with the cryptography module, or slowly without it.  All is kept in memory.
"""
import hashlib
import json
import os
import struct
import sys

import numpy as np
import zstandard

import modelled

try:
    import xxhash
except ImportError:
    xxhash = None
try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

MIB = 1 << 20
M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
STATES = ["unchanged", "residual", "whole", "added", "removed", "alias", "set"]
UNCHANGED, RESIDUAL, WHOLE, ADDED, REMOVED, ALIAS, SET = range(7)
MAX_ROWS = 1000000
MAX_FILES = 100000
MAX_SECTION = 512 * MIB
MAX_WRITTEN = 4 << 40


class Refused(Exception):
    """A rule of FORMAT.md that a file breaks."""

    def __init__(self, rule, text):
        super().__init__(f"{rule}: {text}")
        self.rule = rule


def need(condition, rule, text):
    if not condition:
        raise Refused(rule, text)


class Cursor:
    """Reads a section or a stream from its first byte to its last."""

    def __init__(self, data, what):
        self.data = data
        self.pos = 0
        self.what = what

    def take(self, n):
        need(n <= len(self.data) - self.pos, "V2", f"{self.what}: {n} bytes expected at {self.pos}")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def u8(self):
        return self.take(1)[0]

    def fixed(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                need(byte or i == 0, "V1", f"{self.what}: varint not in its shortest form")
                need(value <= M64, "V1", f"{self.what}: varint above 64 bits")
                return value
        raise Refused("V1", f"{self.what}: varint of more than 10 bytes")

    def svarint(self):
        z = self.varint()
        return (z >> 1) ^ -(z & 1)

    def text(self, least, most, rule):
        n = self.varint()
        need(least <= n <= most, rule, f"{self.what}: text of {n} bytes, expected {least} to {most}")
        return bytes(self.take(n))

    def runs(self, n):
        """A column of n numbers (section 8)."""
        values, last = [], 0
        while len(values) < n:
            count = self.varint()
            need(count, "R1", f"{self.what}: a run of no values")
            need(count <= n - len(values), "R2", f"{self.what}: a run goes past the last value")
            first = (last + self.svarint()) & M64
            step = self.svarint() if count > 1 else 0
            values += [(first + i * step) & M64 for i in range(count)]
            last = values[-1]
        return values

    def end(self):
        need(self.pos == len(self.data), "V2", f"{self.what}: {len(self.data) - self.pos} bytes left")


def is_clean(data, plain=False):
    try:
        text = bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        return False
    for char in map(ord, text):
        if char < 0x20 or 0x7F <= char <= 0x9F or 0x202A <= char <= 0x202E:
            return False
        if 0x2066 <= char <= 0x2069 or plain and char in (0x61C, 0x200E, 0x200F):
            return False
    return True


def blake(data, person=b""):
    return hashlib.blake2b(data, digest_size=32, person=person).digest()


def tensor_digest(data):
    """The digest of a tensor, or of a side file (section 20)."""
    data = memoryview(data)
    level = []
    for i in range(0, len(data), MIB):
        leaf = data[i:i + MIB]
        level.append(blake(struct.pack("<QQ", i // MIB, len(leaf)) + bytes(leaf), b"fmp1-leaf"))
    while len(level) > 1:
        pairs = [blake(b"".join(level[i:i + 2]), b"fmp1-node") for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1:]
    return blake(struct.pack("<QQ", len(data), MIB) + b"".join(level), b"fmp1-root")


def unzstd(data, raw):
    """Section 17."""
    data = bytes(data)
    need(data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 5, "Z1", "not a standard zstd frame")
    need(data[4] & 31 == 0, "Z2", f"zstd frame header descriptor {data[4]:#x}")
    need(data[4] & 0xE0, "Z1", "zstd frame without content size")
    try:
        parameters = zstandard.get_frame_parameters(data)
        need(parameters.content_size == raw, "Z1",
             f"zstd content size {parameters.content_size}, expected {raw}")
        need(parameters.window_size <= 4 * MIB, "Z3", f"zstd window {parameters.window_size}")
        stream = zstandard.ZstdDecompressor(max_window_size=4 * MIB).decompressobj()
        result = stream.decompress(data)
    except zstandard.ZstdError as error:
        raise Refused("Z1", f"zstd: {error}") from error
    need(stream.eof and not stream.unused_data, "Z1", "zstd frame cut short, or bytes behind it")
    need(len(result) == raw, "Z1", f"zstd frame of {len(result)} bytes, expected {raw}")
    return result


# --- Ed25519 (RFC 8032), where no module for it is installed.

P25519 = (1 << 255) - 19
ORDER = (1 << 252) + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, P25519) % P25519


def point_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P25519
    b = (p[1] + p[0]) * (q[1] + q[0]) % P25519
    c = 2 * p[3] * q[3] * CURVE_D % P25519
    d = 2 * p[2] * q[2] % P25519
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P25519, g * h % P25519, f * g % P25519, e * h % P25519


def point_times(n, p):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = point_add(result, p)
        p = point_add(p, p)
        n >>= 1
    return result


def point_from(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P25519:
        return None
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, P25519) % P25519
    x = pow(square, (P25519 + 3) // 8, P25519)
    if (x * x - square) % P25519:
        x = x * pow(2, (P25519 - 1) // 4, P25519) % P25519
    if (x * x - square) % P25519 or not x and sign:
        return None
    if x & 1 != sign:
        x = P25519 - x
    return x, y, 1, x * y % P25519


def signature_is_right(key, message, signature):
    if Ed25519PublicKey:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
            return True
        except Exception:  # pylint: disable=broad-except
            return False
    a, r = point_from(key), point_from(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if not a or not r or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    base = point_from((4 * pow(5, -1, P25519) % P25519).to_bytes(32, "little"))
    left, right = point_times(s, base), point_add(r, point_times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P25519
                or (left[1] * right[2] - right[1] * left[2]) % P25519)


# --- The manifest (section 7)

def json_string(text):
    short = {8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 34: '"', 92: "\\"}
    result = '"'
    for char in text:
        code = ord(char)
        need(code, "M1", "manifest: U+0000 in a string")
        if code in short:
            result += "\\" + short[code]
        else:
            result += f"\\u{code:04X}" if code < 32 else char
    return result + '"'


def json_write(value, depth=0):
    need(depth <= 16, "M1", "manifest: nested more than 16 deep")
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode())
        return "{" + ",".join(json_string(k) + ":" + json_write(value[k], depth + 1)
                              for k in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_write(v, depth + 1) for v in value) + "]"
    if isinstance(value, str):
        return json_string(value)
    return json.dumps(value)


def parse_manifest(data):
    def pairs(items):
        need(len(dict(items)) == len(items), "M1", "manifest: a key stands twice")
        return dict(items)

    def integer(text):
        need(len(text) <= 17 and abs(int(text)) < 1 << 53, "M1", f"manifest: number {text[:40]}")
        return int(text)

    def no_number(text):
        raise Refused("M1", f"manifest: number {text[:40]}")

    try:
        manifest = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_int=integer,
                              parse_float=no_number, parse_constant=no_number)
        need(isinstance(manifest, dict), "M1", "manifest: not an object")
        written = json_write(manifest).encode()
    except (ValueError, RecursionError) as error:
        raise Refused("M1", f"manifest: {error}") from error
    need(written == data, "M2", "manifest: not canonical")
    need(isinstance(manifest.get("profile"), str), "M1", "manifest: no profile")
    need(manifest["profile"] in ("open", "compact"), "M3", f"manifest: profile {manifest['profile']}")
    requires = manifest.get("requires", [])
    need(isinstance(requires, list), "M4", "manifest: requires is not an array")
    need(not requires, "M4", f"manifest: requires {requires[:1]}")
    return manifest


# --- The tables

class Row:
    """A row of the tensor table."""

    def __init__(self, name, flags):
        self.name = name
        self.state = flags & 7
        self.in_side = [bool(flags & 8), bool(flags & 16)]
        self.two_schemas = bool(flags & 32)
        self.mapped = bool(flags & 64)
        self.own_digest = bool(flags & 128)
        self.schema = [None, None]
        self.digest = [None, None]
        self.source, self.base_off, self.map_bytes = None, 0, 0


class Schema:
    """A dtype and a shape."""

    def __init__(self, cursor):
        self.dtype = cursor.text(1, 16, "T2")
        need(all(0x21 <= c <= 0x7E for c in self.dtype), "T2", f"dtype {self.dtype}")
        self.bits = cursor.varint()
        need(1 <= self.bits <= 128, "T2", f"{self.bits} element bits")
        rank = cursor.varint()
        need(rank <= 32, "T2", f"rank {rank}")
        self.dims = [cursor.varint() for _ in range(rank)]
        product, n = 1, 1
        for dim in self.dims:
            need(dim <= 1 << 48, "T2", f"dimension {dim}")
            product *= dim or 1
            n *= dim
        need(product <= 1 << 56, "T2", f"{product} elements")
        need(n * self.bits % 8 == 0, "T2", "elements do not fill bytes")
        self.n_bytes = n * self.bits // 8


def parse_names(cursor, n_rows):
    streams = []
    for i in range(4):
        streams.append(Cursor(cursor.take(cursor.varint()), f"names, stream {i}"))
    names, name = [], b""
    for _ in range(n_rows):
        head, tail, middle = (s.varint() for s in streams[:3])
        need(head + tail <= len(name), "T3", "a name keeps more than the one before has")
        need(1 <= head + tail + middle <= 1024, "T3", f"name of {head + tail + middle} bytes")
        new = name[:head] + streams[3].take(middle) + name[len(name) - tail:]
        need(is_clean(new), "T3", f"name {new!r}")
        need(not names or new > name, "T4", f"name {new!r} does not follow {name!r}")
        name = new
        names.append(name)
    for stream in streams:
        stream.end()
    return names


def parse_table(data):
    """Section 9."""
    cursor = Cursor(data, "tensor table")
    n_rows, n_schemas = cursor.varint(), cursor.varint()
    need(n_rows <= MAX_ROWS, "T1", f"{n_rows} rows")
    need(n_schemas <= len(data), "V2", f"{n_schemas} schemas")
    schemas = [Schema(cursor) for _ in range(n_schemas)]
    names = parse_names(cursor, n_rows)
    rows = []
    for name, flags in zip(names, cursor.runs(n_rows)):
        need(flags <= 255 and flags & 24 and flags & 7 != 7, "T5", f"{name!r}: flags {flags}")
        need(not flags & 32 or flags & 24 == 24, "T5", f"{name!r}: flags {flags}")
        row = Row(name, flags)
        own = row.in_side[1] and row.state not in (UNCHANGED, ALIAS)
        need(row.own_digest == own, "T5", f"{name!r}: flags {flags}")
        rows.append(row)
    for side in (0, 1):
        having = [r for r in rows if r.in_side[side]
                  and (side == 0 or r.two_schemas or not r.in_side[0])]
        for row, number in zip(having, cursor.runs(len(having))):
            need(number < n_schemas, "T7", f"{row.name!r}: schema {number}")
            row.schema[side] = schemas[number]
    for row in rows:
        if row.two_schemas:
            pair = [(s.dtype, s.bits, s.dims) for s in row.schema]
            need(pair[0] != pair[1], "T7", f"{row.name!r}: two equal schemas")
        elif row.in_side[0] and row.in_side[1]:
            row.schema[1] = row.schema[0]
    for i, row in enumerate(rows):
        if row.mapped:
            row.source, row.base_off, row.map_bytes = (cursor.varint() for _ in range(3))
            need(cursor.varint() == 0, "T8", f"{row.name!r}: transform")
        elif row.state in (UNCHANGED, RESIDUAL, SET):
            row.source = i
    cursor.end()
    for i, row in enumerate(rows):
        check_row(rows, i, row)
    return rows


def check_row(rows, i, row):
    """T6 and T9."""
    in_base, in_target = row.in_side
    plain_base = in_base and not row.two_schemas
    suits = {UNCHANGED: in_target and (row.mapped or plain_base),
             WHOLE: in_base and in_target and not row.mapped,
             ADDED: in_target and not in_base and not row.mapped,
             REMOVED: in_base and not in_target and not row.mapped,
             ALIAS: in_target and row.mapped}
    suits[RESIDUAL] = suits[SET] = suits[UNCHANGED]
    need(suits[row.state], "T6", f"{row.name!r}: state {STATES[row.state]}")
    if row.source is None:
        return
    need(row.source < len(rows), "T9", f"{row.name!r}: map of row {row.source}")
    source = rows[row.source]
    if not row.mapped:
        row.map_bytes = source.schema[0].n_bytes
    n_bytes = row.schema[1].n_bytes
    if row.state == ALIAS:
        need(row.source != i and source.in_side[1] and source.state != ALIAS
             and source.schema[1].n_bytes == n_bytes and row.base_off == 0
             and row.map_bytes == n_bytes, "T9", f"{row.name!r}: alias")
        return
    need(source.in_side[0] and row.map_bytes <= n_bytes
         and row.base_off + row.map_bytes <= source.schema[0].n_bytes, "T9", f"{row.name!r}: map")
    need(row.state != UNCHANGED or row.map_bytes == n_bytes == source.schema[0].n_bytes, "T9",
         f"{row.name!r}: unchanged, but not the whole of its source")


class File:
    """An entry of a list of files."""

    def __init__(self, cursor, n_rows):
        self.name = file_name(cursor)
        self.driver = cursor.text(1, 32, "L3")
        need(0 not in self.driver, "L3", "a driver with a zero byte")
        self.size = cursor.varint()
        self.header_len = cursor.varint()
        self.n_tensors = cursor.varint()
        need(self.size < 1 << 56 and self.header_len <= self.size and self.n_tensors <= n_rows,
             "L5", f"{self.name!r}: size {self.size}, header {self.header_len}")
        self.stored = cursor.u8()
        need(self.stored <= 1, "L1", f"{self.name!r}: header {self.stored}")
        self.hint = b"" if self.stored else cursor.text(0, 1 << 24, "L13")
        self.rows = []


def file_name(cursor):
    name = cursor.text(1, 1024, "L3")
    need(is_clean(name) and b"\\" not in name, "L3", f"file name {name!r}")
    for part in name.split(b"/"):
        need(1 <= len(part) <= 255 and part not in (b".", b".."), "L3", f"file name {name!r}")
    return name


class SideFile:
    """A file of a directory that holds no tensors."""

    def __init__(self, cursor):
        self.name = file_name(cursor)
        flags = cursor.u8()
        need(flags < 8 and flags & 3 and (flags < 4 or flags == 7), "L9",
             f"{self.name!r}: flags {flags}")
        self.in_side = [bool(flags & 1), bool(flags & 2)]
        self.changed = flags != 3
        self.size, self.digest = [0, 0], [None, None]
        for side in (0, 1):
            if self.in_side[side] and (side == 0 or self.changed):
                self.size[side] = cursor.varint()
                need(self.size[side] < 1 << 56, "L5", f"{self.name!r}: size {self.size[side]}")
                self.digest[side] = bytes(cursor.take(32))
        if not self.changed:
            self.size[1], self.digest[1] = self.size[0], self.digest[0]


class Layout:
    """Section 12."""

    def __init__(self, data, rows):
        cursor = Cursor(data, "layout")
        self.rows = rows
        self.is_dir, self.files, self.order = [0, 0], [None, None], [None, None]
        self.parse_files(cursor, 1)
        self.order[1] = cursor.runs(sum(f.n_tensors for f in self.files[1]))
        self.parse_files(cursor, 0)
        n = sum(f.n_tensors for f in self.files[0])
        same = cursor.u8()
        need(same <= 1, "L1", f"same {same}")
        need(not same or n == len(self.order[1]), "L8", "orders of different lengths")
        self.order[0] = self.order[1] if same else cursor.runs(n)
        n_side = cursor.varint()
        need(n_side <= MAX_FILES, "L2", f"{n_side} side files")
        self.sides = [SideFile(cursor) for _ in range(n_side)]
        cursor.end()
        names = [s.name for s in self.sides]
        need(all(a < b for a, b in zip(names, names[1:])), "L4", "side files out of order")
        for side in (0, 1):
            self.check_side(side)

    def parse_files(self, cursor, side):
        is_dir = cursor.u8()
        n = cursor.varint()
        need(is_dir <= 1 and n >= 1 and (is_dir or n == 1), "L1", f"is_dir {is_dir}, {n} files")
        need(n <= MAX_FILES, "L2", f"{n} files")
        files = [File(cursor, len(self.rows)) for _ in range(n)]
        need(all(a.name < b.name for a, b in zip(files, files[1:])), "L4", "files out of order")
        need(sum(f.n_tensors for f in files) <= len(self.rows), "L5", "more tensors than rows")
        self.is_dir[side], self.files[side] = is_dir, files

    def check_side(self, side):
        having = [i for i, row in enumerate(self.rows) if row.in_side[side]]
        need(sorted(self.order[side]) == having, "L6", "the order is not that of the side's tensors")
        at = 0
        for file in self.files[side]:
            file.rows = self.order[side][at:at + file.n_tensors]
            at += file.n_tensors
            n_bytes = sum(self.rows[i].schema[side].n_bytes for i in file.rows)
            need(file.header_len + n_bytes == file.size, "L7", f"{file.name!r}: size {file.size}")
            if not file.stored:
                check_hint(file)
        names = {f.name for f in self.files[side]}
        for other in self.sides:
            if other.in_side[side]:
                need(self.is_dir[side] and other.name not in names, "L10", f"{other.name!r}")


def parse_hint(hint):
    cursor = Cursor(hint or b"\4\0", "hint")
    flags, padding = cursor.u8(), cursor.varint()
    metadata = bytes(cursor.data[cursor.pos:])
    need(flags < 8 and padding <= 100000000 and not (flags & 4 and padding), "L13", "hint")
    need(bool(flags & 2) == bool(metadata), "L13", "hint: metadata")
    return flags, padding, metadata


def check_hint(file):
    if file.driver == b"raw":
        need(not file.hint and not file.header_len, "L13", "raw file with a header")
    elif file.driver == b"safetensors":
        parse_hint(file.hint)


def quoted(data):
    short = {8: b"\\b", 12: b"\\f", 10: b"\\n", 13: b"\\r", 9: b"\\t", 34: b'\\"', 92: b"\\\\"}
    return b'"' + b"".join(short.get(c) or (b"\\u%04x" % c if c < 32 else bytes([c]))
                           for c in data) + b'"'


def derived_header(file, rows, side):
    """Section 12.1."""
    if file.driver == b"raw":
        return b""
    need(file.driver == b"safetensors", "L12", f"{file.name!r}: driver {file.driver!r}")
    flags, padding, metadata = parse_hint(file.hint)
    comma, colon = (b", ", b": ") if flags & 1 else (b",", b":")
    members, at = [], 0
    if flags & 2:
        members.append(b'"__metadata__"' + colon + metadata)
    for i in file.rows:
        schema = rows[i].schema[side]
        shape = comma.join(b"%d" % d for d in schema.dims)
        fields = [b'"dtype"' + colon + quoted(schema.dtype), b'"shape"' + colon + b"[" + shape + b"]",
                  b'"data_offsets"' + colon + b"[%d%s%d]" % (at, comma, at + schema.n_bytes)]
        members.append(quoted(rows[i].name) + colon + b"{" + comma.join(fields) + b"}")
        at += schema.n_bytes
    text = b"{" + comma.join(members) + b"}"
    text += b" " * (-len(text) % 8 if flags & 4 else padding)
    need(8 + len(text) == file.header_len, "L12", f"{file.name!r}: header of {8 + len(text)} bytes")
    return struct.pack("<Q", len(text)) + text


# --- Frames

class Frame:
    """An entry of the frame table, and the blocks once they are decoded."""

    def __init__(self, domain, first, start, last, end, stored, n_changed):
        self.domain, self.first, self.start = domain, first, start
        self.last, self.end = last, end
        self.stored, self.n_changed = stored, n_changed
        self.blocks, self.sums = [], None


def parse_frames(data):
    """Section 11."""
    cursor = Cursor(data, "frame table")
    frames, before = [], None
    for _ in range(cursor.varint()):
        domain = cursor.u8()
        first, start, last, end, stored, n_changed = (cursor.varint() for _ in range(6))
        need(domain <= 5 and (not before or domain >= before.domain), "F2", f"domain {domain}")
        need(start < 1 << 62 and 0 < end < 1 << 62, "F3", f"start {start}, end {end}")
        if before and before.domain == domain:
            first += before.last
            start += before.end if first == before.last else 0
        last += first
        end += start if last == first else 0
        need(last < (1 << 32) - 1 and start < 1 << 62 and end < 1 << 62, "F3", f"end {end}")
        need(1 <= stored <= 4 * MIB + 1024, "F4", f"frame of {stored} bytes")
        before = Frame(domain, first, start, last, end, stored, n_changed)
        frames.append(before)
    cursor.end()
    return frames


def extra_tables():
    gap_base, gap_bits = np.zeros(256, np.uint64), np.zeros(256, np.int64)
    value_base, value_bits = np.zeros(256, np.uint64), np.zeros(256, np.int64)
    for k in range(256):
        n = k - 192 + 8
        gap_base[k] = k if k < 192 else 1 << n - 1 if n <= 64 else 0
        gap_bits[k] = 0 if k < 192 else n - 1
        e = (k - 16) // 4 + 2
        value_base[k] = k if k < 16 else (4 + (k - 16) % 4) << e
        value_bits[k] = 0 if k < 16 else e
    return gap_base, gap_bits, value_base, value_bits


GAP_BASE, GAP_BITS, VALUE_BASE, VALUE_BITS = extra_tables()


class Bits:
    """A block's bit stream."""

    def __init__(self, data):
        self.data = bytes(data)
        self.n = 8 * len(data)
        self.pos = 0
        padded = self.data + bytes(16)
        self.bytes = np.frombuffer(padded, np.uint8)
        self.words = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))

    def fields(self, lengths):
        """Reads fields of 0 to 63 bits, as many as lengths has."""
        ends = self.pos + np.cumsum(lengths, dtype=np.int64)
        if not len(ends):
            return np.zeros(0, np.uint64)
        need(ends[-1] <= self.n, "X3", "bit stream read past its end")
        at = ends - lengths
        self.pos = int(ends[-1])
        shift = (at & 7).astype(np.uint64)
        low = self.words[at >> 3].astype(np.uint64) >> shift
        high = self.bytes[(at >> 3) + 8].astype(np.uint64)
        high = np.where(shift > 0, high << ((np.uint64(64) - shift) & np.uint64(63)), np.uint64(0))
        mask = (np.uint64(1) << lengths.astype(np.uint64)) - np.uint64(1)
        return (low | high) & mask

    def end(self):
        need(self.n - self.pos < 8, "X3", f"{self.n - self.pos} bits left")
        need(not self.n > self.pos or self.data[-1] >> 8 - (self.n - self.pos) == 0, "X3",
             "bits left are not 0")


class Block:
    """A block's head (section 14), and later its units and values."""

    object = off = n_bytes = n_units = n_set = changed = n_runs = bits_len = coded_len = 0
    model = None
    units = values = None
    before = after = 0


def parse_head(heads, counts, last):
    block = Block()
    byte = heads.u8()
    moved, gapped, flag = byte >> 6 & 1, byte >> 7, byte >> 5 & 1
    short = byte >> 2 & 7 == 7
    need(last or moved and not short, "B1", "the first block is short or not moved")
    if short:
        need(byte & 3 == 0, "B1", "short form with a kind")
        for field in ("kind", "positions", "complement", "log2", "sign_magnitude", "gap_class",
                      "value_class", "apart", "n_bytes", "shift"):
            setattr(block, field, getattr(last, field))
    else:
        block.kind, block.positions, block.complement = byte & 3, byte >> 2 & 7, flag
        byte = heads.u8()
        block.log2, block.sign_magnitude = byte & 3, byte >> 2 & 1
        block.gap_class, block.value_class, block.apart = byte >> 3 & 3, byte >> 5 & 3, byte >> 7
    step = heads.varint() if moved else 0
    need(not moved or not last or step, "B2", "an object step of 0")
    block.object = step + (last.object if last else 0)
    expected = 0 if moved else last.off + last.n_bytes
    gap = heads.varint() if gapped else 0
    need(block.object <= M64 and (not gapped or 1 <= gap <= 1 << 62) and expected <= 1 << 62, "B2",
         f"object {block.object}, gap {gap}")
    block.off = expected + gap
    if not short:
        block.n_bytes = heads.varint()
        block.shift = heads.u8() if block.positions in (3, 4) else 0
        check_head(block)
    block.n_units = block.n_bytes >> block.log2
    if is_modelled(block):
        block.model = last.model if short and flag else modelled.Model(heads, block.n_units)
        need(not short or flag or not block.model.same(last.model), "B10", "the model of the block before")
    parse_counts(block, counts, last, short, flag)
    return block


def is_modelled(block):
    return block.kind == 0 and block.positions == 0


def check_head(block):
    unit = 1 << block.log2
    changing = block.kind < 2
    need(1 <= block.n_bytes <= MIB and block.n_bytes % unit == 0, "B3", f"{block.n_bytes} bytes")
    need(not changing or block.n_bytes // unit <= MIB // 2, "B3", f"{block.n_bytes} bytes")
    need(changing if block.positions else block.kind != 1, "B4", f"positions {block.positions}")
    need(not is_modelled(block) or not (block.complement or block.apart or block.gap_class or
                                        block.value_class), "B4", "a modelled block's flags")
    need(changing or not (block.complement or block.sign_magnitude or block.apart), "B4", "flags")
    full = block.positions == 6
    need(not full or block.kind == 0 and not block.complement, "B5", "positions full")
    need(not block.apart or block.kind == 0 and not full and block.value_class in (0, 3), "B5",
         "sign apart")
    need(block.kind != 1 or not block.sign_magnitude, "B5", "set with sign-magnitude")
    need(block.shift <= 20 and (block.shift or block.positions != 3), "B6", f"shift {block.shift}")


def parse_counts(block, counts, last, short, flag):
    n = block.n_units
    if block.kind >= 2:
        block.changed = n
    elif block.positions == 6:
        block.n_set = block.changed = n
    else:
        block.n_set = last.n_set + counts.svarint() if short else counts.varint()
        need(0 <= block.n_set <= n, "B7", f"n_set {block.n_set} of {n}")
        need(block.n_set != (n if block.complement else 0), "B7", f"n_set {block.n_set} of {n}")
        block.changed = n - block.n_set if block.complement else block.n_set
    if block.positions == 5:
        block.n_runs = counts.varint()
        need(block.n_runs <= block.n_set, "B8", f"{block.n_runs} runs")
    has_bits = block.kind == 0 or block.kind == 1 and block.positions != 1
    need(not short or not flag or has_bits, "B10", "short form of bit 5 without bits")
    if not has_bits:
        return
    if is_modelled(block):
        block.bits_len = counts.svarint() + (last.bits_len if short else 0)
        block.coded_len = counts.svarint() + (last.coded_len if short else 0)
        need(0 <= block.bits_len <= M32 and 0 <= block.coded_len <= M32, "B9", "lengths of a modelled block")
        return
    bits = block.changed if block.apart and block.value_class == 0 else 0
    bits += block.n_set * {3: block.shift, 4: block.shift + 1}.get(block.positions, 0)
    block.bits_len = (bits + 7) // 8
    if not (short and flag):
        block.bits_len += counts.svarint()
    need(0 <= block.bits_len <= 16 * MIB, "B9", f"bits_len {block.bits_len}")


def decode_gaps(block, tokens, bits):
    """Section 15: the positions of all codings but bitmap and full."""
    tokens = np.frombuffer(tokens, np.uint8)
    need(not len(tokens) or tokens.max() <= 248, "X1", "gap token above 248")
    limit, shift = block.n_units, block.shift
    if block.positions == 3:
        lengths = np.empty(2 * len(tokens), np.int64)
        lengths[0::2], lengths[1::2] = GAP_BITS[tokens], shift
        fields = bits.fields(lengths)
        gaps = GAP_BASE[tokens] + fields[0::2]
        need(not len(gaps) or gaps.max() < limit, "X1", "a position too high")
        gaps = (gaps.astype(np.int64) << shift) + fields[1::2].astype(np.int64)
    else:
        gaps = GAP_BASE[tokens] + bits.fields(GAP_BITS[tokens])
        need(not len(gaps) or gaps.max() < limit, "X1", "a position too high")
        gaps = gaps.astype(np.int64)
    if block.positions != 5:
        return np.cumsum(gaps + 1) - 1
    skips, lengths = gaps[0::2], gaps[1::2] + 1
    need(int(lengths.sum()) == block.n_set, "X2", f"runs of {lengths.sum()} positions")
    starts = np.cumsum(skips + lengths) - lengths
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(block.n_set)


def decode_rice(block, bits):
    ones = np.unpackbits(np.frombuffer(bits.data, np.uint8), bitorder="little").tobytes()
    found, at, n = [], bits.pos, bits.n
    starts = []
    for _ in range(block.n_set):
        one = ones.find(1, at)
        need(one >= 0 and one + 1 + block.shift <= n, "X3", "bit stream read past its end")
        found.append(one - at)
        starts.append(one + 1)
        at = one + 1 + block.shift
    quotients, low = np.array(found, np.int64), np.zeros(block.n_set, np.int64)
    need(not len(found) or max(found) < block.n_units, "X1", "a position too high")
    starts, table = np.array(starts, np.int64), np.frombuffer(ones, np.uint8)
    for i in range(block.shift):
        low |= table[starts + i].astype(np.int64) << i
    bits.pos = at
    return np.cumsum((quotients << block.shift) + low + 1) - 1


def decode_positions(block, share, bits):
    n = block.n_units
    if block.positions == 6:
        return np.arange(n)
    if block.positions == 1:
        listed = np.unpackbits(np.frombuffer(share("bitmap"), np.uint8), bitorder="little")
        listed = np.flatnonzero(listed)
        need(len(listed) == block.n_set, "X2", f"{len(listed)} bits set, expected {block.n_set}")
    elif block.positions == 4:
        listed = decode_rice(block, bits)
    else:
        listed = decode_gaps(block, share("gaps"), bits)
    need(len(listed) == block.n_set, "X2", f"{len(listed)} positions, expected {block.n_set}")
    need(not len(listed) or listed[-1] < n, "X2" if block.positions == 1 else "X1",
         "a position too high")
    if not block.complement:
        return listed
    left = np.ones(n, bool)
    left[listed] = False
    return np.flatnonzero(left)


def whole_units(n, width, bits):
    """n numbers of `width` bits; 64 in two halves, low one first."""
    if width < 64:
        return bits.fields(np.full(n, width))
    halves = bits.fields(np.full(2 * n, 32))
    return halves[0::2] | halves[1::2] << np.uint64(32)


def decode_palette(tokens, width, bits):
    """Section 16: numbers of entries that stand first in the bit stream, or 255 and the number itself."""
    n = int(bits.fields(np.array([8]))[0])
    need(n > 0, "X4", "an empty palette")
    entries = whole_units(n, width, bits)
    need(not ((tokens >= n) & (tokens != 255)).any(), "X4", "a number past the palette")
    known = (tokens < n)
    values = np.empty(len(tokens), np.uint64)
    values[known] = entries[tokens[known]]
    values[~known] = whole_units(int((~known).sum()), width, bits)
    top = np.uint64((1 << width) - 1)
    need(not (values >= top).any(), "X4", "a residual too large")
    return values


def decode_values(block, tokens, bits):
    """Section 16: the residuals of a block of kind 0, as zigzag numbers of 64 bits."""
    tokens = np.frombuffer(tokens, np.uint8)
    top = np.uint64((1 << (8 << block.log2)) - 1)
    one = np.uint64(1)
    if block.apart and block.value_class == 3:
        return decode_palette(tokens, 8 << block.log2, bits) + one
    if block.apart:
        fields = bits.fields(VALUE_BITS[tokens] + 1)
        sign, h = fields & one, VALUE_BASE[tokens] + (fields >> one)
        need(not (h > (top - one - sign) >> one).any(), "X4", "a residual too large")
        return (h << one) + sign + one
    v = VALUE_BASE[tokens] + bits.fields(VALUE_BITS[tokens])
    if block.positions == 6:
        need(not (v > top).any(), "X4", "a residual too large")
        return v
    need(not (v >= top).any(), "X4", "a residual too large")
    return v + one


def decode_block(block, share):
    """Takes the block's shares of the streams, in any order, and decodes them."""
    unit = np.dtype(f"<u{1 << block.log2}")
    if block.kind == 2:
        block.values = np.frombuffer(share("bytes"), np.uint8)
        return
    if is_modelled(block):  # waits for the base
        block.coded = share("coded"), share("bits")
        return
    if block.kind < 2:
        bits = Bits(share("bits"))
        block.units = decode_positions(block, share, bits)
        if block.kind == 0:
            block.values = decode_values(block, share("values"), bits).astype(unit)
        bits.end()
    if block.kind != 0:
        planes = np.empty((block.changed, unit.itemsize), np.uint8)
        for k in range(unit.itemsize):
            planes[:, k] = np.frombuffer(share(k), np.uint8)
        block.values = planes.reshape(-1).view(unit)


def parse_streams(frame, data):
    cursor = Cursor(data, "frame")
    flags, n_blocks, mask = cursor.u8(), cursor.varint(), cursor.varint()
    need(flags <= 1 and mask & 1 and mask < 1 << 22, "Y2", f"flags {flags}, mask {mask:#x}")
    need(1 <= n_blocks <= 16384, "Y4", f"{n_blocks} blocks")
    lengths = []
    for s in range(22):
        if mask >> s & 1:
            raw, stored = cursor.varint(), cursor.varint()
            need(1 <= raw <= 4 * MIB and stored < raw, "Y3", f"stream {s}: {raw}, {stored}")
            lengths.append((s, raw, stored))
    need(sum(raw for _, raw, _ in lengths) <= 4 * MIB, "Y3", "streams above 4 MiB")
    frame.sums = cursor.fixed("QQ") if flags & 1 else None
    streams = {}
    for s, raw, stored in lengths:
        part = cursor.take(stored or raw)
        if stored == 1:
            part = bytes(part) * raw
        elif stored:
            part = unzstd(part, raw)
        streams[s] = Cursor(part, f"stream {s}")
    cursor.end()
    need(n_blocks <= len(streams[0].data), "Y4", f"{n_blocks} blocks")
    for s in range(22):
        streams.setdefault(s, Cursor(b"", f"stream {s}"))
    return n_blocks, streams


def decode_frame(frame, data):
    """Section 13, without what needs the tables (Y7, Y9)."""
    n_blocks, streams = parse_streams(frame, data)
    last, n_units = None, 0
    for _ in range(n_blocks):
        block = parse_head(streams[0], streams[20], last)
        n_units += block.n_units
        need(n_units <= 16 * MIB, "Y6", "more than 16 Mi units")

        def share(what, block=block):
            if isinstance(what, int):
                return streams[12 + what].take(block.changed)
            n = 2 * block.n_runs if block.positions == 5 else block.n_set
            number, n = {"bits": (1, block.bits_len), "bitmap": (2, (block.n_units + 7) // 8),
                         "bytes": (3, block.n_bytes), "gaps": (4 + block.gap_class, n),
                         "values": (8 + block.value_class, block.changed),
                         "coded": (21, block.coded_len)}[what]
            return streams[number].take(n)

        decode_block(block, share)
        frame.blocks.append(block)
        last = block
    for stream in streams.values():
        need(stream.pos == len(stream.data), "Y5", f"{stream.what}: bytes left")
    first, last = frame.blocks[0], frame.blocks[-1]
    need((first.object, first.off) == (frame.first, frame.start), "Y8", "the first block's place")
    need((last.object, last.off + last.n_bytes) == (frame.last, frame.end), "Y8",
         "the last block's place")
    most = sum(b.changed for b in frame.blocks)
    least = sum(1 if b.positions == 6 else b.changed for b in frame.blocks)
    need(least <= frame.n_changed <= most, "Y8", f"n_changed {frame.n_changed}")


def exact_changed(frame):
    """What section 11 says that n_changed is."""
    return sum(int(np.count_nonzero(b.values)) if b.positions == 6 else b.changed
               for b in frame.blocks)


def ordered(x, sign_magnitude, inverse=False):
    """The order map of section 16, and its inverse."""
    if not sign_magnitude:
        return x
    top = x.dtype.type(1 << 8 * x.dtype.itemsize - 1)
    high = (x & top) != 0
    return np.where(high, x ^ top, ~x) if inverse else np.where(high, ~x, x | top)


def decode_modelled(block, base):
    """Section 16a, now that the base is there; ascending."""
    data, bits = block.coded
    bits = Bits(bits)
    width = 8 << block.log2
    try:
        units, values = modelled.decode(
            block.model, [int(x) for x in base], width, block.sign_magnitude, block.off >> block.log2,
            block.n_set, data, lambda n: int(bits.fields(np.array([n]))[0]))
    except modelled.Invalid as e:
        raise Refused(e.rule, str(e)) from None
    bits.end()
    order = np.argsort(np.array(units, np.int64))
    block.units = np.array(units, np.int64)[order]
    block.values = np.array(values, np.uint64)[order].astype(base.dtype)


def lay(block, data, back=False):
    """Lays a block over an object; with `back` takes a residual off it again."""
    part = data[block.off:block.off + block.n_bytes]
    if block.kind == 2:
        part[:] = block.values
        return
    part = part.view(f"<u{1 << block.log2}")
    if block.kind == 3:
        part[:] = block.values
        return
    if is_modelled(block) and block.values is None:
        decode_modelled(block, part)
    old = part[block.units]
    new = block.values
    if block.kind == 0:
        z, one = block.values, block.values.dtype.type(1)
        delta = (z >> one) ^ (np.zeros_like(z) - (z & one))
        mapped = ordered(old, block.sign_magnitude)
        mapped = mapped - delta if back else mapped + delta
        new = ordered(mapped, block.sign_magnitude, inverse=True)
    part[block.units] = new
    if xxhash and not back:
        block.before = xxhash.xxh3_64_intdigest(old.tobytes())
        block.after = xxhash.xxh3_64_intdigest(new.astype(part.dtype).tobytes())


def check_sums(frame):
    if not xxhash or not frame.sums:
        return
    blocks = [b for b in frame.blocks if b.kind < 2]
    need(blocks, "sums", "a frame with sums and no residual or set block")
    for expected, what in zip(frame.sums, ("before", "after")):
        numbers = b"".join(struct.pack("<Q", getattr(b, what)) for b in blocks)
        found = xxhash.xxh3_64_intdigest(numbers)
        need(found == expected, "sums", f"sum_{what} {found:016x}, expected {expected:016x}")


# --- Patches

class Patch:
    """A patch file, checked but for its frames."""

    def __init__(self, data):
        self.data = memoryview(data)
        self.signers = []
        self.parse_prefix()
        self.parse_signatures()
        self.manifest = self.layout = None
        sections = {kind: self.section(kind) for kind in (2, 3, 5, 4, 6, 1)}
        self.rows = parse_table(sections[2])
        self.parse_digests(sections[3])
        self.frames = parse_frames(sections[4])
        self.frame_digests = sections[5]
        need(len(self.frame_digests) == 32 * len(self.frames), "F1", "frame digests")
        need(sum(f.stored for f in self.frames) == self.entries[7][1], "F4", "stored of frames")
        self.layout = Layout(sections[6], self.rows)
        for frame in self.frames:
            need(frame.start < self.object_len(frame.domain, frame.first)
                 and frame.end <= self.object_len(frame.domain, frame.last), "F5",
                 f"frame of domain {frame.domain}")
        self.check_covered()
        self.manifest = parse_manifest(bytes(sections[1]))
        self.profile = self.manifest["profile"]
        self.check_roots()
        self.blocks = None

    def parse_prefix(self):
        """Section 5."""
        data = self.data
        need(data[:8] == b"\x89FMP\r\n\x1a\n", "P1", "not a patch")
        need(len(data) >= 24, "P4", "cut short")
        version, n, reserved, body_len = struct.unpack_from("<HHIQ", data, 8)
        need(version == 0, "P2", f"version {version}")
        need(reserved == 0, "P3", "reserved bytes")
        self.prefix_len = 24 + 64 * n
        need(1 <= n <= 32 and self.prefix_len <= len(data), "P4", f"{n} sections")
        self.prefix = bytes(data[:self.prefix_len])
        need(self.prefix_len + 4 <= len(data), "G1", "no signature section")
        self.records_len, = struct.unpack_from("<I", data, self.prefix_len)
        self.body = self.prefix_len + 4 + self.records_len
        self.entries, end = {}, 0
        for i in range(n):
            kind, flags, coding, offset, stored, raw, digest = struct.unpack_from(
                "<HHIQQQ32s", data, 24 + 64 * i)
            need(flags <= 1 and coding <= 1, "P5", f"section {kind}: flags {flags}, coding {coding}")
            known = 1 <= kind <= 7
            need(known or flags == 0, "P6", f"required section of type {kind}")
            need(not known or flags == 1, "P7", f"section {kind} is not required")
            need(offset == end, "P8", f"section {kind} at {offset}, expected {end}")
            end = offset + stored
            need(coding or stored == raw, "P9", f"section {kind}: {stored} bytes, raw {raw}")
            need(kind not in self.entries, "P10", f"section {kind} stands twice")
            need(kind not in (3, 5, 7) or not coding, "P15", f"section {kind} is compressed")
            self.entries[kind] = (offset, stored, raw, coding, digest)
        need(end == body_len, "P8", f"sections end at {end}, body at {body_len}")
        need(all(k in self.entries for k in range(1, 8)), "P10", "a section is missing")
        need(self.entries[5][4] == self.entries[7][4], "P11", "digests of sections 5 and 7")
        need(self.records_len <= 65532 and self.body <= len(data), "G1", "signature section")
        need(self.body + body_len == len(data), "P12", f"{len(data)} bytes, expected "
             f"{self.body + body_len}")

    def parse_signatures(self):
        """Section 6."""
        records = bytes(self.data[self.prefix_len + 4:self.body])
        keys = set()
        while records:
            need(len(records) >= 2, "G2", "signature record")
            length, = struct.unpack_from("<H", records)
            record, records = records[2:2 + length], records[2 + length:]
            need(length >= 100 and len(record) == length, "G2", f"signature record of {length} bytes")
            suite, key, comment_len = struct.unpack_from("<H32sH", record)
            need(comment_len <= 1024, "G3", f"comment of {comment_len} bytes")
            need(length == 100 + comment_len, "G2", f"signature record of {length} bytes")
            comment, signature = record[36:36 + comment_len], record[36 + comment_len:]
            need(is_clean(comment, plain=True), "G3", f"comment {comment!r}")
            need(key not in keys, "G4", "a key signs twice")
            keys.add(key)
            if suite != 1:
                continue
            message = (b"fmpatch-signature-v1\0" + struct.pack("<HB", suite, 1)
                       + record[2:36 + comment_len]
                       + struct.pack("<I", self.prefix_len) + self.prefix)
            need(signature_is_right(key, message, signature), "G5", f"signature of {key.hex()}")
            self.signers.append((key, comment))

    def section(self, kind):
        offset, stored, raw, coding, digest = self.entries[kind]
        data = self.data[self.body + offset:self.body + offset + stored]
        need(blake(data) == digest, "P13", f"section {kind}: digest")
        more = max(raw - MIB, 0)
        need(more // 1024 <= stored or kind in (2, 6) and
             more // 2048 <= self.entries[3][1] // 32, "P14", f"section {kind} of {raw} bytes")
        need(raw <= MAX_SECTION, "19", f"section {kind} of {raw} bytes")
        return unzstd(data, raw) if coding else bytes(data)

    def parse_digests(self, data):
        """Section 10."""
        n = sum(r.in_side[0] + r.own_digest for r in self.rows)
        need(len(data) == 32 * n, "D1", f"{len(data)} bytes of digests, expected {32 * n}")
        digests = [data[i:i + 32] for i in range(0, len(data), 32)]
        for row in self.rows:
            row.digest[0] = digests.pop(0) if row.in_side[0] else None
        for row in self.rows:
            row.digest[1] = digests.pop(0) if row.own_digest else None
        for row in self.rows:
            if row.state == UNCHANGED:
                row.digest[1] = self.rows[row.source].digest[0]
        for row in self.rows:
            if row.state == ALIAS:
                row.digest[1] = self.rows[row.source].digest[1]

    def object_len(self, domain, number):
        side, kind = (0 if domain >= 3 else 1), domain % 3
        if kind == 0:
            order = self.layout.order[side]
            need(number < len(order), "F5", f"domain {domain} has no object {number}")
            return self.rows[order[number]].schema[side].n_bytes
        if kind == 1:
            need(number < len(self.layout.files[side]), "F5", f"domain {domain}, object {number}")
            return self.layout.files[side][number].header_len
        need(number < len(self.layout.sides) and self.layout.sides[number].in_side[side], "F5",
             f"domain {domain} has no object {number}")
        return self.layout.sides[number].size[side]

    def covered(self, domain, number):
        """Whether frames of the domain cover the object from its first to its last byte."""
        at, size = 0, self.object_len(domain, number)
        for f in self.frames:
            if f.domain == domain and f.first <= number <= f.last:
                start = f.start if f.first == number else 0
                if start > at:
                    return False
                at = f.end if f.last == number else size
        return at >= size

    def check_covered(self):
        for i, file in enumerate(self.layout.files[1]):
            need(not file.stored or self.covered(1, i), "L11", f"{file.name!r}: header")
        for i, side in enumerate(self.layout.sides):
            if side.in_side[1] and side.changed:
                need(self.covered(2, i), "L11", f"{side.name!r}")

    def root(self, side, with_digests):
        parts, n = [], 0
        for row in self.rows:
            if row.in_side[side]:
                schema = row.schema[side]
                parts += [struct.pack("<I", len(row.name)), row.name,
                          struct.pack("<B", len(schema.dtype)), schema.dtype,
                          struct.pack(f"<I{len(schema.dims)}Q", len(schema.dims), *schema.dims)]
                parts += [row.digest[side]] if with_digests else []
                n += 1
        parts.append(struct.pack("<Q", n))
        return blake(b"".join(parts), b"fmp1-model" if with_digests else b"fmp1-shape").hex()

    def check_roots(self):
        for side, name in enumerate(("base", "target")):
            value = self.manifest.get(name)
            need(isinstance(value, dict), "M5", f"manifest: {name}")
            need(value.get("root") == self.root(side, True), "M5", f"manifest: {name}.root")
            need(value.get("shape_root") == self.root(side, False), "M5",
                 f"manifest: {name}.shape_root")

    def decode(self):
        """Decodes and checks every frame: the blocks by domain and object."""
        if self.blocks is not None:
            return self.blocks
        at = self.body + self.entries[7][0]
        blocks = {}
        for i, frame in enumerate(self.frames):
            data = self.data[at:at + frame.stored]
            at += frame.stored
            need(blake(data) == self.frame_digests[32 * i:32 * i + 32], "Y1", f"frame {i}: digest")
            decode_frame(frame, data)
            for block in frame.blocks:
                self.check_block(frame.domain, block)
                blocks.setdefault((frame.domain, block.object), []).append(block)
        self.blocks = blocks
        return blocks

    def check_block(self, domain, block):
        need(self.profile == "compact" or not is_modelled(block), "B11", "a modelled block in an open patch")
        size, end = self.object_len(domain, block.object), block.off + block.n_bytes
        need(end <= size, "Y7", f"block up to {end} of {size} bytes")
        need(block.off // MIB == (end - 1) // MIB, "Y7", "a block crosses 1 MiB")
        need(domain == 0 or block.kind >= 2, "Y9", f"kind {block.kind} in domain {domain}")
        if domain:
            return
        row = self.rows[self.layout.order[1][block.object]]
        behind = block.off >= row.map_bytes and block.kind >= 2
        right = {WHOLE: block.kind >= 2, ADDED: block.kind >= 2,
                 RESIDUAL: block.kind == 0 if end <= row.map_bytes else behind,
                 SET: end <= row.map_bytes or behind}
        need(right.get(row.state), "Y9", f"{row.name!r}: block of kind {block.kind}")

    def new_content(self, domain, number):
        data = np.zeros(self.object_len(domain, number), np.uint8)
        for block in self.decode().get((domain, number), []):
            lay(block, data)
        return data

    def ways_back(self):
        """Section 18.2: by row of a base tensor, the row to undo, or None for old content."""
        if self.profile == "compact" and self.frames:
            return None
        ways = {}
        for s, row in enumerate(self.rows):
            if row.state in (UNCHANGED, RESIDUAL) and row.base_off == 0:
                if row.map_bytes == self.rows[row.source].schema[0].n_bytes:
                    ways.setdefault(row.source, s)
        for r, row in enumerate(self.rows):
            if row.state == ALIAS and row.in_side[0] and r not in ways and row.source in ways:
                other = self.rows[row.source]
                if other.schema[0] is row.schema[0] and other.digest[0] == row.digest[0]:
                    ways[r] = ways[row.source]
        for place, r in enumerate(self.layout.order[0]):
            if r not in ways:
                if not self.covered(3, place):
                    return None
                ways[r] = None
        for i, file in enumerate(self.layout.files[0]):
            if file.stored and not self.covered(4, i):
                return None
        for i, side in enumerate(self.layout.sides):
            if side.in_side[0] and side.changed and not self.covered(5, i):
                return None
        return ways

    def apply(self, checkpoint):
        """Section 18.1.  Returns whether the result is a directory, and its files by name."""
        base = self.check_tensors(checkpoint, 0)
        blocks = self.decode()
        places = {i: place for place, i in enumerate(self.layout.order[1])}
        tensors = {}
        for i in self.layout.order[1]:
            row = self.rows[i]
            origin = self.rows[row.source] if row.state == ALIAS else row
            place = places[row.source if row.state == ALIAS else i]
            data = np.zeros(row.schema[1].n_bytes, np.uint8)
            if origin.source is not None:
                old = base[origin.source]
                data[:origin.map_bytes] = old[origin.base_off:origin.base_off + origin.map_bytes]
            for block in blocks.get((0, place), []):
                lay(block, data)
            need(tensor_digest(data) == row.digest[1], "A3", f"{row.name!r}: digest")
            tensors[i] = data
        result = self.make_files(checkpoint, 1, tensors)
        for frame in self.frames:
            check_sums(frame)
        return result

    def revert(self, checkpoint):
        """Section 18.3."""
        ways = self.ways_back()
        need(ways is not None, "18.2", "the patch is not reversible")
        target = self.check_tensors(checkpoint, 1)
        blocks = self.decode()
        places = {i: place for place, i in enumerate(self.layout.order[1])}
        tensors = {}
        for place, i in enumerate(self.layout.order[0]):
            row, n_bytes = self.rows[i], self.rows[i].schema[0].n_bytes
            if ways[i] is None:
                data = self.new_content(3, place)
            else:
                data = target[ways[i]][:n_bytes].copy()
                for block in blocks.get((0, places[ways[i]]), []):
                    if block.kind == 0:
                        lay(block, data, back=True)
            need(tensor_digest(data) == row.digest[0], "18.3", f"{row.name!r}: digest")
            tensors[i] = data
        return self.make_files(checkpoint, 0, tensors)

    def check_tensors(self, checkpoint, side):
        """The rows' tensors in a checkpoint (A1 and A2)."""
        tensors = checkpoint.tensors(self.layout.files[side])
        expected = {r.name: i for i, r in enumerate(self.rows) if r.in_side[side]}
        for name in sorted(set(tensors) ^ set(expected)):
            raise Refused("A1", f"{name!r}: on one side only")
        result = {}
        for name, i in expected.items():
            dtype, dims, data = tensors[name]
            row = self.rows[i]
            schema = row.schema[side]
            need((dtype, dims) == (schema.dtype, schema.dims), "A1", f"{name!r}: {dtype} {dims}")
            need(tensor_digest(data) == row.digest[side], "A2", f"{name!r}: digest")
            result[i] = np.frombuffer(data, np.uint8)
        return result

    def make_files(self, checkpoint, side, tensors):
        files = {}
        for i, file in enumerate(self.layout.files[side]):
            need(file.size <= MAX_WRITTEN, "19", f"{file.name!r}: {file.size} bytes")
            if file.stored:
                header = self.new_content(1 if side else 4, i).tobytes()
            else:
                header = derived_header(file, self.rows, side)
            files[file.name] = header + b"".join(tensors[t].tobytes() for t in file.rows)
        for i, other in enumerate(self.layout.sides):
            if not other.in_side[side]:
                continue
            if other.changed:
                data = self.new_content(2 if side else 5, i).tobytes()
            else:
                data = checkpoint.side_file(other.name)
                if data is None:
                    print(f"note: goes without {other.name!r}, the input is no directory",
                          file=sys.stderr)
                    continue
            need(len(data) == other.size[side] and tensor_digest(data) == other.digest[side],
                 "A4" if other.changed else "A5", f"{other.name!r}: digest")
            files[other.name] = data
        return bool(self.layout.is_dir[side]), files


# --- Checkpoints

class Checkpoint:
    """A safetensors file, a sharded index, a directory or a file of plain bytes."""

    def __init__(self, path):
        self.path = os.fsencode(path)

    def tensors(self, files):
        """By name: dtype, dims and bytes.  Whether files are raw is taken from the layout."""
        if os.path.isdir(self.path):
            paths = [os.path.join(self.path, f.name) for f in files]
            if not all(os.path.exists(p) for p in paths):
                paths = sorted(os.path.join(self.path, n) for n in os.listdir(self.path)
                               if n.endswith(b".safetensors"))
        elif self.path.endswith(b".index.json"):
            with open(self.path, "rb") as index:
                names = sorted(set(json.load(index)["weight_map"].values()))
            paths = [os.path.join(os.path.dirname(self.path), os.fsencode(n)) for n in names]
        else:
            paths = [self.path]
        result = {}
        for path in paths:
            with open(path, "rb") as file:
                data = file.read()
            if files[0].driver == b"raw":
                return {b"data": (b"U8", [len(data)], data)}
            length, = struct.unpack_from("<Q", data)
            header = json.loads(data[8:8 + length].decode())
            body = memoryview(data)[8 + length:]
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = entry["data_offsets"]
                    result[name.encode()] = (entry["dtype"].encode(), entry["shape"], body[begin:end])
        return result

    def side_file(self, name):
        folder = self.path
        if folder.endswith(b".index.json"):
            folder = os.path.dirname(folder)
        elif not os.path.isdir(folder):
            return None
        try:
            with open(os.path.join(folder, name), "rb") as file:
                return file.read()
        except FileNotFoundError as error:
            raise Refused("A5", f"{name!r}: not there") from error


def open_patch(path):
    with open(path, "rb") as file:
        return Patch(file.read())


def write_result(out, is_dir, files):
    for name, data in files.items():
        path = os.path.join(os.fsencode(out), name) if is_dir else os.fsencode(out)
        os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def print_info(patch):
    print(json.dumps(patch.manifest, indent=1, ensure_ascii=False))
    for key, comment in patch.signers:
        print(f"signed by {key.hex()} {comment.decode()}")
    for i, row in enumerate(patch.rows):
        shapes = [f"{s.dtype.decode()}{s.dims}" if s else "-" for s in row.schema]
        source = "" if not row.mapped else f" from {row.source} at {row.base_off}: {row.map_bytes}"
        print(f"{i} {row.name.decode()} {STATES[row.state]} {shapes[0]} {shapes[1]}{source}")
    print(f"{len(patch.frames)} frames; reversible: {patch.ways_back() is not None}")


def main(arguments):
    options = [a for a in arguments if a.startswith("--")]
    paths = [a for a in arguments if not a.startswith("--")]
    if not arguments or options not in ([], ["--revert"], ["--info"]) or \
            len(paths) != (1 if options == ["--info"] else 3):
        print(__doc__, end="")
        return 2 if arguments else 0
    try:
        patch = open_patch(paths[0])
        if options == ["--info"]:
            print_info(patch)
            return 0
        work = patch.revert if options else patch.apply
        write_result(paths[2], *work(Checkpoint(paths[1])))
    except Refused as error:
        print(f"read_fmp.py: {paths[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

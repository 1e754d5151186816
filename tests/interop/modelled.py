"""Modelled blocks (FORMAT.md 16a), for read_fmp.py: positions and residuals that are told given the base.

Written from the text of FORMAT.md.  Plain integers, decision by decision: slow, and easy to hold against
the text.
"""
M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
STILL = 31


class Invalid(Exception):
    def __init__(self, rule, text):
        super().__init__(text)
        self.rule = rule


def need(condition, rule, text):
    if not condition:
        raise Invalid(rule, text)


class Decisions:
    """The range coded stream and the contexts, which are made when they are first met."""

    EVEN = ("more", "place", "sign", "lead")

    def __init__(self, data):
        self.data, self.at = data, 0
        self.range, self.low = M64, 0
        self.code = self.take(8)
        self.contexts = {}

    def take(self, n):
        part = self.data[self.at:self.at + n]
        self.at += n
        return int.from_bytes(part + bytes(n - len(part)), "big")

    def read(self, *name):
        p, n = self.contexts.get(name) or (1 << 21, 6 if name[0] in self.EVEN else 0)
        q = p >> 6 | 1
        bound = (self.range >> 16) * q
        d = self.code < bound
        if d:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
            self.low = (self.low + bound) & M64
        w = (1 << 17) // (2 * n + 3)
        p = p + (((1 << 22) - 1 - p) * w >> 16) if d else p - (p * w >> 16)
        self.contexts[name] = (p, min(n + 1, 127))
        if self.range <= M32:
            self.range = self.range << 32
            self.low = self.low << 32 & M64
            self.code = (self.code << 32 | self.take(4)) & M64
        return int(d)

    def end(self):
        v = (self.low + self.range - 1) & M64
        b = next(b for b in range(64, -1, -8) if v % (1 << b) < self.range)
        last = v - v % (1 << b)
        need(self.code == (last - self.low) & M64, "D1", "the decisions end in another way")
        need(not self.data or self.data[-1], "D1", "the decisions end in a zero byte")
        need(len(self.data) <= self.at, "D1", "decisions that are not read")


class Model:
    """What the head says."""

    def __init__(self, cursor, n_units):
        flags = cursor.u8()
        need(flags < 32, "D2", f"flags {flags}")
        self.by_row, self.kept = flags & 1, flags >> 1
        self.key_shift = cursor.u8()
        self.scale = cursor.varint()
        need(self.key_shift <= 64 and self.scale < 320, "D2", f"shift {self.key_shift}, scale {self.scale}")
        self.row_len, self.first, self.step = 0, [], []
        if self.by_row:
            self.row_len = cursor.varint()
            need(2 <= self.row_len <= n_units, "D2", f"rows of {self.row_len} in {n_units} units")
            return
        n = cursor.u8()
        need(1 <= n <= 32, "D2", f"{n} classes")
        self.first, self.step = [0], [cursor.u8()]
        for _ in range(n - 1):
            byte = cursor.u8()
            keys, code = byte & 15, byte >> 4
            if not keys:
                keys = cursor.u8()
                need(keys >= 16, "D2", f"{keys} keys told by a byte")
            before = self.step[-1]
            reach = range(max(0, before - 5), min(19, before + 8) + 1) if before != STILL else range(0)
            step = {14: lambda: cursor.u8(), 15: lambda: STILL}.get(code, lambda: before - 5 + code)()
            if code == 14:
                need(step not in reach and step != STILL, "D2", f"step {step} told by a byte")
            elif code != 15:
                need(step in reach, "D2", f"step {step} behind {before}")
            self.first.append(self.first[-1] + keys)
            self.step.append(step)
        need(self.first[-1] <= 255, "D2", "a class begins behind the last key")
        need(all(s <= 19 or s == STILL for s in self.step), "D2", f"steps {self.step}")

    def same(self, other):
        return self.__dict__ == other.__dict__


def by_class(model, keys, n_set, read, raw):
    """Positions in the order in which they are told."""
    told = []
    bounds = model.first + [256]
    for c, step in enumerate(model.step):
        if step == STILL:
            continue
        units = [i for i, k in enumerate(keys) if bounds[c] <= k < bounds[c + 1]]
        at, n = 0, 0
        while at < len(units):
            if not read("more", c):
                at += 1 << step
                continue
            g = 0
            for i in range(min(2, step)):
                g = g << 1 | read("place", 0 if i == 0 else 1 + g)
            if step > 2:
                g = g << step - 2 | raw(step - 2)
            at += g
            need(at < len(units), "D3", f"rank {at} of {len(units)}")
            need(len(told) < n_set, "D3", f"more than {n_set} changes")
            told.append(units[at])
            at, n = at + 1, n + 1
        need(n, "D3", f"class {c} has no change")
    need(len(told) == n_set, "D3", f"{len(told)} changes, expected {n_set}")
    return told


def by_row(model, n_units, first, n_set, read):
    told, density, level, at = [], [0] * model.row_len, 0, 0
    column = first % model.row_len
    while at < n_units:
        before, level = level, 0
        while level < 11 and read("level", before, level):
            level += 1
        end, n = min(n_units, at + model.row_len - column), 0
        if level:
            for i in range(at, end):
                c = column + i - at
                d = density[c]
                changed = read("unit", level, min(9, (d // 8).bit_length()))
                density[c] = d + (4095 - d) // 8 if changed else d - (d + 15) // 16
                if changed:
                    need(len(told) < n_set, "D4", f"more than {n_set} changes")
                    told.append(i)
                    n += 1
        need(level == (1 + (n.bit_length() - 1) // 2 if n else 0), "D4", f"{n} changes in a row of level {level}")
        at, column = end, 0
    need(len(told) == n_set, "D4", f"{len(told)} changes, expected {n_set}")
    return told


def residual(model, x, width, key, read, raw):
    down = read("sign", x >> width - 1)
    least, most = key + 1, key + width
    start = min(max(model.scale, least), most)
    at = start
    if start < most and read("first", key):
        at += 1
        while at < most and read("up", at):
            at += 1
    else:
        while at > least and read("down", at):
            at -= 1
    scale, left, size = at, at - key - 1, 1
    if left:
        size = size << 1 | read("lead", scale)
        left -= 1
        kept = left if not model.kept or model.kept >= left + 1 else model.kept - 1
        if kept:
            size = size << kept | raw(kept)
        left -= kept
        told, i = 1, 0
        while left and not (read("rest", scale) if i == 0 else read("later", i - 1)):
            n = min(4, left)
            told = raw(n)
            size, left, i = size << n | told, left - n, i + 1
        need(told, "D5", "bits said not to be 0 are 0")
        size <<= left
    z = 2 * size - down
    need(1 <= z < 1 << width, "D5", f"a residual of {z}")
    return z


def decode(model, units, width, sign_magnitude, first, n_set, data, raw):
    """(positions, residuals as zigzag numbers), in the order in which they are told.

    units: the base's units of the block; first: number of the first of them in its tensor; data: the
    decisions; raw(n): the next n raw bits.
    """
    decisions = Decisions(bytes(data))
    top = (1 << width - 1) - 1 if sign_magnitude else (1 << width) - 1

    def key(x):
        return 0 if model.key_shift >= width else (x & top) >> model.key_shift & 255

    if model.by_row:
        told = by_row(model, len(units), first, n_set, decisions.read)
    else:
        told = by_class(model, [key(x) for x in units], n_set, decisions.read, raw)
    values = [residual(model, units[i], width, key(units[i]), decisions.read, raw) for i in told]
    decisions.end()
    return told, values

"""Groups texts that are nearly the same, so that a split can keep each group on one side.

Two texts are joined when the Jaccard similarity of their sets of word trigrams is at least a threshold.
Candidates come from MinHash (Broder 1997, "On the resemblance and containment of documents") with banding:
128 hashes in 32 bands of 4, which meets a pair of similarity 0.5 with probability 1 - (1 - 0.5^4)^32 = 0.87
and one of 0.7 with probability 0.9998.  Each candidate is checked on the sets themselves.  Groups are the
connected components of what is joined.
"""
import hashlib
import re
from collections import defaultdict

import numpy as np

HASHES = 128
BAND = 4
MOST_WORDS = 2000  # of a text that are looked at


class Groups:
    """Disjoint sets over 0 .. n - 1; the name of a set is its smallest member."""

    def __init__(self, n):
        self.parent = list(range(n))

    def find(self, i):
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i, j):
        i, j = self.find(i), self.find(j)
        self.parent[max(i, j)] = min(i, j)

    def names(self):
        return [self.find(i) for i in range(len(self.parent))]


def shingles(text):
    """The sorted distinct 32-bit hashes of the word trigrams; digits all count as the same."""
    words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))[:MOST_WORDS]
    grams = {" ".join(words[i:i + 3]) for i in range(max(1, len(words) - 2))}
    codes = [int.from_bytes(hashlib.blake2b(g.encode(), digest_size=4).digest(), "little") for g in grams]
    return np.unique(np.array(codes, dtype=np.uint64))


def signatures(sets, seed):
    """One row of HASHES minima a set.  The hashes are (a x + b) mod 2^64, upper half kept."""
    random = np.random.Generator(np.random.PCG64(seed))
    a = random.integers(0, 1 << 63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    b = random.integers(0, 1 << 63, HASHES, dtype=np.uint64)
    rows = np.empty((len(sets), HASHES), dtype=np.uint32)
    for i, codes in enumerate(sets):
        mixed = codes[:, None] * a[None, :] + b[None, :]
        rows[i] = (mixed >> np.uint64(32)).astype(np.uint32).min(axis=0)
    return rows


def similar(a, b):
    both = np.intersect1d(a, b, assume_unique=True).size
    return both / (a.size + b.size - both)


def join_near_duplicates(texts, threshold, groups, seed=1):
    """Joins in `groups` all candidates of at least that similarity."""
    sets = [shingles(t) for t in texts]
    rows = signatures(sets, seed)
    for first in range(0, HASHES, BAND):
        buckets = defaultdict(list)
        for i, key in enumerate(map(bytes, np.ascontiguousarray(rows[:, first:first + BAND]))):
            buckets[key].append(i)
        for members in buckets.values():
            # A member is held against the members before it that are not in its group yet.
            for at, i in enumerate(members):
                for j in members[:at]:
                    if groups.find(i) != groups.find(j) and similar(sets[i], sets[j]) >= threshold:
                        groups.join(i, j)

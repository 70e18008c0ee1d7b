"""Tables that turn one random word into the index of a category.

Weights become 64-bit integers, scaled by one power of two per table so that their sum
is as large as 2⁶³ allows: float32 cumulative sums lose most of a million categories,
and float64 ones depend on the order of summation; integers lose and do neither. NumPy
builds the tables for both backends, so both draw the same categories.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

# log₂ of how many guide entries there are to a category, and at most in all.
_GUIDE_BITS, _MOST_GUIDE_BITS = 4, 22


class IndexTable:
    """Inclusive prefix sums of integer weights: one table [K], or B of them [B, K].

    A word u picks category k, the first with cumulative[k] > ⌊u·T/2⁶⁴⌋, T being the
    last sum: k has probability (cumulative[k] − cumulative[k−1])/T to within 2⁻⁶⁴. A
    weight of 0 is never picked, nor is one under 2⁻⁶³ of the sum, which rounds to 0.

    cumulative  uint64 [K] or [B, K]
    guide       int32 [G], G a power of two, of a single table: guide[j] is the category
                of the least word of bucket j, words u with ⌊u·G/2⁶⁴⌋ = j; search from
                there upward
    """

    def __init__(self, cumulative: Words) -> None:
        self.cumulative = cumulative

    @classmethod
    def from_weights(cls, weights: NDArray[np.floating]) -> IndexTable:
        """Tables of weights ≥ 0, [K] or [B, K], that need not sum to 1."""
        wide = np.asarray(weights, dtype=np.float64)
        total = wide.sum(axis=-1, keepdims=True)
        if not np.all((total > 0) & (total < np.inf)):
            raise ValueError(
                "weights must be finite, with a positive sum in every row, to be drawn "
                "from; no category can be picked here."
            )
        _, exponent = np.frexp(total)  # total < 2^exponent
        # Exact but for the fraction cut off: a power of two times a float64.
        scaled = np.ldexp(wide, 63 - exponent).astype(np.uint64)
        return cls(np.cumsum(scaled, axis=-1, dtype=np.uint64))

    @classmethod
    def from_log_weights(cls, log_weights: NDArray[np.floating]) -> IndexTable:
        """Tables of the logarithms of weights, [K] or [B, K], −∞ for none."""
        wide = np.asarray(log_weights, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # all −∞: refused as having no sum
            return cls.from_weights(np.exp(wide - wide.max(axis=-1, keepdims=True)))

    @property
    def total(self) -> Words:
        """T, the sum of the integer weights: uint64 scalar or [B], in 2⁶² … 2⁶³."""
        total: Words = self.cumulative[..., -1]
        return total

    @cached_property
    def guide(self) -> NDArray[np.int32]:
        """The category at which the search of each bucket of words begins."""
        bits = (self.cumulative.size - 1).bit_length() + _GUIDE_BITS
        bits = min(bits, _MOST_GUIDE_BITS)
        least = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        return self._search(mulhi64(least, self.total)).astype(np.int32)

    def find(self, words: Words, first: int = 0) -> Indices:
        """The category of each word; word i reads table (first + i) mod B."""
        if self.cumulative.ndim == 2:
            return self._bisect(words, first)
        buckets = (words >> self._shift).view(np.int64)
        found = self._settled.take(buckets).astype(np.int64)
        open_ = np.flatnonzero(found < 0)
        if open_.size:
            found[open_] = self._climb(words.take(open_), buckets.take(open_))
        return found

    def _climb(self, words: Words, buckets: Indices) -> Indices:
        """The category of words from buckets that are shared by several."""
        threshold = mulhi64(words, self.total)
        found = self.guide.take(buckets).astype(np.int64)
        # Mostly two share it, so one step arrives; dead ones between are searched for.
        found += self.cumulative.take(found) <= threshold
        far = np.flatnonzero(self.cumulative.take(found) <= threshold)
        if far.size:
            found[far] = self._search(threshold.take(far))
        return found

    @cached_property
    def _shift(self) -> np.uint64:
        return np.uint64(65 - self.guide.size.bit_length())

    @cached_property
    def _settled(self) -> NDArray[np.int32]:
        """The category of all words of a bucket; −1 where they differ."""
        last = np.append(self.guide[1:], self._search(self.total - np.uint64(1)))
        return np.where(self.guide == last, self.guide, np.int32(-1))

    def _search(self, threshold: Words) -> Indices:
        """The first k with cumulative[k] > threshold, in the one table."""
        return np.searchsorted(self.cumulative, threshold, side="right")

    def _bisect(self, words: Words, first: int) -> Indices:
        """`_search` in each word's own table: log₂ K steps for all words at once."""
        batch, count = self.cumulative.shape
        table = np.arange(first, first + len(words)) % batch
        threshold = mulhi64(words, self.total[table])
        flat = self.cumulative.reshape(-1)
        before = table * count - 1  # one less than where the table begins
        found = np.zeros(len(words), dtype=np.int64)
        step = 1 << (count.bit_length() - 1)
        while step:
            probe = np.minimum(found + step, count)
            found += step * (flat.take(before + probe) <= threshold)
            step >>= 1
        return found


def mulhi64(a: Words, b: Words) -> Words:
    """⌊a·b/2⁶⁴⌋ of 64-bit integers, exactly: schoolbook in halves of 32 bits."""
    a_low, a_high = a & _LOW, a >> _HALF
    b_low, b_high = b & _LOW, b >> _HALF
    middle = a_high * b_low + (a_low * b_low >> _HALF)  # < 2⁶⁴
    carry = a_low * b_high + (middle & _LOW)  # < 2⁶⁴
    high: Words = a_high * b_high + (middle >> _HALF) + (carry >> _HALF)
    return high

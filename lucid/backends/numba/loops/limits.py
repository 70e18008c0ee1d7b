"""What sums without a largest exponent are kept within; see loops/plain.py.

An array holds the least y and the one that stands for ∞, the number that rounds y and
shifts it, that shift, and the least sum to be trusted, in these places.
"""

from __future__ import annotations

LEAST, MOST, SHIFTED_ROUNDER, SHIFT, TRUSTED = 0, 1, 2, 3, 4

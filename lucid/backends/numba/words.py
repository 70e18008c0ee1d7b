"""The product that Philox is made of, for which Numba has no word."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


# Numba has no types for a checker to read.
@intrinsic  # type: ignore[untyped-decorator]
def wide_product(typing_context: Any, a: Any, b: Any) -> Any:
    """The high and the low word of a·b, of two uint64: one instruction on x86-64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = arguments[0].type
        wide = type(word)(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.trunc(builder.lshr(product, wide(64)), word)
        low = builder.trunc(product, word)
        return context.make_tuple(builder, signature.return_type, (high, low))

    pair = types.UniTuple(types.uint64, 2)
    return pair(types.uint64, types.uint64), generate

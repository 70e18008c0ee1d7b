"""What compiled loops need of LLVM that Numba has no word for."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


# Numba has no types for a checker to read: each of its decorators here is without.
@intrinsic  # type: ignore[untyped-decorator]
def wide_vectors(typing_context: Any) -> Any:
    """Let LLVM use 512-bit vectors in the function that calls this.

    On many processors that have them it prefers 256 bits, for programs that use a few
    here and there; these loops do nothing else. No instruction is made of the call.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite checks names against a list, without those in quotation marks.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic  # type: ignore[untyped-decorator]
def inlined(typing_context: Any) -> Any:
    """Let LLVM put the function that calls this into its callers, however long it is.

    A loop that calls a function does not become vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic  # type: ignore[untyped-decorator]
def call(typing_context: Any, address: Any, *arguments: Any) -> Any:
    """Call the compiled function at an address, which returns and raises nothing."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = signature.args[1]
        convention = context.call_conv
        kind = convention.get_function_type(types.none, given.types)
        pointer = builder.inttoptr(values[0], kind.as_pointer())
        unpacked = cgutils.unpack_tuple(builder, values[1])
        convention.call_function(builder, pointer, types.none, given.types, unpacked)
        return context.get_dummy_value()

    return types.none(address, types.StarArgTuple(arguments)), generate


def address_of(function: Any) -> int:
    """Where the machine code of a function compiled for one signature is."""
    (found,) = function.overloads.values()
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address

"""What compiled loops need of LLVM that Numba has no word for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Numbers that these move and reduce at once: LLVM makes of them what the machine has.
VECTOR = 16


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


@intrinsic  # type: ignore[untyped-decorator]
def move(
    typing_context: Any, into: Any, j: Any, r: Any, source: Any, row: Any, k: Any
) -> Any:
    """into[j, r + i] = source[row, k + i] for the numbers of a vector.

    Of a loop of so few steps LLVM makes steps, where arrays may be the same.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = signature.args
        to, size = _vector_at(context, builder, kinds[0], values[0], values[1:3])
        origin, given = _vector_at(context, builder, kinds[3], values[3], values[4:])
        found = builder.load(origin, align=given)
        if size != given:
            convert = builder.fpext if size > given else builder.fptrunc
            found = convert(found, to.type.pointee)
        builder.store(found, to, align=size)
        return context.get_dummy_value()

    return types.none(into, j, r, source, row, k), generate


@intrinsic  # type: ignore[untyped-decorator]
def share_max(typing_context: Any, array: Any, r: Any) -> Any:
    """The largest of the vector at array[r], where nothing is NaN, for all of it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (kind, _), (given, place) = signature.args, values
        at, size = _vector_at(context, builder, kind, given, [place])
        index, nothing = ir.IntType(32), ir.Constant(at.type.pointee, ir.Undefined)
        largest = _reduced(builder, "fmax", "nnan", builder.load(at, align=size))
        first = builder.insert_element(nothing, largest, ir.Constant(index, 0))
        places = ir.Constant(ir.VectorType(index, VECTOR), [0] * VECTOR)
        builder.store(builder.shuffle_vector(first, first, places), at, align=size)
        return context.get_dummy_value()

    return types.none(array, r), generate


@intrinsic  # type: ignore[untyped-decorator]
def sum_vector(typing_context: Any, array: Any, r: Any) -> Any:
    """The sum of the vector at array[r] in float64, in an order that stays."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (kind, _), (given, place) = signature.args, values
        at, size = _vector_at(context, builder, kind, given, [place])
        found, zero = builder.load(at, align=size), ir.Constant(ir.DoubleType(), 0.0)
        if size < 8:
            found = builder.fpext(found, ir.VectorType(ir.DoubleType(), VECTOR))
        return _reduced(builder, "fadd", "reassoc", zero, found)

    return types.float64(array, r), generate


def _vector_at(
    context: Any, builder: Any, kind: Any, value: Any, index: Any
) -> tuple[Any, int]:
    """A pointer to the vector at an index of an array, and the bytes of a number."""
    array = context.make_array(kind)(context, builder, value)
    found = cgutils.get_item_pointer(context, builder, kind, array, index)
    vector = ir.VectorType(context.get_value_type(kind.dtype), VECTOR)
    return builder.bitcast(found, vector.as_pointer()), kind.dtype.bitwidth // 8


def _reduced(builder: Any, name: str, flag: str, *args: Any) -> Any:
    """What LLVM's reduction makes of the last of `args`."""
    vector = args[-1].type
    real = vector.element
    suffix = "f32" if isinstance(real, ir.FloatType) else "f64"
    kind = ir.FunctionType(real, [arg.type for arg in args])
    symbol = f"llvm.vector.reduce.{name}.v{VECTOR}{suffix}"
    function = cgutils.get_or_insert_function(builder.module, kind, symbol)
    return builder.call(function, args, fastmath=(flag,))


def address_of(function: Any) -> int:
    """Where the machine code of a function compiled for one signature is."""
    (found,) = function.overloads.values()
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address

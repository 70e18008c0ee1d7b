"""Elementwise functions."""

from __future__ import annotations

from lucid._array_api._delegate import Number, binary, call, unary
from lucid._tensor import Tensor

abs = unary("abs", "|x|.")
acos = unary("acos", "arccos x, in radians.")
acosh = unary("acosh", "arcosh x.")
add = binary("add", "x1 + x2.")
asin = unary("asin", "arcsin x, in radians.")
asinh = unary("asinh", "arsinh x.")
atan = unary("atan", "arctan x, in radians.")
atan2 = binary("atan2", "The angle of the point (x2, x1), in radians, in [−π, π].")
atanh = unary("atanh", "artanh x.")
bitwise_and = binary("bitwise_and", "x1 & x2, bit by bit.")
bitwise_invert = unary("bitwise_invert", "~x, bit by bit.")
bitwise_left_shift = binary("bitwise_left_shift", "x1 · 2^x2, for integers.")
bitwise_or = binary("bitwise_or", "x1 | x2, bit by bit.")
bitwise_right_shift = binary("bitwise_right_shift", "⌊x1 / 2^x2⌋, for integers.")
bitwise_xor = binary("bitwise_xor", "x1 ^ x2, bit by bit.")
ceil = unary("ceil", "⌈x⌉, the least integer not below x.")
conj = unary("conj", "The complex conjugate.")
copysign = binary("copysign", "|x1| with the sign of x2.")
cos = unary("cos", "cos x, x in radians.")
cosh = unary("cosh", "cosh x.")
divide = binary("divide", "x1 / x2.")
equal = binary("equal", "x1 = x2; NaN equals nothing.")
exp = unary("exp", "eˣ.")
expm1 = unary("expm1", "eˣ − 1, accurate near x = 0.")
floor = unary("floor", "⌊x⌋, the greatest integer not above x.")
floor_divide = binary("floor_divide", "⌊x1 / x2⌋.")
greater = binary("greater", "x1 > x2.")
greater_equal = binary("greater_equal", "x1 ≥ x2.")
hypot = binary("hypot", "√(x1² + x2²), without overflow on the way.")
imag = unary("imag", "The imaginary part.")
isfinite = unary("isfinite", "True where x is neither ±∞ nor NaN.")
isinf = unary("isinf", "True where x is ±∞.")
isnan = unary("isnan", "True where x is NaN.")
less = binary("less", "x1 < x2.")
less_equal = binary("less_equal", "x1 ≤ x2.")
log = unary("log", "The natural logarithm; −∞ at 0, NaN below.")
log10 = unary("log10", "The logarithm to base 10.")
log1p = unary("log1p", "log(1 + x), accurate near x = 0.")
log2 = unary("log2", "The logarithm to base 2.")
logaddexp = binary("logaddexp", "log(exp x1 + exp x2), without overflow on the way.")
logical_and = binary("logical_and", "x1 and x2.")
logical_not = unary("logical_not", "not x.")
logical_or = binary("logical_or", "x1 or x2.")
logical_xor = binary("logical_xor", "x1 or x2, but not both.")
maximum = binary("maximum", "The larger of x1 and x2; NaN if one is.")
minimum = binary("minimum", "The smaller of x1 and x2; NaN if one is.")
multiply = binary("multiply", "x1 · x2.")
negative = unary("negative", "−x.")
nextafter = binary("nextafter", "The next number after x1 in the direction of x2.")
not_equal = binary("not_equal", "x1 ≠ x2; NaN differs from everything.")
positive = unary("positive", "+x.")
pow = binary("pow", "x1 to the power of x2.")
real = unary("real", "The real part.")
reciprocal = unary("reciprocal", "1 / x.")
remainder = binary("remainder", "x1 − x2 · ⌊x1 / x2⌋, which has the sign of x2.")
round = unary("round", "The nearest integer; halves go to the even one.")
sign = unary("sign", "−1, 0 or 1, as x is; x / |x| of a complex number.")
signbit = unary("signbit", "True where the sign is minus, −0 included.")
sin = unary("sin", "sin x, x in radians.")
sinh = unary("sinh", "sinh x.")
sqrt = unary("sqrt", "√x; NaN below 0.")
square = unary("square", "x².")
subtract = binary("subtract", "x1 − x2.")
tan = unary("tan", "tan x, x in radians.")
tanh = unary("tanh", "tanh x.")
trunc = unary("trunc", "x without its fraction.")


def clip(
    x: Tensor,
    /,
    min: Tensor | Number | None = None,
    max: Tensor | Number | None = None,
) -> Tensor:
    """The nearest value to x in [min, max]; None: no bound."""
    return call("clip", x, min, max)

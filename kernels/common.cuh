#pragma once
// Integer types and floating-point limits, for compilers without the standard headers.

namespace lucid {

using Index = long long;          // every index and size: arrays pass 2³¹ elements
using Word = unsigned long long;  // 64 random bits

__device__ inline float infinity(float) {
  return __int_as_float(0x7f800000);
}
__device__ inline double infinity(double) {
  return __longlong_as_double(0x7ff0000000000000LL);
}

template <typename T>
__device__ T infinity() {
  return infinity(T());
}

template <typename T>
__device__ T not_a_number() {
  return infinity<T>() - infinity<T>();
}

__device__ inline float largest(float) {
  return __int_as_float(0x7f7fffff);
}
__device__ inline double largest(double) {
  return __longlong_as_double(0x7fefffffffffffffLL);
}

// The largest finite number.
template <typename T>
__device__ T largest() {
  return largest(T());
}

// IEEE half precision as it lies in an array: read, never computed with.
struct Half {
  unsigned short bits;

  __device__ operator float() const {
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 0   ? ldexp(float(fraction), -24)
                       : exponent < 31 ? ldexp(float(1024 + fraction), exponent - 25)
                       : fraction == 0 ? infinity<float>()
                                       : not_a_number<float>();
    return bits >> 15 ? -size : size;
#endif
  }
};

template <typename T>
__device__ bool is_nan(T x) {
  return x != x;
}

// `x` with +∞ made finite, so that a factor of 0 leaves 0; NaN stays.
template <typename T>
__device__ T bounded(T x) {
  return x > largest<T>() ? largest<T>() : x;
}

// Rounds a prepared factor once; what is finite stays finite.
template <typename T>
__device__ T narrow(double x) {
  const double limit = largest<T>();
  if (x > limit && x < infinity<double>()) return largest<T>();
  if (x < -limit && x > -infinity<double>()) return -largest<T>();
  return static_cast<T>(x);
}

__host__ __device__ constexpr Index ceil_divide(Index a, Index b) {
  return (a + b - 1) / b;
}

}  // namespace lucid

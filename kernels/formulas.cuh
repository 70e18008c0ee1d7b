#pragma once
// What formulas of NumPy and scipy.special may call and CUDA's library has not, for structs
// that are written from a family's Python formulas.
#include "special.cuh"

namespace lucid::formula {

// NaN where either is NaN, which fmax and fmin would drop.
template <typename T>
__device__ T maximum(T a, T b) {
  return a > b || is_nan(a) ? a : b;
}
template <typename T>
__device__ T minimum(T a, T b) {
  return a < b || is_nan(a) ? a : b;
}

template <typename T>
__device__ T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

// x = mantissa·2^exponent, the mantissa in [½, 1).
template <typename T>
__device__ T mantissa(T x) {
  int exponent;
  return frexp(x, &exponent);
}
template <typename T>
__device__ T exponent(T x) {
  int exponent = 0;
  frexp(x, &exponent);
  return T(exponent);
}

// log(eᵃ + eᵇ)
template <typename T>
__device__ T logaddexp(T a, T b) {
  if (a == b) return a + T(kLn2);  // infinities too
  return maximum(a, b) + log1p(exp(-fabs(a - b)));
}

// x·log y and x·log(1 + y), 0 at x = 0 unless y is NaN.
template <typename T>
__device__ T xlogy(T x, T y) {
  return x == 0 && !is_nan(y) ? T(0) : x * log(y);
}
template <typename T>
__device__ T xlog1py(T x, T y) {
  return x == 0 && !is_nan(y) ? T(0) : x * log1p(y);
}

// log Γ(a)Γ(b)/Γ(a + b), for a, b > 0: by Stirling's errors, since log Γ would cancel.
template <typename T>
__device__ T betaln(T a, T b) {
  const T least = fmin(a, b), most = fmax(a, b), sum = a + b;
  if (!(least > 0 && most <= largest<T>())) return lgamma(a) + lgamma(b) - lgamma(sum);
  const T parts = stirlerr(least) + stirlerr(most) - stirlerr(sum) + T(kHalfLog2Pi);
  return parts - (most - T(0.5)) * log1p(least / most) + least * log(least / sum) -
         T(0.5) * log(least);
}

// 1/(1 + e⁻ˣ) and its inverse.
template <typename T>
__device__ T expit(T x) {
  return 1 / (1 + exp(-x));
}
template <typename T>
__device__ T logit(T p) {
  return log(p / (1 - p));
}

}  // namespace lucid::formula

#pragma once
// What the densities need and CUDA's library lacks or does slowly.
#include "exp2.cuh"

namespace lucid {

inline constexpr double kLog2E = 1.4426950408889634;        // bits per nat
inline constexpr double kHalfLog2Pi = 0.91893853320467274;  // ½ log 2π
inline constexpr double kLn2 = 0.69314718055994531;

// ln 2 in two parts: the first is ln 2 rounded, the second its error.
template <typename T>
struct Ln2;
template <>
struct Ln2<float> {
  static constexpr float high = 0.693147182f, low = -1.90465421e-9f;
};
template <>
struct Ln2<double> {
  static constexpr double high = 0.69314718055994531, low = 2.3190468138462996e-17;
};

// (bits + log2 sum)·ln 2, to an ulp of the result: sum = 2^e·f, log f near f = 1.
template <typename T>
__device__ T log_from_bits(T bits, T sum) {
  if (!(sum > 0 && sum <= largest<T>())) return log(sum);  // −∞, +∞ or NaN
  int exponent;
  T fraction = frexp(sum, &exponent);
  if (fraction < T(0.70710678118654752)) {
    fraction *= 2;
    exponent -= 1;
  }
  bits += exponent;
  return fma(bits, Ln2<T>::high, fma(bits, Ln2<T>::low, log1p(fraction - 1)));
}

// The same of a sum that is normal: no case is told apart. log(1 + t) is t − ½t² + t³·(a
// minimax fit, 3.2e-8 of it) on 1 + t from √½ to √2.
__device__ inline float log_from_bits_of_normal(float bits, float sum) {
  const int binade = (__float_as_int(sum) - 0x3f3504f3) & ~0x7fffff;
  const float t = __int_as_float(__float_as_int(sum) - binade) - 1;
  float y = 0.0869833529f;
  y = fma(y, t, -0.142670542f);
  y = fma(y, t, 0.149152264f);
  y = fma(y, t, -0.165776476f);
  y = fma(y, t, 0.199630320f);
  y = fma(y, t, -0.250013351f);
  y = fma(y, t, 0.333339125f);
  y = fma(y, t, -0.5f);
  const float log1p_t = fma(t * t, y, t);
  bits += static_cast<float>(binade >> 23);
  return fma(bits, Ln2<float>::high, fma(bits, Ln2<float>::low, log1p_t));
}
__device__ inline double log_from_bits_of_normal(double bits, double sum) {
  return log_from_bits(bits, sum);
}

// log x = log mantissa + exponent·ln 2: differences of large logs do not cancel.
template <typename T>
struct SplitLog {
  T mantissa, exponent;
};
template <typename T>
__device__ SplitLog<T> split_log(T x) {
  int exponent = 0;
  const T mantissa = frexp(x, &exponent);
  return {log(mantissa), static_cast<T>(exponent)};
}

// (artanh(v)/v − 1)/v² = 1/3 + v²/5 + v⁴/7 + … at w = v² ≤ 1/9: Chebyshev fits, in error by
// 7e-17 and 4e-9.
__device__ inline double artanh_tail(double w) {
  double tail = 0.08082022805971766;
  tail = fma(tail, w, 0.04400369243072337);
  tail = fma(tail, w, 0.06000536404795356);
  tail = fma(tail, w, 0.06657072104827468);
  tail = fma(tail, w, 0.07692785034479312);
  tail = fma(tail, w, 0.09090894718066429);
  tail = fma(tail, w, 0.11111111358713932);
  tail = fma(tail, w, 0.1428571428355438);
  tail = fma(tail, w, 0.20000000000007292);
  return fma(tail, w, 0.3333333333333333);
}
__device__ inline float artanh_tail(float w) {
  float tail = 0.116121646f;
  tail = fma(tail, w, 0.108532879f);
  tail = fma(tail, w, 0.142961790f);
  tail = fma(tail, w, 0.199998532f);
  return fma(tail, w, 0.333333337f);
}

// a log(a/b) + b − a (Loader 2000), from difference = a − b and log_ratio = log(a/b).
template <typename T>
__device__ T bd0(T a, T b, T difference, T log_ratio) {
  const T sum = a + b;
  if (!(3 * fabs(difference) < sum)) return fma(a, log_ratio, -difference);
  // log(a/b) = 2 artanh v: about a = b the leading terms cancel in closed form.
  const T v = difference / sum, w = v * v;
  return difference * v * fma(v + w, artanh_tail(w), T(1));
}

// δ(n) = log n! − (n + ½) log n + n − ½ log 2π, the error of Stirling's formula, n > 0.
template <typename T>
__device__ T stirlerr(T n) {
  T delta = 0;
  if (n < 1) {
    delta = fma(n + T(0.5), log1p(1 / n), T(-1));
    n += 1;
  }
  // δ(n) − δ(n + 1) = (n + ½) log(1 + 1/n) − 1 = v²/3 + v⁴/5 + …, v = 1/(2n + 1) ≤ 1/3
  while (n < 10) {
    const T v = 1 / (2 * n + 1), w = v * v;
    delta = fma(artanh_tail(w), w, delta);
    n += 1;
  }
  const T w = 1 / (n * n);
  T series = T(1) / 156;
  series = fma(series, w, T(-691.0 / 360360));
  series = fma(series, w, T(1) / 1188);
  series = fma(series, w, T(-1) / 1680);
  series = fma(series, w, T(1) / 1260);
  series = fma(series, w, T(-1) / 360);
  series = fma(series, w, T(1) / 12);
  return delta + series / n;
}

// log Γ(x + ½) − log Γ(x) − ½ log x → 0 as x grows, x > 0.
template <typename T>
__device__ T log_gamma_half_ratio(T x) {
  // A step x → x + 1 multiplies Γ(x + ½) / (Γ(x) √x) by 1/√(1 − w), w = 1/(2x + 1)².
  T log_first = 0, lost = 0;  // lost = 1 − Π(1 − w), of the steps from x ≥ 1 on
  if (x < 1) {
    const T v = 2 * x + 1;
    log_first = log(4 * x * (x + 1) / (v * v));
    x += 1;
  }
  while (x < 10) {
    const T v = 2 * x + 1, w = 1 / (v * v);
    lost += fma(-lost, w, w);
    x += 1;
  }
  const T w = 1 / (x * x);
  T series = T(-5461.0 / 425984);
  series = fma(series, w, T(691.0 / 180224));
  series = fma(series, w, T(-31.0 / 18432));
  series = fma(series, w, T(17.0 / 14336));
  series = fma(series, w, T(-1) / 640);
  series = fma(series, w, T(1) / 192);
  series = fma(series, w, T(-1) / 8);
  return T(0.5) * (log_first + log1p(-lost)) + series / x;
}

// log(1 / (1 + e^−x))
template <typename T>
__device__ T log_sigmoid(T x) {
  const T tail = log1p(exp(-fabs(x)));
  return x < 0 ? x - tail : -tail;
}

}  // namespace lucid

#pragma once
// Samplers over counter-based bits, in double for every dtype: the CPU's own formulas, so
// that both devices agree to a few ulp; a draw costs about a hundred operations.
#include "philox.cuh"
#include "special.cuh"

namespace lucid {

// In [0, 1).
__device__ inline double uniform01(Word word) {
  return double(word >> 11) * 0x1p-53;
}

// In (0, 1): 52 bits, since the greatest of 53 bits and a half would round to 1.
__device__ inline double open01(Word word) {
  return (double(word >> 12) + 0.5) * 0x1p-52;
}

// Box and Muller (1958); with 53 bits in the radius the tail ends at 8.6σ.
__device__ inline double normal(Word radius_word, Word angle_word) {
  constexpr double step = 6.283185307179586 * 0x1p-53;
  const double radius = sqrt(-2 * log(double((radius_word >> 11) + 1) * 0x1p-53));
  return radius * cos(double(angle_word >> 11) * step);
}

// Gamma(α, 1) > 0 by Marsaglia and Tsang (2000); NaN without a law. For α < 1 it is
// Gamma(α + 1)·U^(1/α).
__device__ inline double standard_gamma(const Bits& bits, double alpha) {
  if (!(alpha > 0 && alpha < infinity<double>())) return not_a_number<double>();
  const double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (Word number = 1;; ++number) {
    const Words words = bits.attempt(number);
    const double x = normal(words[0], words[1]), t = c * x;
    if (t <= -1) continue;
    // 1 − v + log v with v = (1 + t)³, written in t: for large α v has lost it.
    const double excess = 3 * (log1p(t) - t) - t * t * (3 + t);
    if (!(log(open01(words[2])) < 0.5 * x * x + d * excess)) continue;
    double value = d * ((1 + t) * (1 + t) * (1 + t));
    if (alpha < 1) value *= pow(open01(bits.direct[3]), 1 / alpha);
    return fmax(value, 0x1p-1022);  // what underflows stays in the support
  }
}

// A draw from a law without 0, rounded: what underflows becomes the least normal number.
template <typename T>
__device__ T rounded_above_zero(double x) {
  const double least = sizeof(T) == sizeof(float) ? 0x1p-126 : 0x1p-1022;
  return static_cast<T>(x < least ? least : x);
}

// log of the Poisson mass at k ≥ 0, by its saddle point.
__device__ inline double log_poisson(double k, double rate) {
  if (k == 0) return -rate;
  const double off = (k - rate) / rate;
  const double deviance = rate * ((1 + off) * log1p(off) - off);
  return -deviance - (kHalfLog2Pi + 0.5 * log(k)) - stirlerr(k);
}

// Poisson(rate): search through the distribution function, from rate 10 on PTRS, the
// transformed rejection of Hörmann (1993); NaN without a law.
__device__ inline double poisson(const Bits& bits, double rate) {
  if (!(rate >= 0 && rate < infinity<double>())) return not_a_number<double>();
  if (rate < 10) {
    double mass = exp(-rate), left = uniform01(bits.direct[1]) - mass, k = 0;
    // Rounding may keep the sum under the greatest u; by 64 it is 1 to 10⁻³⁰.
    while (left >= 0 && k < 64) {
      k += 1;
      mass *= rate / k;
      left -= mass;
    }
    return k;
  }
  const double b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b;
  const double scale = 1.1239 + 1.1328 / (b - 3.4);
  for (Word number = 1;; ++number) {
    const Words words = bits.attempt(number);
    const double u = open01(words[0]) - 0.5, reach = 0.5 - fabs(u);
    const double k = floor((2 * a / reach + b) * u + rate + 0.43);
    const double log_ratio = log(open01(words[1]) * scale / (a / (reach * reach) + b));
    if (k >= 0 && log_ratio <= log_poisson(k, rate)) return k;
  }
}

}  // namespace lucid

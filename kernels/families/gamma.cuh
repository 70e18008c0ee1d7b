#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −bd0(α, βx) − δ(α) + ½ log(α / 2π) − log x: the saddle-point form, α = concentration,
// β = rate (Loader 2000). Nothing large cancels, at any α.
template <typename T>
struct Gamma {
  T concentration, rate;

  static constexpr bool cheap_pair = false;
  struct Factors {
    T concentration, rate;
    T mantissa, exponent;  // of log(α/β), see SplitLog
    T edge;                // the pair at x = 0
    T unit;
  };
  struct Row {
    T x, mantissa, exponent;
  };

  __device__ Factors prepare(T unit) const {
    const SplitLog<T> a = split_log(concentration), b = split_log(rate);
    const T at_zero = concentration < 1   ? infinity<T>()
                      : concentration > 1 ? -infinity<T>()
                                          : unit * (log(rate) + 1);  // less the constant, −1
    return {concentration,           rate,    a.mantissa - b.mantissa,
            a.exponent - b.exponent, at_zero, unit};
  }
  __device__ T constant(T unit) const {
    return unit * (T(0.5) * log(concentration) - stirlerr(concentration) - T(kHalfLog2Pi));
  }

  static __device__ bool supports(T x) { return x >= 0; }
  static __device__ Row row(T x) {
    const SplitLog<T> s = split_log(x);
    return {x, s.mantissa, s.exponent};
  }
  static __device__ T log_base_measure(T x) { return x == 0 ? T(0) : -log(x); }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    const T log_ratio = fma(f.exponent - row.exponent, T(kLn2), f.mantissa - row.mantissa);
    const T b = f.rate * row.x;
    const T deviance = bd0(f.concentration, b, fma(-f.rate, row.x, f.concentration), log_ratio);
    return row.x == 0 ? f.edge + constant : fma(-f.unit, deviance, constant);
  }

  __device__ T draw(Bits& bits) const {
    return rounded_above_zero<T>(standard_gamma(bits, double(concentration)) / rate);
  }
};

}  // namespace lucid

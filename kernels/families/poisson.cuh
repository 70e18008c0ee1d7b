#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −bd0(k, rate) − δ(k) − ½ log 2πk: the saddle-point form (Loader 2000)
template <typename T>
struct Poisson {
  T rate;

  static constexpr bool cheap_pair = false;
  struct alignas(4 * sizeof(T)) Factors {
    T rate;
    T mantissa, exponent;  // of log rate, see SplitLog
    T unit;
  };
  struct Row {
    T k, mantissa, exponent;
  };

  __device__ Factors prepare(T unit) const {
    const SplitLog<T> s = split_log(rate);
    return {rate, s.mantissa, s.exponent, unit};
  }
  __device__ T constant(T) const { return 0; }

  static __device__ bool supports(T k) { return k >= 0 && k == floor(k); }
  static __device__ Row row(T k) {
    const SplitLog<T> s = split_log(k);
    return {k, s.mantissa, s.exponent};
  }
  static __device__ T log_base_measure(T k) {
    return k == 0 ? T(0) : -(stirlerr(k) + T(kHalfLog2Pi) + T(0.5) * log(k));
  }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    const T log_ratio = fma(row.exponent - f.exponent, T(kLn2), row.mantissa - f.mantissa);
    const T deviance = row.k == 0 ? f.rate : bd0(row.k, f.rate, row.k - f.rate, log_ratio);
    return fma(-f.unit, deviance, constant);
  }

  // Below 10 by search through the distribution function; above, rejection.
  __device__ T draw(Bits& bits) const { return static_cast<T>(poisson(bits, double(rate))); }
};

}  // namespace lucid

#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −½(df + 1) log(1 + t²), t = (x − loc) / (scale √df), and its normalisation
template <typename T>
struct StudentT {
  T df, loc, scale;

  static constexpr bool cheap_pair = false;
  struct Factors {
    T loc, inverse_scale, exponent;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T unit) const {
    return {loc, bounded(1 / (scale * sqrt(df))), unit * T(0.5) * (df + 1)};
  }
  // log Γ(½(df + 1)) − log Γ(½df) − ½ log(π df) − log scale: the large terms are gone.
  __device__ T constant(T unit) const {
    return unit * (log_gamma_half_ratio(df / 2) - T(kHalfLog2Pi) - log(scale));
  }

  static __device__ bool supports(T) { return true; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    const T t = (row.x - f.loc) * f.inverse_scale;
    return fma(-f.exponent, log1p(t * t), constant);
  }

  __device__ T draw(Bits& bits) const {
    const double z = normal(bits.direct[1], bits.direct[2]);
    const double chi_square = 2 * standard_gamma(bits, double(df) / 2);
    return static_cast<T>(loc + double(scale) * (z * sqrt(df / chi_square)));
  }
};

}  // namespace lucid

#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −½(df + 1) log(1 + t²), t = (x − loc) / (scale √df), and its normalisation. From 1e30
// on df counts as 1e30: the distribution is then the normal one to 1e-28.
template <typename T>
struct StudentT {
  T df, loc, scale;

  static constexpr bool cheap_pair = false;
  struct alignas(4 * sizeof(T)) Factors {
    T loc, step;  // step: the power of two next below 1 / (scale √df), which rounds nothing
    T rest;       // (t / (step (x − loc)))²
    T exponent;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T unit) const {
    const T nu = finite_df();
    int power;
    frexp(bounded(1 / (scale * sqrt(nu))), &power);
    const T step = ldexp(T(0.5), power), width = scale * step;
    return {loc, step, 1 / (width * width * nu), unit * T(0.5) * (nu + 1)};
  }
  // log Γ(½(df + 1)) − log Γ(½df) − ½ log(π df) − log scale: the large terms are gone.
  __device__ T constant(T unit) const {
    return unit * (log_gamma_half_ratio(finite_df() / 2) - T(kHalfLog2Pi) - log(scale));
  }

  static __device__ bool supports(T) { return true; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    const T t = (row.x - f.loc) * f.step;
    return fma(-f.exponent, log1p(t * t * f.rest), constant);
  }

  __device__ T draw(Bits& bits) const {
    const double z = normal(bits.direct[1], bits.direct[2]);
    const double nu = finite_df();
    const double chi_square = 2 * standard_gamma(bits, nu / 2);
    return static_cast<T>(loc + double(scale) * (z * sqrt(nu / chi_square)));
  }

  __device__ T finite_df() const { return df > T(1e30) ? T(1e30) : df; }
};

}  // namespace lucid

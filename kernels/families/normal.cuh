#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −½ ((x − loc) / scale)² − log scale − ½ log 2π
template <typename T>
struct Normal {
  T loc, scale;

  static constexpr bool cheap_pair = true;
  static constexpr bool quadratic = true;  // for fixed_stage.cuh
  struct alignas(2 * sizeof(T)) Factors {
    T loc, inverse_scale;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T unit) const { return {loc, bounded(sqrt(unit / 2) / scale)}; }
  __device__ T constant(T unit) const { return -unit * (log(scale) + T(kHalfLog2Pi)); }

  static __device__ bool supports(T) { return true; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  // The difference first: x/σ − μ/σ would cancel. Plus a constant, one FFMA after FADD, FMUL.
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    const T z = (row.x - f.loc) * f.inverse_scale;
    return fma(-z, z, constant);
  }

  __device__ T draw(Bits& bits) const {
    return static_cast<T>(loc + double(scale) * normal(bits.direct[1], bits.direct[2]));
  }
};

}  // namespace lucid

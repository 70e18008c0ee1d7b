#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −|x − loc| / scale − log 2 scale
template <typename T>
struct Laplace {
  T loc, scale;

  static constexpr bool cheap_pair = true;
  struct alignas(2 * sizeof(T)) Factors {
    T loc, inverse_scale;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T unit) const { return {loc, bounded(unit / scale)}; }
  __device__ T constant(T unit) const { return -unit * (log(scale) + T(kLn2)); }

  static __device__ bool supports(T) { return true; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    return fma(fabs(row.x - f.loc), -f.inverse_scale, constant);
  }

  // The inverse of the distribution function, each tail from its own end.
  __device__ T draw(Bits& bits) const {
    const double u = open01(bits.direct[1]);
    const double z = u < 0.5 ? log(2 * u) : -log(2 * (1 - u));
    return static_cast<T>(loc + double(scale) * z);
  }
};

}  // namespace lucid

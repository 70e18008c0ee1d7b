#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// −log(high − low) on [low, high], both ends included
template <typename T>
struct Uniform {
  T low, high;

  static constexpr bool cheap_pair = true;
  struct alignas(2 * sizeof(T)) Factors {
    T low, high;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T) const { return {low, high}; }
  __device__ T constant(T unit) const { return -unit * log(high - low); }

  static __device__ bool supports(T) { return true; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    return constant + (row.x >= f.low && row.x <= f.high ? T(0) : -infinity<T>());
  }

  __device__ T draw(Bits& bits) const {
    return static_cast<T>(low + (double(high) - low) * uniform01(bits.direct[1]));
  }
};

}  // namespace lucid

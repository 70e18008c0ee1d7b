#pragma once
#include "../samplers.cuh"
#include "../special.cuh"

namespace lucid {

// log p at 1, log(1 − p) at 0, p = 1 / (1 + e^−logits)
template <typename T>
struct Bernoulli {
  T logits;

  static constexpr bool cheap_pair = true;
  struct alignas(2 * sizeof(T)) Factors {
    T log_one, log_zero;
  };
  struct Row {
    T x;
  };

  __device__ Factors prepare(T unit) const {
    return {unit * log_sigmoid(logits), unit * log_sigmoid(-logits)};
  }
  __device__ T constant(T) const { return 0; }

  static __device__ bool supports(T x) { return x == 0 || x == 1; }
  static __device__ Row row(T x) { return {x}; }
  static __device__ T log_base_measure(T) { return 0; }
  static __device__ T pair(const Row& row, const Factors& f, T constant) {
    return (row.x == 1 ? f.log_one : f.log_zero) + constant;
  }

  __device__ T draw(Bits& bits) const {
    return uniform01(bits.direct[1]) < 1 / (1 + exp(-double(logits)));
  }
};

}  // namespace lucid

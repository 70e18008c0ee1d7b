#pragma once
// The most probable component of each row and log p(k | x): one thread a row, components
// read through the cache by all threads of a warp together.
#include "mixture_finish.cuh"

namespace lucid {

template <class Family, typename T>
__device__ void mixture_mode(const Mixture<Family, T>& mixture, Index* index,
                             T* log_posterior) {
  const Index row = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= mixture.S * mixture.B) return;
  const Index s = row / mixture.B, b = row % mixture.B;
  const T* x = mixture.value(s, b);
  const T base = base_measure<Family>(x, mixture.D);
  ModeSum<T> state;
  if (!is_nan(base) && base != -infinity<T>()) {
    const auto first = mixture.D == 1 ? Family::row(x[0]) : typename Family::Row{};
    for (Index k = 0; k < mixture.K; ++k) {
      const Index component = b * mixture.K + k;
      const T constant = mixture.constants[component];
      T term = mixture.D == 1 ? Family::pair(first, mixture.factors[component], constant)
                              : mixture.term(x, b, k);
      if (is_nan(term) && !is_nan(constant)) term = -infinity<T>();
      state.add(term, k);
    }
  }
  const T log_probability = state.log_posterior();
  index[row] = is_nan(log_probability) ? 0 : state.index;
  log_posterior[row] = log_probability;
}

}  // namespace lucid

#define LUCID_MIXTURE_MODE(NAME, FAMILY, T)                                              \
  extern "C" __global__ void NAME(const T* values, const T* factors, const T* constants, \
                                  long long* index, T* log_posterior, long long S,       \
                                  long long B, long long K, long long D) {               \
    using Family = lucid::FAMILY<T>;                                                     \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);              \
    lucid::mixture_mode<Family, T>({values, packed, constants, S, B, K, D}, index,       \
                                   log_posterior);                                       \
  }

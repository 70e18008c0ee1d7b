#pragma once
// Components in the order of their loc, so that those of one tile lie near each other: what
// fixed_stage.cuh computes of a tile at once. Each counts those before it: few thousand
// components, once a mixture, and nothing that a graph could not record.
#include "common.cuh"

namespace lucid {

// NaN counts as +∞; equal ones keep their order.
template <typename T>
__device__ bool before(T a, Index i, T b, Index j) {
  const T first = is_nan(a) ? infinity<T>() : a, second = is_nan(b) ? infinity<T>() : b;
  return first < second || (first == second && i < j);
}

// factors [B, K] and constants [B, K] to the same, in order
template <class Family, typename T>
__device__ void mixture_order(const typename Family::Factors* factors, const T* constants,
                              Index B, Index K, typename Family::Factors* ordered_factors,
                              T* ordered_constants) {
  const Index component = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (component >= B * K) return;
  const Index start = component / K * K, k = component - start;
  const T loc = factors[component].loc;
  Index place = start;
  for (Index j = 0; j < K; ++j) place += before(factors[start + j].loc, j, loc, k);
  ordered_factors[place] = factors[component];
  ordered_constants[place] = constants[component];
}

}  // namespace lucid

#define LUCID_MIXTURE_ORDER(NAME, FAMILY, T)                                               \
  extern "C" __global__ void NAME(const T* factors, const T* constants, long long B,       \
                                  long long K, T* ordered_factors, T* ordered_constants) { \
    using Factors = lucid::FAMILY<T>::Factors;                                             \
    lucid::mixture_order<lucid::FAMILY<T>, T>(                                             \
        reinterpret_cast<const Factors*>(factors), constants, B, K,                        \
        reinterpret_cast<Factors*>(ordered_factors), ordered_constants);                   \
  }

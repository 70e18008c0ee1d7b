#pragma once
// From a row's (maximum, sum) to its log density; the row that needs more care.
#include "elementwise.cuh"

namespace lucid {

// Which rows, components and splits a mixture kernel works on: values [S, B, D],
// factors [B, K, D], constants [B, K], results [S, B].
template <class Family, typename T>
struct Mixture {
  const T* values;
  const typename Family::Factors* factors;
  const T* constants;
  Index S, B, K, D;

  __device__ const T* value(Index s, Index b) const { return values + (s * B + b) * D; }

  // The rows of a compiled event: of row 0 for a row that is not there.
  template <int EVENT>
  __device__ void read(Index s, Index b, typename Family::Row* row) const {
    const T* x = value(s < S ? s : 0, b);
#pragma unroll
    for (int d = 0; d < EVENT; ++d) {
      // 1 stands in for what has no density: every family supports it.
      row[d] = Family::row(!is_nan(x[d]) && Family::supports(x[d]) ? x[d] : T(1));
    }
  }

  // The term of component k, in bits; NaN of infinities alone, as ∞·0, counts as −∞.
  __device__ T term(const T* x, Index b, Index k) const {
    const T constant = constants[b * K + k];
    T term = constant;
    for (Index d = 0; d < D; ++d) {
      term = Family::pair(Family::row(x[d]), factors[(b * K + k) * D + d], term);
    }
    return is_nan(term) && !is_nan(constant) ? -infinity<T>() : term;
  }
};

// (maximum, sum) of the terms of one row in order, each looked at by itself.
template <class Family, typename T>
__device__ LogSumExp<double> careful_row(const Mixture<Family, T>& mixture, const T* x,
                                         Index b) {
  LogSumExp<double> state;
  for (Index k = 0; k < mixture.K; ++k) {
    const T term = mixture.term(x, b, k);
    if (mixture.constants[b * mixture.K + k] == -infinity<T>()) continue;
    state = merge(state, LogSumExp<double>(double(term) * kLn2));
  }
  return state;
}

// The log density in nats of row s of mixture b.
template <class Family, typename T>
__device__ T finish_row(const Mixture<Family, T>& mixture, Index s, Index b, T maximum, T sum) {
  const T* x = mixture.value(s, b);
  const T base = base_measure<Family>(x, mixture.D);
  if (is_nan(base) || base == -infinity<T>()) return base;
  const T density = log_from_bits(maximum, sum) + base;
  if (!is_nan(density)) return density;
  return static_cast<T>(careful_row(mixture, x, b).log()) + base;
}

// Components that block z of the grid reduces: [first, last), whole stages but the last.
struct Split {
  Index first, last;
  __device__ Split(Index K, Index stage) {
    const Index size = ceil_divide(ceil_divide(K, stage), gridDim.z) * stage;
    first = blockIdx.z * size;
    last = first + size < K ? first + size : K;
  }
};

// Partial states [splits, S·B, 2] of one row, merged in the order of the splits.
template <typename T>
__device__ BitSum<T> merge_partials(const T* partials, Index splits, Index count, Index row) {
  BitSum<T> state;
  for (Index z = 0; z < splits; ++z) {
    const T* partial = partials + (z * count + row) * 2;
    state.merge(partial[0], partial[1]);
  }
  return state;
}

template <class Family, typename T>
__device__ void mixture_merge(const Mixture<Family, T>& mixture, const T* partials,
                              Index splits, T* out) {
  const Index count = mixture.S * mixture.B;
  const Index row = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= count) return;
  const BitSum<T> state = merge_partials(partials, splits, count, row);
  out[row] = finish_row(mixture, row / mixture.B, row % mixture.B, state.maximum, state.sum);
}

}  // namespace lucid

#define LUCID_MIXTURE_MERGE(NAME, FAMILY, T)                                                   \
  extern "C" __global__ void NAME(const T* values, const T* factors, const T* constants,       \
                                  const T* partials, long long splits, T* out, long long S,    \
                                  long long B, long long K, long long D) {                     \
    using Family = lucid::FAMILY<T>;                                                           \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);                    \
    lucid::mixture_merge<Family, T>({values, packed, constants, S, B, K, D}, partials, splits, \
                                    out);                                                      \
  }

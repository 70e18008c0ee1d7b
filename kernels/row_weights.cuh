#pragma once
// Categories by weights that are a mixture's own: picked in passes over them, or tables
// made of them on the device. The rule is that of lucid/backends/tables.py, in float64.
#include "index_table.cuh"

namespace lucid {

// Weights [B, K] as they were given, strides in elements; with a shift [B], their
// logarithms before it is taken off.
template <typename P>
struct RowWeights {
  const P* given;
  Index stride_b, stride_k;
  const double* shift;
  Index shift_stride;
  Index K;

  __device__ double relative(Index b, Index k) const {
    const double weight = given[b * stride_b + k * stride_k];
    return shift ? exp(weight - shift[b * shift_stride]) : weight;
  }

  // What scales the weights by a power of two to a sum of 2⁶² … 2⁶³; −1 where no category
  // can be picked: a weight is NaN or infinite, or none is positive.
  __device__ int scale(Index b) const {
    double sum = 0;
    for (Index k = 0; k < K; ++k) sum += relative(b, k);
    if (!(sum > 0 && sum < infinity<double>())) return kNone;
    int exponent;
    frexp(sum, &exponent);
    return 63 - exponent;
  }
  static constexpr int kNone = -100000;

  __device__ Word integer(Index b, Index k, int scale) const {
    return static_cast<Word>(ldexp(relative(b, k), scale));
  }

  // The category that word u picks, as the table of these weights has it; −1 for none.
  __device__ Index pick(Index b, Word u) const {
    const int scale = this->scale(b);
    if (scale == kNone) return -1;
    Word total = 0;
    for (Index k = 0; k < K; ++k) total += integer(b, k, scale);
    const Word threshold = __umul64hi(u, total);
    Word sum = 0;
    for (Index k = 0; k < K - 1; ++k) {
      sum += integer(b, k, scale);
      if (sum > threshold) return k;
    }
    return K - 1;
  }
};

// Row r reads the weights of mixture r mod B.
template <typename P>
__device__ void pick(const RowWeights<P>& weights, Index B, Word seed, Word stream, Word start,
                     Word size, Index* index) {
  const Word row = Word(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= size) return;
  const Bits bits(seed, stream, start + row, 0);
  index[row] = weights.pick(Index(row % Word(B)), bits.direct[0]);
}

// The tables [B, K] of IndexTable; all 0 where no category can be picked.
template <typename P>
__device__ void row_tables(const RowWeights<P>& weights, Index B, Word* cumulative) {
  const Index b = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (b >= B) return;
  const int scale = weights.scale(b);
  Word sum = 0;
  for (Index k = 0; k < weights.K; ++k) {
    if (scale != RowWeights<P>::kNone) sum += weights.integer(b, k, scale);
    cumulative[b * weights.K + k] = sum;
  }
}

}  // namespace lucid

// clang-format off
#define LUCID_ROW_WEIGHTS(P)                                                        \
  const P *given, long long stride_b, long long stride_k, const double *shift,      \
      long long shift_stride, long long B, long long K
// clang-format on

#define LUCID_PICK(NAME, P)                                                              \
  extern "C" __global__ void NAME(LUCID_ROW_WEIGHTS(P), unsigned long long seed,         \
                                  unsigned long long stream, unsigned long long start,   \
                                  unsigned long long size, long long* index) {           \
    lucid::pick<P>({given, stride_b, stride_k, shift, shift_stride, K}, B, seed, stream, \
                   start, size, index);                                                  \
  }

#define LUCID_ROW_TABLES(NAME, P)                                                             \
  extern "C" __global__ void NAME(LUCID_ROW_WEIGHTS(P), unsigned long long* cumulative) {     \
    lucid::row_tables<P>({given, stride_b, stride_k, shift, shift_stride, K}, B, cumulative); \
  }

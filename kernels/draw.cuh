#pragma once
// Draws from a mixture: pick the component, gather its parameters, draw once.
#include "index_table.cuh"
#include "prepare.cuh"
#include "samplers.cuh"

namespace lucid {

// Row r belongs to mixture r mod B and reads the words of element start + r; element d of
// an event reads block d. Without a table the component is the one that `index` holds
// already. One that is −1 cannot be drawn from, and gives NaN.
struct Draws {
  IndexTable table;
  Index B;
  Word seed, stream, start, size;

  __device__ Index component(Word row, Word picked_by, Index* index) const {
    if (table.cumulative) {
      index[row] = table.find(Index(row % Word(table.tables)), picked_by);
    }
    return index[row];
  }
};

template <class Family, typename T, typename P>
__device__ void draw(const View<P>* parameters, const Draws& draws, Index D, T* values,
                     Index* index) {
  const Word row = Word(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= draws.size) return;
  const Index b = Index(row % Word(draws.B));
  Bits bits(draws.seed, draws.stream, draws.start + row, 0);
  const Index k = draws.component(row, bits.direct[0], index);
  for (Index d = 0; d < D; ++d) {
    if (d > 0) bits = Bits(draws.seed, draws.stream, draws.start + row, d);
    values[row * D + d] =
        k < 0 ? not_a_number<T>() : gather<Family, T>(parameters, b, k, d).draw(bits);
  }
}

// loc + L·z: the normals are written where the result goes, which is then filled from the
// last element up, since element i needs z_0 … z_i.
template <typename T, typename P>
__device__ void draw_multivariate_normal(const P* loc, const P* scale_tril, Index sets,
                                         const Draws& draws, Index D, T* values, Index* index) {
  const Word row = Word(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= draws.size) return;
  T* z = values + row * D;
  Index k = 0;
  for (Index d = 0; d < D; ++d) {
    const Bits bits(draws.seed, draws.stream, draws.start + row, d);
    if (d == 0) k = draws.component(row, bits.direct[0], index);
    z[d] = k < 0 ? not_a_number<T>() : static_cast<T>(normal(bits.direct[1], bits.direct[2]));
  }
  if (k < 0) return;
  const Index component = Index(row % Word(sets)) * draws.table.K + k;
  const P* mu = loc + component * D;
  const P* L = scale_tril + component * D * D;
  for (Index i = D - 1; i >= 0; --i) {
    double sum = 0;
    for (Index j = 0; j <= i; ++j) sum = fma(double(L[i * D + j]), double(z[j]), sum);
    z[i] = static_cast<T>(double(mu[i]) + sum);
  }
}

}  // namespace lucid

// clang-format off
#define LUCID_DRAWS                                                                         \
  const unsigned long long *cumulative, const int *guide, long long tables, long long G,    \
      long long B, long long K, long long D, unsigned long long seed,                       \
      unsigned long long stream, unsigned long long start, unsigned long long size
#define LUCID_GATHERED_DRAWS {{cumulative, guide, tables, K, G}, B, seed, stream, start, size}
// clang-format on

#define LUCID_DRAW(NAME, FAMILY, P, T)                                                    \
  extern "C" __global__ void NAME(LUCID_VIEW(P, 0), LUCID_VIEW(P, 1), LUCID_VIEW(P, 2),   \
                                  LUCID_DRAWS, T* values, long long* index) {             \
    LUCID_VIEWS(P);                                                                       \
    lucid::draw<lucid::FAMILY<T>, T>(parameters, LUCID_GATHERED_DRAWS, D, values, index); \
  }

#define LUCID_DRAW_MULTIVARIATE_NORMAL(NAME, P, T)                                             \
  extern "C" __global__ void NAME(const P* loc, const P* scale_tril, long long sets,           \
                                  LUCID_DRAWS, T* values, long long* index) {                  \
    lucid::draw_multivariate_normal<T>(loc, scale_tril, sets, LUCID_GATHERED_DRAWS, D, values, \
                                       index);                                                 \
  }

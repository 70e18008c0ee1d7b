#pragma once
// One random word to the index of a category, by 64-bit integer tables.
#include "philox.cuh"

namespace lucid {

// Inclusive prefix sums of integer weights, [tables, K]; their last is the total T. Word u
// picks the first k with cumulative[k] > ⌊u·T/2⁶⁴⌋. A single table may have a guide, [G],
// G a power of two: guide[j] is the category of the least word with ⌊u·G/2⁶⁴⌋ = j. Where
// T = 0 there is no category: −1.
struct IndexTable {
  const Word* cumulative;
  const int* guide;
  Index tables, K, G;

  __device__ Index find(Index table, Word u) const {
    const Word* sums = cumulative + table * K;
    Index low = 0, high = K - 1;
    if (sums[high] == 0) return -1;
    const Word threshold = __umul64hi(u, sums[high]);
    if (guide) {
      const Index bucket = __umul64hi(u, Word(G));
      low = guide[bucket];
      if (bucket + 1 < G) high = guide[bucket + 1];
    }
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (sums[middle] > threshold) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

__device__ inline void draw_index(const IndexTable& table, Word seed, Word stream, Word start,
                                  Word size, Index* index) {
  const Word row = Word(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= size) return;
  const Bits bits(seed, stream, start + row, 0);
  index[row] = table.find(Index(row % Word(table.tables)), bits.direct[0]);
}

}  // namespace lucid

#define LUCID_DRAW_INDEX(NAME)                                                               \
  extern "C" __global__ void NAME(                                                           \
      const unsigned long long* cumulative, const int* guide, long long tables, long long K, \
      long long G, unsigned long long seed, unsigned long long stream,                       \
      unsigned long long start, unsigned long long size, long long* index) {                 \
    lucid::draw_index({cumulative, guide, tables, K, G}, seed, stream, start, size, index);  \
  }

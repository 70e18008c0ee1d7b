#pragma once
// log Σ_k w_k p(x | θ_k) as in mixture_fixed.cuh, for rows put together cell by cell
// (cells.cuh): a block's rows are all of one cell, and so it sums over that cell's window.
// A row that is refused is done again over all components, and so is all that lies outside.
#include "cells.cuh"
#include "mixture_fixed.cuh"

namespace lucid {

// A window: the numbers of its components, in a list of all windows.
struct Window {
  const int* components;
  Index first, last;

  __device__ Index operator[](Index i) const { return components[i]; }
};

// This thread's rows among `count` of one cell.
struct CellRows {
  static constexpr bool few = false;
  const int* rows;
  int count;
  Index S;

  __device__ Index at(int i) const { return i < count ? rows[i] : S; }
  __device__ Index operator()(int r) const { return at(r * kMixtureThreads + threadIdx.x); }
};

template <class Family, typename T, int D, int ROWS, int POLYNOMIALS>
__device__ void mixture_cells(const Mixture<Family, T>& mixture, const Shift<T>* shifts,
                              const int* offsets, const int* components, Index cells,
                              const int* counts, const int* starts, const int* rows, T* out) {
  __shared__ FixedBlock<Family, T, D, ROWS> block;
  __shared__ int found;
  const int first = blockIdx.x * (ROWS * kMixtureThreads);
  if (first >= starts[cells]) return;
  for (int c = threadIdx.x; c < cells; c += kMixtureThreads) {
    if (starts[c] <= first && first < starts[c + 1]) found = c;
  }
  __syncthreads();
  const int cell = found;
  const CellRows row = {rows + first, counts[cell] - (first - starts[cell]), mixture.S};
  const Window window = {components, offsets[cell], offsets[cell + 1]};
  fixed_rows<POLYNOMIALS>(mixture, 0, row, window, shifts[0], block, out);
}

}  // namespace lucid

#define LUCID_MIXTURE_CELLS(NAME, FAMILY, T, D, ROWS, POLYNOMIALS)                          \
  extern "C" __global__ void __launch_bounds__(lucid::kMixtureThreads,                      \
                                               lucid::kFixedBlocks<lucid::FAMILY<T>, T>)    \
      NAME(const T* values, const T* factors, const T* constants, const T* shifts,          \
           const int* offsets, const int* components, long long cells, const int* counts,   \
           const int* starts, const int* rows, T* out, long long S, long long K) {          \
    using Family = lucid::FAMILY<T>;                                                        \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);                 \
    const auto* known = reinterpret_cast<const lucid::Shift<T>*>(shifts);                   \
    lucid::mixture_cells<Family, T, D, ROWS, POLYNOMIALS>(                                  \
        {values, packed, constants, S, 1, K, D}, known, offsets, components, cells, counts, \
        starts, rows, out);                                                                 \
  }

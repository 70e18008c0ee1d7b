#pragma once
// log Σ_k w_k p(x | θ_k) as in mixture.cuh, with a shift of the exponents that is the
// mixture's own and known beforehand (mixture_shift.cuh): no maximum is looked at.
//
// A row is accepted when its sum S shows that nothing of it was lost. What is less than
// 2^-125.4 (2^-1020) may count as nothing or as that, in all at most K·2^-125.4, which is
// ¾ u of S where S ≥ K·2^-101. Other rows, some 12 standard deviations and more from every
// component, are collected and done again by mixture.cuh's loop in the same launch. Where
// the mixture has no shift, all rows go there: nothing is decided on the host.
#include "fixed_stage.cuh"
#include "mixture_shift.cuh"

namespace lucid {

// Blocks of a multiprocessor: as many as the registers of the loop leave room for.
template <class Family, typename T>
constexpr int kFixedBlocks = Family::cheap_pair ? (sizeof(T) == 4 ? 6 : 4) : 3;

// The rows of a block that are done again; the order in which they came changes none.
template <int MOST>
struct Refused {
  unsigned short rows[MOST];
  int count;

  __device__ void add(int row) {
    rows[atomicAdd(&count, 1)] = static_cast<unsigned short>(row);
  }
};

// This thread's row among those from `first` on, where `row` says which the block has.
template <int MOST, class Rows>
struct RefusedRow {
  static constexpr bool few = true;
  const Refused<MOST>* refused;
  int first;
  Rows row;
  Index S;

  __device__ Index operator()(int) const {
    const int i = first + int(threadIdx.x);
    return i < refused->count ? row.at(refused->rows[i]) : S;
  }
};

// All components of a mixture.
struct All {
  Index first, last;

  __device__ Index operator[](Index i) const { return i; }
};

// What a block has in shared memory.
template <class Family, typename T, int D, int ROWS>
struct FixedBlock {
  static constexpr int most = ROWS * kMixtureThreads;
  union {
    FixedStage<Family, T, D> fixed;
    Stage<Family, T, D> lazy;
  };
  // [0]: Σ_k 2^(term − shift) of row r of thread t; [1]: what it has lost (Kahan 1965). Here,
  // each thread its own, for the registers they would take.
  T sums[ROWS][kMixtureThreads][2];
  Refused<most> refused;
};

template <int POLYNOMIALS, class Family, typename T, int D, int ROWS, class Rows, class Window>
__device__ void fixed_sums(const Mixture<Family, T>& mixture, Index b, const Rows& row,
                           const Window& window, T shift,
                           FixedBlock<Family, T, D, ROWS>& block) {
  auto& stage = block.fixed;
  constexpr int size = FixedStage<Family, T, D>::size;
  typename Family::Row rows[ROWS][D];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    mixture.template read<D>(row(r), b, rows[r]);
    block.sums[r][threadIdx.x][0] = block.sums[r][threadIdx.x][1] = 0;
  }

  for (Index first = window.first; first < window.last; first += size) {
    const Index left = window.last - first;
    const int count = left < size ? int(left) : size;
    __syncthreads();
    stage.load(mixture, window, shift, first, count);
    __syncthreads();
    // Sums of a tile, then of a stage, then of all, as in mixture.cuh.
    T recent[ROWS] = {};
    const int whole = count / kFixedTile * kFixedTile;
    stage.template add_tiles<ROWS, POLYNOMIALS>(rows, whole, recent);
#pragma unroll 1
    for (int k = whole; k < count; ++k) stage.template add<ROWS>(rows, k, false, recent);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      T* sum = block.sums[r][threadIdx.x];
      const T y = recent[r] - sum[1], grown = sum[0] + y;
      sum[1] = (grown - sum[0]) - y;
      sum[0] = grown;
    }
  }
}

// The rows of one block under mixture b, summed over a window of its components.
template <int POLYNOMIALS, class Family, typename T, int D, int ROWS, class Rows, class Window>
__device__ void fixed_rows(const Mixture<Family, T>& mixture, Index b, const Rows& row,
                           const Window& window, const Shift<T>& known,
                           FixedBlock<Family, T, D, ROWS>& block, T* out) {
  using Block = FixedBlock<Family, T, D, ROWS>;
  const bool none = is_nan(known.shift);
  __syncthreads();
  if (threadIdx.x == 0) block.refused.count = 0;
  block.fixed.powers.load();
  __syncthreads();
  if (!none) fixed_sums<POLYNOMIALS>(mixture, b, row, window, known.shift, block);
  // A loop of one body: it is long.
#pragma unroll 1
  for (int r = 0; r < ROWS; ++r) {
    const Index s = row(r);
    if (s >= mixture.S) break;
    const T base = base_measure<Family>(mixture.value(s, b), mixture.D);
    const T sum = block.sums[r][threadIdx.x][0];
    T* result = out + s * mixture.B + b;
    if (is_nan(base) || base == -infinity<T>()) {
      *result = base;
    } else if (!none && sum >= known.least && sum <= largest<T>()) {
      *result = log_from_bits_of_normal(known.shift, sum) + base;
    } else {
      block.refused.add(r * kMixtureThreads + int(threadIdx.x));
    }
  }
  __syncthreads();
#pragma unroll 1
  for (int first = 0; first < block.refused.count; first += kMixtureThreads) {
    const RefusedRow<Block::most, Rows> again = {&block.refused, first, row, mixture.S};
    mixture_rows<Family, T, D, 1>(mixture, b, again, block.lazy, block.sums, out, nullptr);
  }
}

template <class Family, typename T, int D, int ROWS, int POLYNOMIALS>
__device__ void mixture_fixed(const Mixture<Family, T>& mixture, const Shift<T>* shifts,
                              T* out) {
  __shared__ FixedBlock<Family, T, D, ROWS> block;
  for (Index b = blockIdx.y; b < mixture.B; b += gridDim.y) {
    const All all = {b * mixture.K, (b + 1) * mixture.K};
    const BlockRows<ROWS> row;
    const Shift<T> known = shifts[b];
    fixed_rows<POLYNOMIALS>(mixture, b, row, all, known, block, out);
  }
}

}  // namespace lucid

#define LUCID_MIXTURE_FIXED(NAME, FAMILY, T, D, ROWS, POLYNOMIALS)                         \
  extern "C" __global__ void __launch_bounds__(lucid::kMixtureThreads,                     \
                                               lucid::kFixedBlocks<lucid::FAMILY<T>, T>)   \
      NAME(const T* values, const T* factors, const T* constants, const T* shifts, T* out, \
           long long S, long long B, long long K) {                                        \
    using Family = lucid::FAMILY<T>;                                                       \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);                \
    const auto* known = reinterpret_cast<const lucid::Shift<T>*>(shifts);                  \
    lucid::mixture_fixed<Family, T, D, ROWS, POLYNOMIALS>(                                 \
        {values, packed, constants, S, B, K, D}, known, out);                              \
  }

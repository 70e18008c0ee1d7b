#pragma once
// log Σ_k w_k p(x | θ_k) with shared parameters, for events of D ≤ 8 elements known when
// compiled: each thread keeps ROWS rows in registers and walks over all components, which
// the block stages in shared memory.
//
// A term costs its pair, one subtraction, one exponential and one addition: no maximum is
// taken. The shift of a row is a term it has met; a tile of 8 components whose sum shows
// that terms rose more than a few bits above it is done again with their maximum. Terms
// stay within 8 bits above the shift, where float32 exponents still round at 2⁻²¹.
#include "mixture_finish.cuh"

namespace lucid {

constexpr int kTile = 8;  // components whose sum is looked at
constexpr int kMixtureThreads = 128;
constexpr int kStage = 256;  // components times elements staged at a time

// Staged components; the last tile is filled up with components that do not exist.
template <class Family, typename T, int D>
struct Stage {
  static constexpr int size = kStage / D / kTile * kTile;
  // Components of a tile in flight at once: what registers hold.
  static constexpr int flight = Family::cheap_pair && D == 1 ? (sizeof(T) == 4 ? 8 : 4) : 1;
  typename Family::Factors factors[size * D];
  T constants[size];

  __device__ void load(const Mixture<Family, T>& mixture, Index b, Index first, int count) {
    const int padded = int(ceil_divide(count, kTile)) * kTile;
    const Index start = b * mixture.K + first;
    for (int i = threadIdx.x; i < padded * D; i += kMixtureThreads) {
      factors[i] = i < count * D ? mixture.factors[start * D + i] : typename Family::Factors{};
    }
    for (int i = threadIdx.x; i < padded; i += kMixtureThreads) {
      constants[i] = i < count ? mixture.constants[start + i] : -infinity<T>();
    }
  }

  __device__ T term(const typename Family::Row* row, int k) const {
    T term = constants[k];
#pragma unroll
    for (int d = 0; d < D; ++d) term = Family::pair(row[d], factors[k * D + d], term);
    return term;
  }
};

// A row's running sum. `recent` is the part of the stage at hand: sums of 8, then of a
// stage, then of all, since one flat float32 sum would lose up to K ulp.
template <class Family, typename T, int D>
struct MixtureRow {
  typename Family::Row row[D];
  BitSum<T> state;
  T recent;

  // Does the tile again under its own maximum; returns its sum.
  __device__ T redo(const Stage<Family, T, D>& stage, int tile) {
    T highest = state.maximum;
#pragma unroll 1
    for (int c = 0; c < kTile; ++c) highest = fmax(highest, stage.term(row, tile + c));
    recent *= state.raise(highest);
    T sum = 0;
#pragma unroll 1
    for (int c = 0; c < kTile; ++c) {
      sum += exp2_fast(stage.term(row, tile + c) - state.maximum);
    }
    return sum;
  }
};

// A thread's rows in a block of them: every 128th. Those from S on do not exist.
template <int ROWS>
struct BlockRows {
  static constexpr bool few = false;  // whether most threads may have no row
  __device__ Index operator()(int r) const {
    return Index(blockIdx.x) * (kMixtureThreads * ROWS) + r * kMixtureThreads + threadIdx.x;
  }
  __device__ Index at(int i) const { return Index(blockIdx.x) * (kMixtureThreads * ROWS) + i; }
};

// The `row(r)` of this thread, r < ROWS, in rising order.
template <class Family, typename T, int D, int ROWS, class Rows>
__device__ void mixture_rows(const Mixture<Family, T>& mixture, Index b, const Rows& row,
                             Stage<Family, T, D>& stage, T (*totals)[kMixtureThreads][2],
                             T* out, T* partials) {
  constexpr T tolerated = 256, tolerated_of_row = 256 / ROWS / 2;
  MixtureRow<Family, T, D> rows[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    mixture.template read<D>(row(r), b, rows[r].row);
  }

  const Split split(mixture.K, stage.size);
  for (Index first = split.first; first < split.last; first += stage.size) {
    const Index left = split.last - first;
    const int count = left < stage.size ? int(left) : stage.size;
    __syncthreads();
    stage.load(mixture, b, first, count);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROWS; ++r) rows[r].recent = 0;
#pragma unroll 1
    for (int tile = 0; tile < count; tile += kTile) {
      if (Rows::few && row(0) >= mixture.S) break;
      T sums[ROWS] = {};
#pragma unroll 1
      for (int c = 0; c < kTile; c += stage.flight) {
#pragma unroll
        for (int i = 0; i < stage.flight; ++i) {
#pragma unroll
          for (int r = 0; r < ROWS; ++r) {
            const T term = stage.term(rows[r].row, tile + c + i);
            sums[r] += exp2_fast(term - rows[r].state.maximum);
          }
        }
      }
      T all = 0;
#pragma unroll
      for (int r = 0; r < ROWS; ++r) all += sums[r];
      if (!(all <= tolerated)) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          if (!(sums[r] <= tolerated_of_row)) sums[r] = rows[r].redo(stage, tile);
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS; ++r) rows[r].recent += sums[r];
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) rows[r].state.add(rows[r].recent);
  }

  // Through shared memory, each thread its own, for a loop of one body: it is long.
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    totals[r][threadIdx.x][0] = rows[r].state.maximum;
    totals[r][threadIdx.x][1] = rows[r].state.sum;
  }
#pragma unroll 1
  for (int r = 0; r < ROWS; ++r) {
    const Index s = row(r);
    if (s >= mixture.S) break;
    const T maximum = totals[r][threadIdx.x][0], sum = totals[r][threadIdx.x][1];
    if (partials) {
      T* partial = partials + ((blockIdx.z * mixture.S + s) * mixture.B + b) * 2;
      partial[0] = maximum;
      partial[1] = sum;
    } else {
      out[s * mixture.B + b] = finish_row(mixture, s, b, maximum, sum);
    }
  }
}

template <class Family, typename T, int D, int ROWS>
__device__ void mixture_log_prob(const Mixture<Family, T>& mixture, T* out, T* partials) {
  __shared__ Stage<Family, T, D> stage;
  __shared__ T totals[ROWS][kMixtureThreads][2];
  for (Index b = blockIdx.y; b < mixture.B; b += gridDim.y) {
    mixture_rows<Family, T, D, ROWS>(mixture, b, BlockRows<ROWS>(), stage, totals, out,
                                     partials);
  }
}

}  // namespace lucid

#define LUCID_MIXTURE(NAME, FAMILY, T, D, ROWS)                                               \
  extern "C" __global__ void __launch_bounds__(lucid::kMixtureThreads)                        \
      NAME(const T* values, const T* factors, const T* constants, T* out, T* partials,        \
           long long S, long long B, long long K) {                                           \
    using Family = lucid::FAMILY<T>;                                                          \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);                   \
    lucid::mixture_log_prob<Family, T, D, ROWS>({values, packed, constants, S, B, K, D}, out, \
                                                partials);                                    \
  }

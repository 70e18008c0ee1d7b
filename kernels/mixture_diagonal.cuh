#pragma once
// log Σ_k w_k Π_d p(x_d | θ_kd) for events of any size D: a block reduces 128 rows against
// 32 or 64 components at a time, each thread 8 rows by 2 or 4 of them, as a matrix product
// would, with the family's pair in place of the product. Elements are staged a few at a time.
#include "mixture_finish.cuh"

namespace lucid {

template <class Family, typename T>
struct DiagonalTile {
  static constexpr int threads = 256;
  static constexpr int lanes = 16;  // threads that share a row
  static constexpr bool small = Family::cheap_pair && sizeof(T) == 4;
  static constexpr int row_part = 8, column_part = small ? 4 : 2;  // of a thread
  static constexpr int rows = threads / lanes * row_part, columns = lanes * column_part;
  using Row = typename Family::Row;
  using Factors = typename Family::Factors;
  // Elements staged at a time: as many as 32 KB hold, at most 16.
  static constexpr int padding = 4;  // spreads the stores of one event over the banks
  static constexpr int bytes =
      (rows + padding) * sizeof(Row) + (columns + padding) * sizeof(Factors);
  static constexpr int depth = 32768 / bytes < 16 ? 32768 / bytes : 16;

  alignas(32) Factors factors[depth][columns + padding];
  alignas(32) Row x[depth][rows + padding];

  __device__ void load_rows(const Mixture<Family, T>& mixture, Index b, Index first_row,
                            Index first_d, int count) {
    for (int i = threadIdx.x; i < rows * count; i += threads) {
      const int row = i / count, d = i % count;
      const Index s = first_row + row;
      const T value = s < mixture.S ? mixture.value(s, b)[first_d + d] : T(1);
      // 1 stands in for what has no density: every family supports it.
      x[d][row] = Family::row(!is_nan(value) && Family::supports(value) ? value : T(1));
    }
  }

  __device__ void load_factors(const Mixture<Family, T>& mixture, Index b, Index first_k,
                               Index last_k, Index first_d, int count) {
    for (int i = threadIdx.x; i < columns * count; i += threads) {
      const int column = i / count, d = i % count;
      const Index k = first_k + column;
      factors[d][column] = k < last_k
                               ? mixture.factors[(b * mixture.K + k) * mixture.D + first_d + d]
                               : Factors{};
    }
  }
};

// A block's rows against all components of its split.
template <class Family, typename T>
__device__ void diagonal_rows(const Mixture<Family, T>& mixture, Index b,
                              DiagonalTile<Family, T>& tile, BitSum<T>* states) {
  using Tile = DiagonalTile<Family, T>;
  const int lane = threadIdx.x % Tile::lanes, group = threadIdx.x / Tile::lanes;
  const Index first_row = Index(blockIdx.x) * Tile::rows;
  const Split split(mixture.K, Tile::columns);
  for (Index first = split.first; first < split.last; first += Tile::columns) {
    T terms[Tile::row_part][Tile::column_part];
#pragma unroll
    for (int c = 0; c < Tile::column_part; ++c) {
      const Index k = first + lane + c * Tile::lanes;
      const T constant = k < split.last ? mixture.constants[b * mixture.K + k] : -infinity<T>();
#pragma unroll
      for (int r = 0; r < Tile::row_part; ++r) terms[r][c] = constant;
    }
    for (Index d = 0; d < mixture.D; d += Tile::depth) {
      const Index left = mixture.D - d;
      const int count = left < Tile::depth ? int(left) : Tile::depth;
      __syncthreads();
      // Short events stay where they are from one tile of components to the next.
      if (mixture.D > Tile::depth || first == split.first) {
        tile.load_rows(mixture, b, first_row, d, count);
      }
      tile.load_factors(mixture, b, first, split.last, d, count);
      __syncthreads();
#pragma unroll 2
      for (int i = 0; i < count; ++i) {
        typename Tile::Row x[Tile::row_part];
#pragma unroll
        for (int r = 0; r < Tile::row_part; ++r) x[r] = tile.x[i][group * Tile::row_part + r];
#pragma unroll
        for (int c = 0; c < Tile::column_part; ++c) {
          const typename Tile::Factors factors = tile.factors[i][lane + c * Tile::lanes];
#pragma unroll
          for (int r = 0; r < Tile::row_part; ++r) {
            terms[r][c] = Family::pair(x[r], factors, terms[r][c]);
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < Tile::row_part; ++r) {
      T sum = 0;
#pragma unroll
      for (int c = 0; c < Tile::column_part; ++c) {
        sum += exp2_fast(terms[r][c] - states[r].maximum);
      }
      // As in mixture.cuh: a maximum is only taken when terms rose above the last one.
      if (!(sum <= 64)) {
        T highest = terms[r][0];
#pragma unroll
        for (int c = 1; c < Tile::column_part; ++c) highest = fmax(highest, terms[r][c]);
        states[r].raise(highest);
        sum = 0;
#pragma unroll
        for (int c = 0; c < Tile::column_part; ++c) {
          sum += exp2_fast(terms[r][c] - states[r].maximum);
        }
      }
      states[r].add(sum);
    }
  }
}

template <class Family, typename T>
__device__ void mixture_diagonal(const Mixture<Family, T>& mixture, T* out, T* partials) {
  using Tile = DiagonalTile<Family, T>;
  // The tile, then the states of each row's 16 threads.
  union Shared {
    Tile tile;
    T states[Tile::rows][Tile::lanes][2];
  };
  __shared__ Shared shared;

  const int lane = threadIdx.x % Tile::lanes, group = threadIdx.x / Tile::lanes;
  for (Index b = blockIdx.y; b < mixture.B; b += gridDim.y) {
    BitSum<T> states[Tile::row_part];
    diagonal_rows(mixture, b, shared.tile, states);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < Tile::row_part; ++r) {
      T* state = shared.states[group * Tile::row_part + r][lane];
      state[0] = states[r].maximum;
      state[1] = states[r].sum;
    }
    __syncthreads();
    const int row = threadIdx.x;
    const Index s = Index(blockIdx.x) * Tile::rows + row;
    if (row < Tile::rows && s < mixture.S) {
      BitSum<T> state;
      for (int i = 0; i < Tile::lanes; ++i) {
        state.merge(shared.states[row][i][0], shared.states[row][i][1]);
      }
      if (partials) {
        T* partial = partials + ((blockIdx.z * mixture.S + s) * mixture.B + b) * 2;
        partial[0] = state.maximum;
        partial[1] = state.sum;
      } else {
        out[s * mixture.B + b] = finish_row(mixture, s, b, state.maximum, state.sum);
      }
    }
    __syncthreads();
  }
}

}  // namespace lucid

#define LUCID_MIXTURE_DIAGONAL(NAME, FAMILY, T)                                        \
  extern "C" __global__ void __launch_bounds__(256)                                    \
      NAME(const T* values, const T* factors, const T* constants, T* out, T* partials, \
           long long S, long long B, long long K, long long D) {                       \
    using Family = lucid::FAMILY<T>;                                                   \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);            \
    lucid::mixture_diagonal<Family, T>({values, packed, constants, S, B, K, D}, out,   \
                                       partials);                                      \
  }

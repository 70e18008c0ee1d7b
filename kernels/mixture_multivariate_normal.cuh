#pragma once
// log Σ_k w_k N(x | μ_k, Σ_k) and its most probable component, full covariances.
//
// With the whitener W = √(½ log2 e)·L⁻¹ (lower triangle) a term is constant − ‖W(x − μ)‖²
// bits. A block takes 128 rows through all components; per component it multiplies W, 64
// of its rows at a time, with the differences, 16 elements at a time: each thread 8 rows
// of W by 4 values, a warp all 128 values, so that a warp skips what lies above the
// diagonal. Nothing of size S·K·D exists.
#include "mixture_finish.cuh"

namespace lucid {

template <typename T>
struct MultivariateNormalMixture {
  static constexpr int threads = 256, rows = 128, outputs = 64, depth = 16;
  static constexpr int warp = 32, warps = threads / warp;
  static constexpr int row_part = rows / warp, output_part = outputs / warps;

  const T *values, *loc, *whitener, *constants;
  Index S, B, K, D;

  // The padding spreads the stores of one row's elements over the banks.
  struct alignas(16) Shared {
    T difference[depth][rows + 4];
    T whitener[depth][outputs + 4];
    T squares[warps][rows];
  };

  __device__ void load(Shared& shared, Index b, Index k, Index first_row, Index first_output,
                       Index first_d) const {
    // A thread keeps to one element, and to every 16th row and output.
    const int element = threadIdx.x % depth, start = threadIdx.x / depth;
    constexpr int stride = threads / depth;
    const Index d = first_d + element, left = S - first_row;
    const T mean = d < D ? loc[(b * K + k) * D + d] : T(0);
    const T* x = values + ((first_row + start) * B + b) * D + d;
#pragma unroll(sizeof(T) == 4 ? 4 : 2)
    for (int i = 0; i < rows / stride; ++i) {
      const int row = start + i * stride;
      const bool inside = d < D && row < left;
      shared.difference[element][row] = inside ? x[i * stride * B * D] - mean : T(0);
    }
    const Index output = first_output + start;
    const T* w = whitener + ((b * K + k) * D + output) * D + d;
#pragma unroll 2
    for (int i = 0; i < outputs / stride; ++i) {
      const bool inside = output + i * stride < D && d <= output + i * stride;
      shared.whitener[element][start + i * stride] = inside ? w[i * stride * D] : T(0);
    }
  }

  // −‖W(x − μ)‖² + constant for this thread's row of the block, in its first 128 threads.
  __device__ T terms(Shared& shared, Index b, Index k, Index first_row) const {
    const int lane = threadIdx.x % warp, group = threadIdx.x / warp;
    T squares[row_part] = {};
    for (Index first = 0; first < D; first += outputs) {
      const Index last = first + outputs < D ? first + outputs : D;
      T product[output_part][row_part] = {};
      for (Index d = 0; d < last; d += depth) {
        __syncthreads();
        load(shared, b, k, first_row, first, d);
        __syncthreads();
        if (d >= first + (group + 1) * output_part) continue;  // above the diagonal
#pragma unroll 2
        for (int j = 0; j < depth; ++j) {
#pragma unroll
          for (int o = 0; o < output_part; ++o) {
            const T w = shared.whitener[j][group * output_part + o];
#pragma unroll
            for (int r = 0; r < row_part; ++r) {
              product[o][r] = fma(w, shared.difference[j][lane * row_part + r], product[o][r]);
            }
          }
        }
      }
#pragma unroll
      for (int o = 0; o < output_part; ++o) {
#pragma unroll
        for (int r = 0; r < row_part; ++r) {
          squares[r] = fma(product[o][r], product[o][r], squares[r]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < row_part; ++r) shared.squares[group][lane * row_part + r] = squares[r];
    __syncthreads();
    if (threadIdx.x >= rows) return 0;
    const T constant = constants[b * K + k];
    T square = 0;
    for (int i = 0; i < warps; ++i) square += shared.squares[i][threadIdx.x];
    // NaN of infinities alone, as ∞ − ∞, counts as −∞; the constant knows of NaN parameters.
    return is_nan(square) && !is_nan(constant) ? -infinity<T>() : constant - square;
  }

  // NaN if an element of the row is NaN, else 0.
  __device__ T missing(Index s, Index b) const {
    const T* x = values + (s * B + b) * D;
    for (Index d = 0; d < D; ++d) {
      if (is_nan(x[d])) return x[d];
    }
    return 0;
  }

  __device__ void log_prob(T* out, T* partials) const {
    __shared__ Shared shared;
    const Index first_row = Index(blockIdx.x) * rows, s = first_row + threadIdx.x;
    const Split split(K, 1);
    for (Index b = blockIdx.y; b < B; b += gridDim.y) {
      BitSum<T> state;
      for (Index k = split.first; k < split.last; ++k) {
        const T term = terms(shared, b, k, first_row);
        if (term > state.maximum) state.raise(term);
        state.add(exp2_fast(term - state.maximum));
      }
      if (threadIdx.x >= rows || s >= S) continue;
      const T sum = state.sum + missing(s, b);
      if (partials) {
        T* partial = partials + ((blockIdx.z * S + s) * B + b) * 2;
        partial[0] = state.maximum;
        partial[1] = sum;
      } else {
        out[s * B + b] = log_from_bits(state.maximum, sum);
      }
    }
  }

  __device__ void mode(Index* index, T* log_posterior) const {
    __shared__ Shared shared;
    const Index first_row = Index(blockIdx.x) * rows, s = first_row + threadIdx.x;
    for (Index b = blockIdx.y; b < B; b += gridDim.y) {
      ModeSum<T> state;
      for (Index k = 0; k < K; ++k) state.add(terms(shared, b, k, first_row), k);
      if (threadIdx.x >= rows || s >= S) continue;
      const T log_density = state.log_posterior() + missing(s, b);
      index[s * B + b] = is_nan(log_density) ? 0 : state.index;
      log_posterior[s * B + b] = log_density;
    }
  }
};

template <typename T>
__device__ void merge_all_partials(const T* partials, Index splits, Index count, T* out) {
  const Index row = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= count) return;
  const BitSum<T> state = merge_partials(partials, splits, count, row);
  out[row] = log_from_bits(state.maximum, state.sum);
}

}  // namespace lucid

#define LUCID_MIXTURE_MULTIVARIATE_NORMAL(NAME, T)                                       \
  extern "C" __global__ void __launch_bounds__(256)                                      \
      NAME(const T* values, const T* loc, const T* whitener, const T* constants, T* out, \
           T* partials, long long S, long long B, long long K, long long D) {            \
    lucid::MultivariateNormalMixture<T>{values, loc, whitener, constants, S, B, K, D}    \
        .log_prob(out, partials);                                                        \
  }

#define LUCID_MERGE_PARTIALS(NAME, T)                                          \
  extern "C" __global__ void NAME(const T* partials, long long splits, T* out, \
                                  long long count) {                           \
    lucid::merge_all_partials(partials, splits, count, out);                   \
  }

#define LUCID_MODE_MULTIVARIATE_NORMAL(NAME, T)                                               \
  extern "C" __global__ void __launch_bounds__(256) NAME(                                     \
      const T* values, const T* loc, const T* whitener, const T* constants, long long* index, \
      T* log_posterior, long long S, long long B, long long K, long long D) {                 \
    lucid::MultivariateNormalMixture<T>{values, loc, whitener, constants, S, B, K, D}.mode(   \
        index, log_posterior);                                                                \
  }

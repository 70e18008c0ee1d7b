#pragma once
// log softmax(logits)[value]: one pass over per-row logits, or a gather out of a table.
#include "logsumexp.cuh"

namespace lucid {

template <typename P>
struct alignas(4 * sizeof(P)) Four {
  P logit[4];
};

// Folds terms into a pair (maximum, sum) of one thread. The lowest number stands for none.
template <typename T>
struct LogitSum {
  T maximum = -largest<T>(), sum = 0;

  template <int COUNT>
  __device__ void add(const T (&logit)[COUNT]) {
    T highest = maximum;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) highest = fmax(highest, logit[i]);
    sum *= power(maximum - highest);
    maximum = highest;
    T terms = 0;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) terms += power(logit[i] - highest);
    sum += terms;
  }

  static __device__ T power(T difference) { return exp2_fast(difference * T(kLog2E)); }
};

// Logits [B, K], values and results [S, B]: LANES threads of a block share one row of logits,
// and the blocks of the grid's second dimension its values.
template <typename T, typename P, int LANES>
__device__ void categorical_log_prob(const P* logits, const Index* values, T* out, Index S,
                                     Index B, Index K) {
  constexpr int threads = 256, rows = threads / LANES;
  __shared__ T maximum[threads], sum[threads];
  const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
  for (Index first = Index(blockIdx.x) * rows; first < B; first += Index(gridDim.x) * rows) {
    const Index b = first + row;
    const P* logit = logits + b * K;
    LogitSum<T> state;
    if (b < B) {
      // Four at a time from the first boundary on; what is before and after, alone.
      const int offset = reinterpret_cast<Word>(logit) / sizeof(P) % 4;
      const int before = (4 - offset) % 4;
      const Index head = before < K ? before : K;
      const Index fours = (K - head) / 4 * 4;
      for (Index k = head + 4 * lane; k < head + fours; k += 4 * LANES) {
        const Four<P> four = *reinterpret_cast<const Four<P>*>(logit + k);  // one load
        const T terms[4] = {T(four.logit[0]), T(four.logit[1]), T(four.logit[2]),
                            T(four.logit[3])};
        state.add(terms);
      }
#pragma unroll 1
      for (Index k = lane; k < K - fours; k += LANES) {
        const T one[1] = {T(logit[k < head ? k : k + fours])};
        state.add(one);
      }
    }
    maximum[threadIdx.x] = state.maximum;
    sum[threadIdx.x] = state.sum;
    for (int half = LANES / 2; half > 0; half /= 2) {
      __syncthreads();
      if (lane >= half) continue;
      const int mine = threadIdx.x, other = mine + half;
      const T highest = fmax(maximum[mine], maximum[other]);
      sum[mine] = sum[mine] * LogitSum<T>::power(maximum[mine] - highest) +
                  sum[other] * LogitSum<T>::power(maximum[other] - highest);
      maximum[mine] = highest;
    }
    __syncthreads();
    if (b < B) {
      const T highest = maximum[row * LANES], log_sum = log(sum[row * LANES]);
      const Index stride = Index(gridDim.y) * LANES;
      for (Index s = Index(blockIdx.y) * LANES + lane; s < S; s += stride) {
        const Index value = values[s * B + b];
        const bool inside = value >= 0 && value < K;
        out[s * B + b] = inside ? (T(logit[value]) - highest) - log_sum : -infinity<T>();
      }
    }
    __syncthreads();
  }
}

// Where an integer stands in a table [K + 2] of the categories 0 … K − 1, the first place for
// what is below and the last for what is above.
template <typename V>
__device__ Index place_of(V value, Index K) {
  const Index k = static_cast<Index>(value);  // of what is beyond 2⁶³, one below
  return k < 0 ? 0 : k < K ? k + 1 : K + 1;
}

// The same of a real, the first place for what is no integer.
template <typename V>
__device__ Index place_of_real(V value, Index K) {
  if (!(value >= 0) || floor(value) < value) return 0;
  return place_of(static_cast<Index>(fmin(value, static_cast<V>(K))), K);
}
__device__ inline Index place_of(float value, Index K) {
  return place_of_real(value, K);
}
__device__ inline Index place_of(double value, Index K) {
  return place_of_real(value, K);
}

// What a table [K + 2] has for a value; NaN for NaN.
template <typename T, typename V>
__device__ T categorical_gather(const T* table, V value, Index K) {
  return is_nan(value) ? not_a_number<T>() : table[place_of(value, K)];
}

}  // namespace lucid

#define LUCID_CATEGORICAL_LOG_PROB(NAME, P, T, LANES)                                  \
  extern "C" __global__ void __launch_bounds__(256, 4)                                 \
      NAME(const P* logits, const long long* values, T* out, long long S, long long B, \
           long long K) {                                                              \
    lucid::categorical_log_prob<T, P, LANES>(logits, values, out, S, B, K);            \
  }

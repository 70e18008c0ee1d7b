#pragma once
// Whether one shift serves all rows of a mixture, and which: a block looks at its constants.
//
// A term c − shift − q rounds at u·(|c − shift| + q), q = −pair. With a shift of 0 the first
// part is |c| ≤ |log w| + |log σ| + 1, which the error bound B holds, whatever the spread of
// the constants; the sums stay in range where the largest constant is within 2^±32. Beyond
// that the largest constant itself is the shift, if all lie within 8 bits of it.
#include "common.cuh"

namespace lucid {

template <typename T>
struct Shift {
  T shift;  // in bits, off every constant; NaN: no one shift serves
  T least;  // the smallest sum of a row that is accepted
};

constexpr int kShiftThreads = 128;

template <typename T>
__device__ Shift<T> shift_of(T highest, T lowest, bool nan, Index K) {
  const T lost = sizeof(T) == 4 ? T(0x1p-101) : T(0x1p-960);
  const T count = static_cast<T>(K);
  if (nan) return {not_a_number<T>(), 0};
  if (fabs(highest) <= 32) return {0, count * lost * exp2(fmax(highest, T(0)))};
  if (fabs(highest - lowest) <= 8) return {highest, count * lost};
  return {not_a_number<T>(), 0};
}

// constants [B, K] to shifts [B]
template <typename T>
__device__ void mixture_shift(const T* constants, Index B, Index K, Shift<T>* shifts) {
  __shared__ T high[kShiftThreads], low[kShiftThreads];
  __shared__ bool nan[kShiftThreads];
  const int t = threadIdx.x;
  for (Index b = blockIdx.x; b < B; b += gridDim.x) {
    high[t] = -infinity<T>();
    low[t] = infinity<T>();
    nan[t] = false;
    for (Index k = t; k < K; k += kShiftThreads) {
      const T constant = constants[b * K + k];
      if (constant > -infinity<T>()) {  // a component of weight 0 counts for nothing
        high[t] = fmax(high[t], constant);
        low[t] = fmin(low[t], constant);
      }
      nan[t] = nan[t] || is_nan(constant);
    }
    for (int half = kShiftThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (t >= half) continue;
      high[t] = fmax(high[t], high[t + half]);
      low[t] = fmin(low[t], low[t + half]);
      nan[t] = nan[t] || nan[t + half];
    }
    if (t == 0) shifts[b] = shift_of(high[0], low[0], nan[0], K);
    __syncthreads();
  }
}

}  // namespace lucid

#define LUCID_MIXTURE_SHIFT(NAME, T)                                                         \
  extern "C" __global__ void NAME(const T* constants, long long B, long long K, T* shifts) { \
    lucid::mixture_shift<T>(constants, B, K, reinterpret_cast<lucid::Shift<T>*>(shifts));    \
  }

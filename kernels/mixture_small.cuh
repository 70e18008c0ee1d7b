#pragma once
// log Σ_k w_k p(x | θ_k) of one mixture of few components, their number known when compiled:
// each thread keeps all of them in registers and walks over the rows. As in
// mixture_fixed.cuh the shift is known beforehand, and a row that it may not serve is done
// again, here by its own maximum.
#include "fixed_stage.cuh"
#include "mixture_shift.cuh"

namespace lucid {

constexpr int kSmallRows = 4;  // of a thread at once

// A row by its own maximum.
template <class Family, typename T>
__device__ T small_row_again(const Mixture<Family, T>& mixture, Index s) {
  const T* x = mixture.value(s, 0);
  T highest = -largest<T>(), sum = 0;
#pragma unroll 1
  for (Index k = 0; k < mixture.K; ++k) highest = fmax(highest, mixture.term(x, 0, k));
  highest = fmin(highest, largest<T>());
#pragma unroll 1
  for (Index k = 0; k < mixture.K; ++k) sum += exp2_fast(mixture.term(x, 0, k) - highest);
  return finish_row(mixture, s, 0, highest, sum);
}

template <class Family, typename T, int K>
__device__ void mixture_small(const Mixture<Family, T>& mixture, const Shift<T>* shifts,
                              T* out) {
  __shared__ Powers<T> powers;
  powers.load();
  __syncthreads();
  const Shift<T> known = shifts[0];
  typename Family::Factors factors[K];
  T constants[K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    factors[k] = mixture.factors[k];
    constants[k] = mixture.constants[k] - known.shift;  // NaN without a shift: so is the sum
  }
  constexpr int step = kMixtureThreads;
  const Index stride = Index(gridDim.x) * (step * kSmallRows);
  for (Index first = Index(blockIdx.x) * (step * kSmallRows) + threadIdx.x; first < mixture.S;
       first += stride) {
    T x[kSmallRows], sums[kSmallRows] = {};
#pragma unroll
    for (int r = 0; r < kSmallRows; ++r) {
      const Index s = first + r * step;
      x[r] = mixture.values[s < mixture.S ? s : first];
    }
#pragma unroll
    for (int r = 0; r < kSmallRows; ++r) {
      const auto row = Family::row(x[r]);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        sums[r] = powers.add(Family::pair(row, factors[k], constants[k]), sums[r], false);
      }
    }
    int again = 0;
#pragma unroll
    for (int r = 0; r < kSmallRows; ++r) {
      const Index s = first + r * step;
      const T base = base_measure<Family>(&x[r], 1);
      if (s >= mixture.S) break;
      if (sums[r] >= known.least && sums[r] <= largest<T>() && base > -infinity<T>()) {
        out[s] = log_from_bits_of_normal(known.shift, sums[r]) + base;
      } else {
        again |= 1 << r;
      }
    }
#pragma unroll 1
    for (int r = 0; again >> r; ++r) {
      if (again >> r & 1) out[first + r * step] = small_row_again(mixture, first + r * step);
    }
  }
}

}  // namespace lucid

#define LUCID_MIXTURE_SMALL(NAME, FAMILY, T, COUNT)                                            \
  extern "C" __global__ void __launch_bounds__(lucid::kMixtureThreads)                         \
      NAME(const T* values, const T* factors, const T* constants, const T* shifts, T* out,     \
           long long S) {                                                                      \
    using Family = lucid::FAMILY<T>;                                                           \
    const auto* packed = reinterpret_cast<const Family::Factors*>(factors);                    \
    const auto* known = reinterpret_cast<const lucid::Shift<T>*>(shifts);                      \
    lucid::mixture_small<Family, T, COUNT>({values, packed, constants, S, 1, COUNT, 1}, known, \
                                           out);                                               \
  }

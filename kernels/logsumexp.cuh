#pragma once
// log Σ exp tₖ as a streaming pair (maximum, sum): Milakov and Gimelshein (2018).
#include "special.cuh"

namespace lucid {

// maximum + log(sum) in nats. −∞ is the empty sum; NaN lives in `sum`.
template <typename T>
struct LogSumExp {
  T maximum, sum;

  __device__ LogSumExp() : maximum(-infinity<T>()), sum(0) {}
  __device__ explicit LogSumExp(T term) : maximum(-infinity<T>()), sum(0) {
    if (term > maximum) {
      maximum = term;
      sum = 1;
    } else if (is_nan(term)) {
      sum = term;
    }
  }
  __device__ LogSumExp(T maximum, T sum) : maximum(maximum), sum(sum) {}

  __device__ T log() const { return sum == 0 ? -infinity<T>() : maximum + ::log(sum); }
};

// Associative up to rounding. Equal maxima, infinite ones too, need no exponential.
template <typename T>
__device__ LogSumExp<T> merge(const LogSumExp<T>& a, const LogSumExp<T>& b) {
  if (a.maximum == b.maximum) return {a.maximum, a.sum + b.sum};
  const bool swap = a.maximum < b.maximum;
  const LogSumExp<T>&high = swap ? b : a, &low = swap ? a : b;
  return {high.maximum, high.sum + low.sum * exp(low.maximum - high.maximum)};
}

// The same in bits, Σ 2^(tₖ − maximum), for the tiled kernels: the maximum is finite, the
// lowest number standing for none, and may lag the true one by a few bits, so that most
// terms cost one exponential and no comparison. `error` is what the sum has lost (Kahan
// 1965): a million equal terms would lose a hundred ulp and more.
template <typename T>
struct BitSum {
  T maximum, sum, error;

  __device__ BitSum() : maximum(-largest<T>()), sum(0), error(0) {}

  __device__ void add(T terms) {
    const T y = terms - error, grown = sum + y;
    error = (grown - sum) - y;
    sum = grown;
  }

  // Raises the maximum to cover `term`; returns the factor for sums that depend on it.
  __device__ T raise(T term) {
    const T raised = fmin(fmax(maximum, term), largest<T>());  // NaN raises nothing
    const T factor = exp2_fast(maximum - raised);
    maximum = raised;
    sum *= factor;
    error *= factor;
    return factor;
  }

  __device__ void merge(T other_maximum, T other_sum) {
    raise(other_maximum);
    add(other_sum * exp2_fast(other_maximum - maximum));
  }
};

// The same with the position of the largest term, always its own maximum.
template <typename T>
struct ModeSum {
  T maximum, sum;
  Index index;

  __device__ ModeSum() : maximum(-infinity<T>()), sum(0), index(0) {}

  __device__ void add(T term, Index k) {
    if (term > maximum) {
      sum = fma(sum, exp2_fast(maximum - term), T(1));
      maximum = term;
      index = k;
    } else if (term == maximum) {
      sum += term > -infinity<T>();
    } else {
      sum += exp2_fast(term - maximum);  // NaN stays
    }
  }

  // log p(index | x) in nats: the sum is Σ p_k / p_index. NaN where no density is.
  __device__ T log_posterior() const {
    return sum > 0 ? -log_from_bits(T(0), sum) : not_a_number<T>();
  }
};

}  // namespace lucid

#pragma once
// log Σ_k w_k p(x | θ_k) of one value a row, where parameters, and mostly weights, are the
// row's own: all are read once, where they are. LANES threads share a row.
//
// Weights are normalised in passing. A row's heaviest is found first; Σ w and Σ w·p are then
// taken together, relative to it.
#include "elementwise.cuh"

namespace lucid {

constexpr int kRowThreads = 256;
constexpr int kInFlight = 4;  // components that a thread reads at once

struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return fmax(a, b);
  }
};
struct Plus {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// What the neighbours that share a row have, made one; each of them gets it.
template <int LANES, typename T, class Operation>
__device__ T over_lanes(T x, Operation operation) {
#pragma unroll
  for (int step = 1; step < LANES && step < 32; step *= 2) {
    x = operation(x, __shfl_xor_sync(~0u, x, step));
  }
  if (LANES > 32) {
    __shared__ T parts[kRowThreads / 32];
    __syncthreads();  // the parts of before have been read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = parts[0];
    for (int i = 1; i < kRowThreads / 32; ++i) x = operation(x, parts[i]);
  }
  return x;
}

// x > 0 as 2^exponent·mantissa, from 1 to 2. A denormal float counts as 0 before.
__device__ inline float split_power(float x, float* mantissa) {
  const int bits = __float_as_int(x);
  *mantissa = __int_as_float((bits & 0x7fffff) | 0x3f800000);
  return static_cast<float>((bits >> 23) - 127);
}
__device__ inline double split_power(double x, double* mantissa) {
  const bool denormal = x < 0x1p-1022;
  const Index bits = __double_as_longlong(denormal ? x * 0x1p54 : x);
  *mantissa = __longlong_as_double((bits & 0xfffffffffffff) | 0x3ff0000000000000);
  return static_cast<double>((bits >> 52) - (denormal ? 1077 : 1023));
}

// The weights of one row, or their logarithms; all 1 where there is no array.
template <typename T, typename W>
struct RowWeights {
  using Wide = typename Wider<T, W>::type;
  // factor·2^level, or factor·e^level where logarithms are given. −∞: no such component.
  struct Weight {
    Wide level;
    T factor;
  };

  const W* given;
  unsigned step;
  bool logarithms;

  __device__ Weight operator[](int k) const {
    if (!given) return {0, 1};
    const Wide weight = static_cast<Wide>(given[unsigned(k) * step]);
    if (logarithms) return {weight, 1};
    if (weight == 0) return {-infinity<Wide>(), 1};
    if (!(weight > 0 && weight <= largest<Wide>())) return {not_a_number<Wide>(), 1};
    Wide mantissa;
    const Wide exponent = split_power(weight, &mantissa);
    return {exponent, static_cast<T>(mantissa)};
  }

  // A weight's bits above the heaviest's.
  __device__ T bits(Wide level, Wide heaviest) const {
    return static_cast<T>(level - heaviest) * (logarithms ? T(kLog2E) : T(1));
  }
};

// The parameters of one row's components.
template <template <typename> class Family, typename T, typename P>
struct RowParameters {
  static constexpr int count = sizeof(Family<T>) / sizeof(T);
  const P* given[3];
  unsigned step[3];

  __device__ Family<T> operator[](int k) const {
    Family<T> family;
    T* member = reinterpret_cast<T*>(&family);
#pragma unroll
    for (int i = 0; i < count; ++i) member[i] = static_cast<T>(given[i][unsigned(k) * step[i]]);
    return family;
  }
};

// A component's term in bits, beside its weight's.
template <template <typename> class Family, typename T>
__device__ T row_term(const Family<T>& family, const typename Family<T>::Row& row, T weight) {
  using F = Family<T>;
  // In half nats, as in elementwise.cuh.
  const T twice = F::pair(row, family.prepare(2), family.constant(2));
  const T term = fma(twice, T(0.5 * kLog2E), weight);
  if (!is_nan(term)) return term;
  // Of weight 0, or NaN of infinities alone: no density.
  if (weight == -infinity<T>()) return weight;
  return is_nan(weight) || has_nan<T>(family) ? term : -infinity<T>();
}

// The components that a thread reads at once: every LANES-th from `first` on. Those past the
// last are the last again, without weight.
template <int LANES, typename T, typename W>
struct HeldWeights {
  using Wide = typename RowWeights<T, W>::Wide;
  Wide levels[kInFlight];
  T factors[kInFlight];

  __device__ void read(const RowWeights<T, W>& weights, int first, int K) {
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int k = first + i * LANES;
      const auto weight = weights[k < K ? k : K - 1];
      levels[i] = k < K ? weight.level : -infinity<Wide>();
      factors[i] = weight.factor;
    }
  }

  __device__ Wide highest(Wide than) const {
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) than = fmax(than, levels[i]);
    return than;
  }
};

template <int LANES, template <typename> class Family, typename T, typename P, typename W>
__device__ T mixture_of_row(const RowParameters<Family, T, P>& parameters,
                            const RowWeights<T, W>& weights, T x, int K) {
  using F = Family<T>;
  constexpr int step = kInFlight * LANES;
  int first = threadIdx.x % LANES;
  HeldWeights<LANES, T, W> held;
  held.read(weights, first, K);
  auto heaviest = held.highest(-infinity<typename RowWeights<T, W>::Wide>());
  if (K > step) {
    for (int next = first + step; next < K; next += step) {
      HeldWeights<LANES, T, W> others;
      others.read(weights, next, K);
      heaviest = others.highest(heaviest);
    }
  }
  heaviest = over_lanes<LANES>(heaviest, Larger());

  // 1 stands in for what has no density: every family supports it.
  const typename F::Row row = F::row(!is_nan(x) && F::supports(x) ? x : T(1));
  BitSum<T> density, total;
  while (first < K) {
    F families[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int k = first + i * LANES;
      families[i] = parameters[k < K ? k : K - 1];
    }
    T terms[kInFlight], highest = density.maximum, weight = 0;
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const T bits = weights.bits(held.levels[i], heaviest);
      weight += held.factors[i] * exp2_fast(bits);
      terms[i] = bounded(row_term(families[i], row, bits));
      highest = fmax(highest, terms[i]);
    }
    total.add(weight);
    if (highest > density.maximum) density.raise(highest);
    T sum = 0;
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      sum += held.factors[i] * exp2_fast(terms[i] - density.maximum);
    }
    density.add(sum);
    first += step;
    if (first < K) held.read(weights, first, K);
  }
  const T highest = over_lanes<LANES>(density.maximum, Larger());
  const T sum = density.sum * exp2_fast(density.maximum - highest);
  // From 1 to 2K each, but for a density of 0 or NaN.
  const T mean = over_lanes<LANES>(sum, Plus()) / over_lanes<LANES>(total.sum, Plus());
  // An infinite density is the only one of so many bits.
  if (highest >= largest<T>()) return mean * infinity<T>();
  return mean > 0 ? log_from_bits_of_normal(highest, mean) : log(mean);
}

// Parameters [B or 1, K] as they are: strides of 0 where one is shared. The last
// component is less than 2³¹ elements behind the first.
template <typename P>
struct RowView {
  const P* data;
  Index mixture, component;
};

// Row r has value r and belongs to mixture r mod B.
template <int LANES, template <typename> class Family, typename T, typename P, typename W>
__device__ void mixture_rows(const T* values, const RowView<P> (&views)[3],
                             const RowView<W>& weights, bool logarithms, T* out, Index rows,
                             Index B, Index K) {
  constexpr int each = kRowThreads / LANES;
  const Index last = rows - 1;
  for (Index first = Index(blockIdx.x) * each; first < rows; first += Index(gridDim.x) * each) {
    // Threads past the end do the last row again: all meet at every barrier.
    const Index own = first + threadIdx.x / LANES, r = own < rows ? own : last;
    const Index b = B == rows ? r : r % B;
    RowParameters<Family, T, P> parameters;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      parameters.given[i] = views[i].data + b * views[i].mixture;
      parameters.step[i] = unsigned(views[i].component);
    }
    const RowWeights<T, W> given = {weights.data ? weights.data + b * weights.mixture : nullptr,
                                    unsigned(weights.component), logarithms};
    const T x = values[r], base = base_measure<Family<T>>(x);
    const T density = mixture_of_row<LANES>(parameters, given, x, int(K)) + base;
    if (own < rows && threadIdx.x % LANES == 0) {
      out[own] = is_nan(base) || base == -infinity<T>() ? base : density;
    }
  }
}

}  // namespace lucid

#define LUCID_MIXTURE_ROWS(NAME, FAMILY, P, W, T, LANES)                                     \
  extern "C" __global__ void __launch_bounds__(lucid::kRowThreads, sizeof(T) == 4 ? 4 : 2)   \
      NAME(const T* values, const P* p0, long long b0, long long k0, long long, const P* p1, \
           long long b1, long long k1, long long, const P* p2, long long b2, long long k2,   \
           long long, const W* weights, long long bw, long long kw, long long logarithms,    \
           T* out, long long rows, long long B, long long K) {                               \
    lucid::mixture_rows<LANES, lucid::FAMILY, T, P, W>(                                      \
        values, {{p0, b0, k0}, {p1, b1, k1}, {p2, b2, k2}}, {weights, bw, kw},               \
        logarithms != 0, out, rows, B, K);                                                   \
  }

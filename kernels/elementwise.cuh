#pragma once
// One value under one law: the bodies of elementwise and reduction kernels.
#include "logsumexp.cuh"

namespace lucid {

// The wider of two types of numbers, a half counting as a float.
template <typename T, typename P>
struct Wider {
  using type = T;
};
template <>
struct Wider<float, double> {
  using type = double;
};

// A family, its factors and its rows are structs of T alone, without padding.
template <typename T, class Struct>
__device__ bool has_nan(const Struct& s) {
  const T* member = reinterpret_cast<const T*>(&s);
  bool found = false;
  for (int i = 0; i < int(sizeof(Struct) / sizeof(T)); ++i) found |= is_nan(member[i]);
  return found;
}

// The base measure of one element: NaN for NaN, −∞ outside the family's own support.
template <class Family, typename T>
__device__ T base_measure(T x) {
  if (is_nan(x)) return x;
  return Family::supports(x) ? Family::log_base_measure(x) : -infinity<T>();
}

// The same for an event of D elements.
template <class Family, typename T>
__device__ T base_measure(const T* x, Index D) {
  T sum = 0;
  bool missing = false;
  for (Index d = 0; d < D; ++d) {
    sum += base_measure<Family>(x[d]);
    missing |= is_nan(x[d]);
  }
  // An infinite measure both ways leaves the density 0.
  return is_nan(sum) && !missing ? -infinity<T>() : sum;
}

// log p(x | family); what is NaN of infinities alone, as ∞ − ∞, counts as −∞.
template <template <typename> class Family, typename T>
__device__ T log_prob(const Family<T>& family, T x) {
  using F = Family<T>;
  const T base = base_measure<F>(x);
  if (is_nan(base) || base == -infinity<T>()) return base;
  // In half nats, so that the normal's factor is 1/σ itself, a normal number where 1/σ is.
  const T twice = F::pair(F::row(x), family.prepare(2), family.constant(2));
  const T density = T(0.5) * twice + base;
  return is_nan(density) && !has_nan<T>(family) ? -infinity<T>() : density;
}

// 2^n of a type, n within its normal range.
template <typename T>
__device__ T power_of_two(int n);
template <>
__device__ inline float power_of_two(int n) {
  return __int_as_float((n + 127) << 23);
}
template <>
__device__ inline double power_of_two(int n) {
  return __longlong_as_double(Index(n + 1023) << 52);
}

// The normalised logarithm of a weight that was given as it is, log(given / total), or as
// its logarithm, (given − shift) − total with `total` the logarithm of one. Weights may be
// of any size: both are scaled by a power of two, so that their quotient is rounded once;
// next to the logarithm of one that would underflow, a rounding of log(given) is small.
template <typename T, typename P>
__device__ T log_weight(P given, double total, double shift, bool logarithms) {
  using Wide = typename Wider<T, P>::type;
  const Wide weight = static_cast<Wide>(given);
  if (logarithms) return static_cast<T>(weight - static_cast<Wide>(shift)) - T(total);
  constexpr int most = sizeof(Wide) == 4 ? 125 : 1020, least = sizeof(T) == 4 ? -100 : -1000;
  // total = 2^exponent times ½ … 1, unless it is 0, denormal or infinite
  const Index bits = __double_as_longlong(total);
  const int exponent = int(bits >> 52) - 1022;
  const int taken = exponent < -most ? -most : exponent > most ? most : exponent;
  const T scaled = static_cast<T>(__longlong_as_double(bits - Index(taken) * (Index(1) << 52)));
  const T relative = static_cast<T>(weight * power_of_two<Wide>(-taken)) / scaled;
  const bool normal = exponent > -1022 && exponent < 1025;
  if (normal && relative > power_of_two<T>(least)) return log(relative);
  return static_cast<T>(log(weight)) - static_cast<T>(log(total));
}

// One component's term of a mixture, for a reduction over components. One of weight 0
// does not exist, whatever its parameters are.
template <template <typename> class Family, typename T>
__device__ LogSumExp<T> component(const Family<T>& family, T log_weight, T x) {
  if (is_nan(x)) return LogSumExp<T>(x);
  if (log_weight == -infinity<T>()) return {};
  return LogSumExp<T>(log_prob(family, x) + log_weight);
}

// The same for an event of D elements, parameters of any type: element d of parameter i is
// parameter_i[d·stride_i]. Those that the family has not are not read.
template <template <typename> class Family, typename T, typename P>
__device__ LogSumExp<T> component(const T* x, Index D, const P* parameter0, Index stride0,
                                  const P* parameter1, Index stride1, const P* parameter2,
                                  Index stride2, T log_weight) {
  const P* parameter[3] = {parameter0, parameter1, parameter2};
  const Index stride[3] = {stride0, stride1, stride2};
  T sum = log_weight;
  bool missing_value = false, missing = is_nan(log_weight);
  for (Index d = 0; d < D; ++d) {
    Family<T> family;
    T* member = reinterpret_cast<T*>(&family);
    for (int i = 0; i < int(sizeof(family) / sizeof(T)); ++i) {
      member[i] = static_cast<T>(parameter[i][d * stride[i]]);
    }
    const T term = log_prob(family, x[d]);
    missing |= is_nan(term);
    missing_value |= is_nan(x[d]);
    sum += term;
  }
  if (log_weight == -infinity<T>() && !missing_value) return {};
  return LogSumExp<T>(is_nan(sum) && !missing ? -infinity<T>() : sum);
}

}  // namespace lucid

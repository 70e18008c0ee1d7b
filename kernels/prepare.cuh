#pragma once
// Parameters to what the mixture kernels read, in double, rounded once.
#include "elementwise.cuh"

namespace lucid {

// A parameter [B, K, D], strides in elements, 0 where it is broadcast.
template <typename P>
struct View {
  const P* data;
  Index stride_b, stride_k, stride_d;

  __device__ P at(Index b, Index k, Index d) const {
    return data[b * stride_b + k * stride_k + d * stride_d];
  }
};

// The law with the parameters of component k of mixture b, element d.
template <class Family, typename T, typename P>
__device__ Family gather(const View<P>* parameters, Index b, Index k, Index d) {
  Family family;
  T* member = reinterpret_cast<T*>(&family);
  for (int i = 0; i < int(sizeof(Family) / sizeof(T)); ++i) {
    member[i] = static_cast<T>(parameters[i].at(b, k, d));
  }
  return family;
}

// Factors [B, K, D] and constants [B, K] in bits: log2 w plus the normalisations over d.
// A component of weight 0 gets factors 0, whose pair is finite at every finite x, and −∞.
// One with a NaN anywhere gets the constant NaN: the careful loop asks nothing else.
template <template <typename> class Family, typename P, typename T>
__device__ void prepare(const View<P>* parameters, const double* log_weights,
                        Index weight_stride_b, Index weight_stride_k, Index B, Index K, Index D,
                        T* factors, T* constants) {
  using Wide = typename Family<double>::Factors;
  constexpr int words = sizeof(Wide) / sizeof(double);
  const Index component = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (component >= B * K) return;
  const Index b = component / K, k = component % K;
  const double log_weight =
      log_weights ? log_weights[b * weight_stride_b + k * weight_stride_k] : 0.0;
  const bool dead = log_weight == -infinity<double>();
  double constant = kLog2E * log_weight;
  for (Index d = 0; d < D; ++d) {
    const auto family = gather<Family<double>, double>(parameters, b, k, d);
    const Wide wide = family.prepare(kLog2E);
    const double* from = reinterpret_cast<const double*>(&wide);
    T* to = factors + (component * D + d) * words;
    for (int i = 0; i < words; ++i) to[i] = dead ? T(0) : narrow<T>(from[i]);
    constant += family.constant(kLog2E);
    if (has_nan<double>(family)) constant = not_a_number<double>();
  }
  constants[component] = dead ? -infinity<T>() : narrow<T>(constant);
}

// loc and scale_tril of full covariances to whitener = √(½ log2 e)·L⁻¹ and the constants,
// all in double: one block a component, one thread a column of the triangle.
template <typename P>
__device__ void prepare_multivariate_normal(const P* loc, const P* scale_tril,
                                            const double* log_weights, Index weight_stride_b,
                                            Index weight_stride_k, Index B, Index K, Index D,
                                            double* whitener, double* constants) {
  const double scale = sqrt(kLog2E / 2);
  for (Index component = blockIdx.x; component < B * K; component += gridDim.x) {
    const Index b = component / K, k = component % K;
    const double log_weight =
        log_weights ? log_weights[b * weight_stride_b + k * weight_stride_k] : 0.0;
    const bool dead = log_weight == -infinity<double>();
    const P* L = scale_tril + component * D * D;
    double* W = whitener + component * D * D;
    for (Index j = threadIdx.x; j < D; j += blockDim.x) {
      for (Index i = 0; i < D; ++i) {
        double sum = i == j ? scale : 0.0;
        for (Index m = j; m < i; ++m) sum = fma(-double(L[i * D + m]), W[m * D + j], sum);
        W[i * D + j] = dead || i < j ? 0.0 : sum / double(L[i * D + i]);
      }
    }
    if (threadIdx.x > 0) continue;
    double log_determinant = 0;
    bool missing = false;
    for (Index i = 0; i < D; ++i) {
      log_determinant += log(double(L[i * D + i]));
      missing |= is_nan(double(loc[component * D + i]));
      for (Index j = 0; j < i; ++j) missing |= is_nan(double(L[i * D + j]));
    }
    const double density = log_weight - log_determinant - double(D) * kHalfLog2Pi;
    const double constant = missing ? not_a_number<double>() : kLog2E * density;
    constants[component] = dead ? -infinity<double>() : constant;
  }
}

}  // namespace lucid

// clang-format off
#define LUCID_VIEW(P, I) const P *p##I, long long p##I##_b, long long p##I##_k, long long p##I##_d
#define LUCID_VIEWS(P)                                                                     \
  const lucid::View<P> parameters[3] = {                                                   \
      {p0, p0_b, p0_k, p0_d}, {p1, p1_b, p1_k, p1_d}, {p2, p2_b, p2_k, p2_d}}
// clang-format on

#define LUCID_PREPARE(NAME, FAMILY, P, T)                                               \
  extern "C" __global__ void NAME(LUCID_VIEW(P, 0), LUCID_VIEW(P, 1), LUCID_VIEW(P, 2), \
                                  const double* log_weights, long long weight_stride_b, \
                                  long long weight_stride_k, long long B, long long K,  \
                                  long long D, T* factors, T* constants) {              \
    LUCID_VIEWS(P);                                                                     \
    lucid::prepare<lucid::FAMILY, P, T>(parameters, log_weights, weight_stride_b,       \
                                        weight_stride_k, B, K, D, factors, constants);  \
  }

#define LUCID_PREPARE_MULTIVARIATE_NORMAL(NAME, P)                                        \
  extern "C" __global__ void NAME(const P* loc, const P* scale_tril,                      \
                                  const double* log_weights, long long weight_stride_b,   \
                                  long long weight_stride_k, long long B, long long K,    \
                                  long long D, double* whitener, double* constants) {     \
    lucid::prepare_multivariate_normal<P>(loc, scale_tril, log_weights, weight_stride_b,  \
                                          weight_stride_k, B, K, D, whitener, constants); \
  }

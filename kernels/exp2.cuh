#pragma once
// Powers of two: by the exponential unit, by polynomials on the multiply-add pipes, and out
// of a table. A mixture's terms need no denormal result: what is 2^-126 of a row is nothing.
#include "common.cuh"

namespace lucid {

// 2^x to 2^-22 relative, denormal results flushed: one instruction.
__device__ inline float exp2_fast(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}
// 2^x to 2 ulp: 2^f on |f| ≤ ½ by a Chebyshev fit (3e-18), the integer part into the
// exponent. Half the work of the library's, whose denormal results a sum has no use for.
__device__ inline double exp2_fast(double x) {
  const double shifted = x + 0x1.8p52;  // the integer part in the low bits
  const double f = x - (shifted - 0x1.8p52);
  double y = 4.4558179083360645e-10;
  y = fma(y, f, 7.074194297288521e-09);
  y = fma(y, f, 1.0178057087733941e-07);
  y = fma(y, f, 1.3215432535912375e-06);
  y = fma(y, f, 1.5252733841556773e-05);
  y = fma(y, f, 0.00015403530463724353);
  y = fma(y, f, 0.001333355814640647);
  y = fma(y, f, 0.009618129107587256);
  y = fma(y, f, 0.055504108664821625);
  y = fma(y, f, 0.24022650695910158);
  y = fma(y, f, 0.6931471805599453);
  y = fma(y, f, 1.0);
  const Word exponent = static_cast<Word>(__double_as_longlong(shifted)) << 52;
  const Word scaled = static_cast<Word>(__double_as_longlong(y)) + exponent;
  const double power = __longlong_as_double(static_cast<Index>(scaled));
  const double beyond = x < 0 ? 0 : x + infinity<double>();  // NaN stays
  return fabs(x) < 1022 ? power : beyond;
}

// Where polynomials stand for the exponential unit: no smaller result than this exponent's.
constexpr float kLeastExponent = -125.44f;

// 2^g on |g| ≤ ½ by a minimax fit of degree 5 (7.5e-8), times 2^n: `shifted` is 1.5·2^23 + n,
// whose low bits are n (Cody and Waite 1980; Zadouri et al. 2026, FlashAttention-4).
__device__ inline float exp2_polynomial(float g, float shifted) {
  float y = 1.32764887e-3f;
  y = fma(y, g, 9.67554189e-3f);
  y = fma(y, g, 5.55071309e-2f);
  y = fma(y, g, 0.240221187f);
  y = fma(y, g, 0.693146944f);
  y = fma(y, g, 1.00000012f);
  const unsigned n = static_cast<unsigned>(__float_as_int(shifted)) << 23;
  return __int_as_float(static_cast<int>(static_cast<unsigned>(__float_as_int(y)) + n));
}

// 2^x, x ≤ 127, with 2^kLeastExponent for what is less and for NaN.
__device__ inline float exp2_in_multiply_adds(float x) {
  x = fmax(x, kLeastExponent);
  const float shifted = x + 0x1.8p23f;
  return exp2_polynomial(x - (shifted - 0x1.8p23f), shifted);
}

// The same of −z²: the square is never rounded.
__device__ inline float exp2_minus_square(float z) {
  z = fmin(fabs(z), 11.2f);
  const float shifted = fma(-z, z, 0x1.8p23f);
  return exp2_polynomial(fma(-z, z, 0x1.8p23f - shifted), shifted);
}

// 2^(j/32) for j = 0 … 31, in shared memory.
struct PowerTable {
  static constexpr int size = 32;
  double power[size];

  __device__ void load() {
    const int j = threadIdx.x;
    if (j < size) power[j] = exp2(j * (1.0 / size));
  }

  // sum + 2^x, x ≤ 1000: 2^(n/32) out of the table and |f| ≤ 1/64 by a minimax fit of
  // degree 5 (7e-17); 2^-1020 or so for what is less. NaN may count as that.
  __device__ double add(double x, double sum) const {
    // As unsigned integers, negative numbers are ordered by their size: no comparison in
    // double, which would take its pipe.
    const Word bits = static_cast<Word>(__double_as_longlong(x));
    const unsigned low = static_cast<unsigned>(bits), high = static_cast<unsigned>(bits >> 32);
    const unsigned kept = high < 0xc08fe000u ? high : 0xc08fe000u;
    x = __longlong_as_double(static_cast<Index>(Word(kept) << 32 | low));
    const double shifted = x + 0x1.8p47;  // in units of 1/32
    const double f = x - (shifted - 0x1.8p47);
    double y = 0.0013333502308757134;
    y = fma(y, f, 0.00961818551689704);
    y = fma(y, f, 0.05550410866772482);
    y = fma(y, f, 0.24022650695393638);
    y = fma(y, f, 0.693147180559945107);
    y = fma(y, f, 1.0);
    const int n = static_cast<int>(__double_as_longlong(shifted));
    const Word scale = static_cast<Word>(static_cast<unsigned>(n >> 5)) << 52;
    const Word from = static_cast<Word>(__double_as_longlong(power[n & (size - 1)]));
    return fma(__longlong_as_double(static_cast<Index>(from + scale)), y, sum);
  }
};

}  // namespace lucid

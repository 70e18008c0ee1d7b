// What the chip can do: one arithmetic unit a kernel, eight independent chains a
// thread, so that throughput binds and not latency. All chains stay finite.
#pragma once

namespace lucid {
namespace bench {

template <typename T, class Step>
__device__ void run_chains(T* sink, int rounds, Step step) {
  T chain[8];
  for (int c = 0; c < 8; ++c) chain[c] = T(threadIdx.x + c) / T(4096);
// Or counting the rounds would take a tenth of the instructions issued.
#pragma unroll 16
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int c = 0; c < 8; ++c) chain[c] = step(chain[c]);
  }
  T total = 0;
  for (int c = 0; c < 8; ++c) total += chain[c];
  if (total == T(-1)) *sink = total;  // never true, but the compiler cannot know
}

}  // namespace bench
}  // namespace lucid

extern "C" __global__ void lucid_bench_exp2(float* sink, int rounds) {
  lucid::bench::run_chains(sink, rounds, [](float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(-x));
    return y;
  });
}

extern "C" __global__ void lucid_bench_fma32(float* sink, int rounds) {
  lucid::bench::run_chains(sink, rounds, [](float x) { return fmaf(x, x, -0.5f); });
}

extern "C" __global__ void lucid_bench_fma64(double* sink, int rounds) {
  lucid::bench::run_chains(sink, rounds, [](double x) { return fma(x, x, -0.5); });
}

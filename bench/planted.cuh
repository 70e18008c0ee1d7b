// One bug for each tool of compute-sanitizer. A run in which a tool does not catch its
// bug proves nothing about the other kernels.
#pragma once

// memcheck: the last thread writes one element past the end.
extern "C" __global__ void planted_memcheck(int* out, const int* in) {
  out[threadIdx.x + 1] = in[threadIdx.x];
}

// racecheck: a neighbour's element is read with no barrier after its write.
extern "C" __global__ void planted_racecheck(int* out, const int* in) {
  __shared__ int staged[256];
  staged[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = staged[(threadIdx.x + 32) % 256];
}

// initcheck: `in` was never written.
extern "C" __global__ void planted_initcheck(int* out, const int* in) {
  out[threadIdx.x] = in[threadIdx.x];
}

// synccheck: half of each warp reaches the barrier while the other half goes on. Were
// there nothing left for it to do it would exit, and a barrier waits for no such thread.
extern "C" __global__ void planted_synccheck(int* out, const int* in) {
  __shared__ int staged[256];
  staged[threadIdx.x] = in[threadIdx.x];
  if (threadIdx.x % 32 < 16) __syncthreads();
  out[threadIdx.x] = staged[threadIdx.x ^ 1];
}

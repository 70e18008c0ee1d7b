// CUDA's language on the host, for the kernels' own text: one thread of a block is one
// fiber, __syncthreads switches to the next. Rounding as poor as the device's.
#pragma once
#include <ucontext.h>
#include <xmmintrin.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#define __device__
#define __host__
#define __global__
#define __noinline__
#define __shared__ static
#define __launch_bounds__(...)

using std::cos, std::exp, std::exp2, std::fabs, std::floor, std::fma, std::fmax, std::fmin;
using std::frexp, std::ldexp, std::lgamma, std::log, std::log1p, std::pow, std::rint, std::sqrt;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline Dim3 threadIdx, blockIdx, blockDim, gridDim;

template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline float __int_as_float(int bits) {
  return bit_cast<float>(bits);
}
inline int __float_as_int(float x) {
  return bit_cast<int>(x);
}
inline double __longlong_as_double(long long bits) {
  return bit_cast<double>(bits);
}
inline long long __double_as_longlong(double x) {
  return bit_cast<long long>(x);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

// Fibers switch at barriers alone: nothing comes between.
inline int atomicAdd(int* where, int value) {
  const int before = *where;
  *where += value;
  return before;
}

// ex2.approx.ftz.f32 errs by up to 2^-22 relative: so does this, in a pattern of its input.
inline float device_exp2f(float x) {
  const float exact = exp2f(x);
  if (!(exact > 0) || exact > 3.4e38f) return exact;
  const auto bits = bit_cast<std::uint32_t>(x) * 2654435761u;
  return exact * (1.0f + (bits & 1 ? 0x1p-22f : -0x1p-22f) * ((bits >> 8) / 0x1p24f));
}
#define exp2f device_exp2f

// The fibers of one block, run in turn. A fiber that leaves early no longer meets barriers.
class Block {
 public:
  static inline Block* current = nullptr;
  static inline bool first_forward = false;  // flipped from launch to launch

  Block(const std::function<void()>& body, unsigned threads) : body_(body), fibers_(threads) {
    current = this;
    for (unsigned t = 0; t < threads; ++t) {
      Fiber& fiber = fibers_[t];
      if (stacks().size() <= t) stacks().emplace_back(new char[kStack]);
      fiber.stack = stacks()[t].get();
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack;
      fiber.context.uc_stack.ss_size = kStack;
      fiber.context.uc_link = &main_;
      makecontext(&fiber.context, &Block::enter, 0);
    }
  }

  void run() {
    // From barrier to barrier there and back again: a result that hangs on the order of
    // the threads between two barriers comes out wrong one way or the other.
    const unsigned last = fibers_.size() - 1;
    bool forward = first_forward;
    for (bool running = true; running; forward = !forward) {
      running = false;
      for (unsigned i = 0; i <= last; ++i) {
        const unsigned t = forward ? i : last - i;
        if (fibers_[t].done) continue;
        now_ = t;
        threadIdx = {t, 0, 0};
        start_switch(&saved_, fibers_[t].stack, kStack);
        swapcontext(&main_, &fibers_[t].context);
        finish_switch(saved_);
        running |= !fibers_[t].done;
      }
    }
  }

  void wait() {
    Fiber& fiber = fibers_[now_];
    void* fake = nullptr;
    start_switch(&fake, main_stack_, main_size_);
    swapcontext(&fiber.context, &main_);
    finish_switch(fake);
  }

 private:
  static constexpr std::size_t kStack = 256 * 1024;
  struct Fiber {
    ucontext_t context;
    char* stack = nullptr;
    bool done = false;
  };

  // Kept from block to block.
  static std::vector<std::unique_ptr<char[]>>& stacks() {
    static std::vector<std::unique_ptr<char[]>> all;
    return all;
  }

  static void enter() {
    Block& block = *current;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &block.main_stack_, &block.main_size_);
#endif
    block.body_();
    block.fibers_[block.now_].done = true;
    start_switch(nullptr, block.main_stack_, block.main_size_);
  }
  static void start_switch(void** fake, const void* stack, std::size_t size) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(fake, stack, size);
#else
    (void)fake, (void)stack, (void)size;
#endif
  }
  static void finish_switch(void* fake) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    (void)fake;
#endif
  }

  const std::function<void()>& body_;
  std::vector<Fiber> fibers_;
  ucontext_t main_;
  unsigned now_ = 0;
  void* saved_ = nullptr;
  const void* main_stack_ = nullptr;
  std::size_t main_size_ = 0;
};

inline void __syncthreads() {
  Block::current->wait();
}

// All threads of a block meet here, not those of a warp alone: none may be missing.
template <class T>
T __shfl_xor_sync(unsigned, T value, int lanes) {
  static T values[1024];
  values[threadIdx.x] = value;
  __syncthreads();
  const T other = values[threadIdx.x ^ lanes];
  __syncthreads();
  return other;
}

// The grid, one block after another; `flush`: denormals are zero, as float32's are on the
// device (CuPy compiles with -ftz=true) and double's are not.
inline void launch(const std::function<void()>& body, Dim3 grid, unsigned threads, bool flush) {
  if (flush) _mm_setcsr(_mm_getcsr() | 0x8040);
  Block::first_forward = !Block::first_forward;
  gridDim = grid;
  blockDim = {threads, 1, 1};
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        Block(body, threads).run();
      }
    }
  }
  _mm_setcsr(_mm_getcsr() & ~0x8040u);
}

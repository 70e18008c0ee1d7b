#pragma once
// The line cut into cells, each with a window: the components that matter somewhere in it.
// And rows put together cell by cell, for blocks whose rows are all of one.
//
// `count` borders, in order, leave count − 1 cells between them, [border, next border). They
// are made of the components alone, and so is what a row is summed over. What lies outside,
// NaN and infinities too, is cell 0, whose window is empty.
#include "logsumexp.cuh"

namespace lucid {

// borders ≤ x, or 0 where these are all.
template <typename T>
__device__ int cell_of(T x, const T* borders, int count) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (borders[middle] <= x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count ? low : 0;
}

// Between which values, in bits, a component's term lies in [low, high]: it is concave, so
// least at an end. Wider by 2^-20 than what is computed: what factors and terms have rounded.
struct TermRange {
  double least, most;

  template <class Factors, typename T>
  __device__ TermRange(const Factors& factors, T constant, double low, double high) {
    const double c = constant, a = factors.inverse_scale;
    const double left = (low - factors.loc) * a, right = (high - factors.loc) * a;
    const double nearest = left > 0 ? left : right < 0 ? right : 0;
    const double farthest = fmax(fabs(left), fabs(right));
    const double error = 0x1p-20;
    least = c - fabs(c) * error - farthest * farthest * (1 + error);
    most = c + fabs(c) * error - nearest * nearest * (1 - error);
  }
};

constexpr int kWindowThreads = 128;

// A component is in a cell's window unless it is 2^-28 (2^-57) / K of the row's sum at the
// most, wherever in the cell x is: all that are not are 1/16 u of it together. A block a cell.
//
// Without offsets: found[cell] = {components in its window, the mixture's own mass in it}, by
// Gauss and Hermite's three points of each component. With them: the numbers of window
// `cell`, in rising order, from window[offsets[cell]] on.
template <class Family, typename T>
__device__ void cell_windows(const typename Family::Factors* factors, const T* constants,
                             Index K, const T* borders, double (*found)[2], const int* offsets,
                             int* window) {
  __shared__ double maxima[kWindowThreads], sums[kWindowThreads], masses[kWindowThreads];
  __shared__ int counts[kWindowThreads];
  const int t = threadIdx.x;
  const Index cell = blockIdx.x;
  const double low = borders[cell], high = borders[cell + 1];
  const Index first = K * t / kWindowThreads, last = K * (t + 1) / kWindowThreads;

  // log2 Σ 2^least: no row of the cell has less.
  LogSumExp<double> least;
  double mass = 0;
  for (Index k = first; k < last; ++k) {
    const TermRange range(factors[k], constants[k], low, high);
    if (range.least > -infinity<double>()) {
      least = merge(least, LogSumExp<double>(range.least * kLn2));
    }
    const double a = factors[k].inverse_scale, step = 1.4710964 / a;  // √3 deviations
    const double weight = exp2(double(constants[k])) / a;
    for (int i = -1; i <= 1; ++i) {
      const double node = factors[k].loc + i * step;
      if (low <= node && node < high) mass += weight * (i ? 1 : 4);
    }
  }
  maxima[t] = least.maximum;
  sums[t] = least.sum;
  masses[t] = mass;
  for (int half = kWindowThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t >= half) continue;
    least = merge(LogSumExp<double>(maxima[t], sums[t]),
                  LogSumExp<double>(maxima[t + half], sums[t + half]));
    maxima[t] = least.maximum;
    sums[t] = least.sum;
    masses[t] += masses[t + half];
  }
  __syncthreads();

  const double bits = sizeof(T) == 4 ? 28 : 57;
  const double sum = LogSumExp<double>(maxima[0], sums[0]).log() * kLog2E;
  const double threshold = sum - bits - log(double(K)) * kLog2E - fabs(sum) * 0x1p-20;
  const auto matters = [&](Index k) {
    return !(TermRange(factors[k], constants[k], low, high).most < threshold);
  };
  int count = 0;
  for (Index k = first; k < last; ++k) count += matters(k);
  counts[t] = count;
  __syncthreads();
  int before = 0, all = 0;
  for (int i = 0; i < kWindowThreads; ++i) {
    before += i < t ? counts[i] : 0;
    all += counts[i];
  }
  if (!offsets) {
    if (t == 0) found[cell][0] = all, found[cell][1] = masses[0];
    return;
  }
  int* place = window + offsets[cell] + before;
  for (Index k = first; k < last; ++k) {
    if (matters(k)) *place++ = static_cast<int>(k);
  }
}

constexpr int kSortThreads = 256;  // and the most borders
constexpr int kSortRows = 16;      // of a thread

// The borders in shared memory, and rows of this block counted by their cell.
template <typename T>
struct CellCounts {
  T borders[kSortThreads];
  int rows[kSortThreads];

  __device__ void start(const T* given, int count) {
    const int t = threadIdx.x;
    if (t < count) borders[t] = given[t];
    rows[t] = 0;
    __syncthreads();
  }
};

// This thread's row in a block of them: every 256th.
__device__ inline int sort_row(int r) {
  return (int(blockIdx.x) * kSortRows + r) * kSortThreads + int(threadIdx.x);
}

// counts[cell] += its rows
template <typename T>
__device__ void cell_count(const T* values, int S, const T* borders, int count, int* counts) {
  __shared__ CellCounts<T> block;
  block.start(borders, count);
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    if (s < S) atomicAdd(&block.rows[cell_of(values[s], block.borders, count)], 1);
  }
  __syncthreads();
  const int here = block.rows[threadIdx.x];
  if (here) atomicAdd(&counts[threadIdx.x], here);
}

// The numbers of the rows, cell by cell, each from a multiple of `block_rows` on:
// rows[starts[cell] + i], i < counts[cell], in an order that changes no result. starts[count]
// is behind the last. `taken` has begun as zeros.
template <typename T>
__device__ void cell_sort(const T* values, int S, const T* borders, int count,
                          const int* counts, int block_rows, int* taken, int* starts,
                          int* rows) {
  __shared__ CellCounts<T> block;
  __shared__ int ends[kSortThreads], places[kSortThreads];
  const int t = threadIdx.x;
  block.start(borders, count);
  int found[kSortRows];  // the cell, and the row's rank in it among those of this block
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    if (s >= S) continue;
    const int cell = cell_of(values[s], block.borders, count);
    found[r] = cell * (kSortRows * kSortThreads) + atomicAdd(&block.rows[cell], 1);
  }
  const int padded =
      t < count ? static_cast<int>(ceil_divide(counts[t], block_rows)) * block_rows : 0;
  ends[t] = padded;
  for (int step = 1; step < kSortThreads; step *= 2) {
    __syncthreads();
    const int before = t >= step ? ends[t - step] : 0;
    __syncthreads();
    ends[t] += before;
  }
  __syncthreads();
  const int start = ends[t] - padded, here = block.rows[t];
  places[t] = start + (here ? atomicAdd(&taken[t], here) : 0);
  if (blockIdx.x == 0 && t < count) starts[t] = start;
  if (blockIdx.x == 0 && t == 0) starts[count] = ends[kSortThreads - 1];
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    const int cell = found[r] / (kSortRows * kSortThreads);
    if (s < S) rows[places[cell] + found[r] % (kSortRows * kSortThreads)] = s;
  }
}

}  // namespace lucid

#define LUCID_CELL_WINDOWS(NAME, FAMILY, T)                                                    \
  extern "C" __global__ void __launch_bounds__(lucid::kWindowThreads)                          \
      NAME(const T* factors, const T* constants, long long K, const T* borders, double* found, \
           const int* offsets, int* window) {                                                  \
    using Family = lucid::FAMILY<T>;                                                           \
    lucid::cell_windows<Family, T>(reinterpret_cast<const Family::Factors*>(factors),          \
                                   constants, K, borders,                                      \
                                   reinterpret_cast<double (*)[2]>(found), offsets, window);   \
  }

#define LUCID_CELL_COUNT(NAME, T)                                                          \
  extern "C" __global__ void __launch_bounds__(lucid::kSortThreads)                        \
      NAME(const T* values, long long S, const T* borders, long long count, int* counts) { \
    lucid::cell_count<T>(values, int(S), borders, int(count), counts);                     \
  }

#define LUCID_CELL_SORT(NAME, T)                                                               \
  extern "C" __global__ void __launch_bounds__(lucid::kSortThreads, 4)                         \
      NAME(const T* values, long long S, const T* borders, long long count, const int* counts, \
           long long block_rows, int* taken, int* starts, int* rows) {                         \
    lucid::cell_sort<T>(values, int(S), borders, int(count), counts, int(block_rows), taken,   \
                        starts, rows);                                                         \
  }

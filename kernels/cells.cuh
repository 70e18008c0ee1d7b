#pragma once
// Space cut into cells, each with a window: the components that matter somewhere in it. And
// rows put together cell by cell, for blocks whose rows are all of one.
//
// In each of D dimensions `sides` borders, in order, leave sides − 1 intervals between them,
// [border, next border); a cell is a box of them, 1 + their numbers in C order. Borders are
// made of the components alone, and so is what a row is summed over. What lies outside, NaN
// and infinities too, is cell 0, whose window is empty.
#include "logsumexp.cuh"

namespace lucid {

// Cell 0 and the boxes.
template <int D>
__device__ int cells_of(int sides) {
  int boxes = 1;
  for (int d = 0; d < D; ++d) boxes *= sides - 1;
  return boxes + 1;
}

template <int D, typename T>
__device__ int cell_of(const T* x, const T* borders, int sides) {
  int box = 0;
#pragma unroll
  for (int d = 0; d < D; ++d) {
    int low = 0, high = sides;  // borders ≤ x[d]
    while (low < high) {
      const int middle = (low + high) / 2;
      if (borders[d * sides + middle] <= x[d]) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == 0 || low == sides) return 0;
    box = box * (sides - 1) + low - 1;
  }
  return box + 1;
}

// The corners of a box.
template <int D>
struct Box {
  double low[D], high[D];

  template <typename T>
  __device__ Box(int box, const T* borders, int sides) {
    for (int d = D - 1; d >= 0; --d, box /= sides - 1) {
      const T* border = borders + d * sides + box % (sides - 1);
      low[d] = border[0];
      high[d] = border[1];
    }
  }

  // The part of a component's mass that lies inside, times 6^D: Gauss and Hermite's three
  // points in each dimension.
  template <class Factors>
  __device__ double mass(const Factors* factors) const {
    double mass = 1;
    for (int d = 0; d < D; ++d) {
      const double step = 1.4710964 / factors[d].inverse_scale;  // √3 deviations
      double inside = 0;
      for (int i = -1; i <= 1; ++i) {
        const double node = factors[d].loc + i * step;
        if (low[d] <= node && node < high[d]) inside += i ? 1 : 4;
      }
      mass *= inside;
    }
    return mass;
  }
};

// Between which values, in bits, a component's term lies in a box: least at a corner, as it is
// concave. Wider by 2^-20 than what is computed: what factors and terms have rounded.
struct TermRange {
  double least, most;

  template <int D, class Factors, typename T>
  __device__ TermRange(const Factors* factors, T constant, const Box<D>& box) {
    const double c = constant, error = 0x1p-20;
    least = c - fabs(c) * error;
    most = c + fabs(c) * error;
    for (int d = 0; d < D; ++d) {
      const double loc = factors[d].loc, a = factors[d].inverse_scale;
      const double left = (box.low[d] - loc) * a, right = (box.high[d] - loc) * a;
      const double nearest = left > 0 ? left : right < 0 ? right : 0;
      const double farthest = fmax(fabs(left), fabs(right));
      least -= farthest * farthest * (1 + error);
      most -= nearest * nearest * (1 - error);
    }
  }
};

constexpr int kWindowThreads = 128;

// A component is in a cell's window unless it is 2^-28 (2^-57) / K of the row's sum at the
// most, wherever in the cell x is: all that are not are 1/16 u of it together. A block a cell.
//
// Without offsets: found[box] = {components in its window, the mixture's own mass in it, but
// for a factor}. With them: the numbers of window `box`, in rising order, from
// window[offsets[box]] on.
template <class Family, typename T, int D>
__device__ void cell_windows(const typename Family::Factors* factors, const T* constants,
                             Index K, const T* borders, int sides, double (*found)[2],
                             const int* offsets, int* window) {
  __shared__ double maxima[kWindowThreads], sums[kWindowThreads], masses[kWindowThreads];
  __shared__ int counts[kWindowThreads];
  const int t = threadIdx.x;
  const Box<D> box(int(blockIdx.x), borders, sides);
  const Index first = K * t / kWindowThreads, last = K * (t + 1) / kWindowThreads;

  // log2 Σ 2^least: no row of the cell has less.
  LogSumExp<double> least;
  double mass = 0;
  for (Index k = first; k < last; ++k) {
    const TermRange range(factors + k * D, constants[k], box);
    if (range.least > -infinity<double>()) {
      least = merge(least, LogSumExp<double>(range.least * kLn2));
    }
    double weight = exp2(double(constants[k]));
    for (int d = 0; d < D; ++d) weight /= factors[k * D + d].inverse_scale;
    mass += weight * box.mass(factors + k * D);
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
    return !(TermRange(factors + k * D, constants[k], box).most < threshold);
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
    if (t == 0) found[blockIdx.x][0] = all, found[blockIdx.x][1] = masses[0];
    return;
  }
  int* place = window + offsets[blockIdx.x] + before;
  for (Index k = first; k < last; ++k) {
    if (matters(k)) *place++ = static_cast<int>(k);
  }
}

constexpr int kSortThreads = 256;  // and the most borders, of all dimensions
constexpr int kSortRows = 16;      // of a thread

// The most cells, in numbers that a thread of a sort deals with.
template <int D>
constexpr int kSortCells = D == 1 ? 1 : 4;

// The borders in shared memory, and rows of this block counted by their cell.
template <typename T, int D>
struct CellCounts {
  static constexpr int most = kSortCells<D> * kSortThreads;
  T borders[kSortThreads];
  int rows[most];

  __device__ void start(const T* given, int sides) {
    const int t = threadIdx.x;
    if (t < D * sides) borders[t] = given[t];
    for (int cell = t; cell < most; cell += kSortThreads) rows[cell] = 0;
    __syncthreads();
  }
};

// This thread's row in a block of them: every 256th.
__device__ inline int sort_row(int r) {
  return (int(blockIdx.x) * kSortRows + r) * kSortThreads + int(threadIdx.x);
}

// counts[cell] += its rows
template <typename T, int D>
__device__ void cell_count(const T* values, int S, const T* borders, int sides, int* counts) {
  __shared__ CellCounts<T, D> block;
  block.start(borders, sides);
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    if (s >= S) continue;
    atomicAdd(&block.rows[cell_of<D>(values + Index(s) * D, block.borders, sides)], 1);
  }
  __syncthreads();
  for (int cell = threadIdx.x; cell < block.most; cell += kSortThreads) {
    if (block.rows[cell]) atomicAdd(&counts[cell], block.rows[cell]);
  }
}

// The numbers of the rows, cell by cell, each from a multiple of `block_rows` on:
// rows[starts[cell] + i], i < counts[cell], in an order that changes no result. The last of
// `starts` is behind all. `taken` has begun as zeros.
template <typename T, int D>
__device__ void cell_sort(const T* values, int S, const T* borders, int sides,
                          const int* counts, int block_rows, int* taken, int* starts,
                          int* rows) {
  constexpr int each = kSortCells<D>;
  __shared__ CellCounts<T, D> block;
  __shared__ int ends[kSortThreads], places[each * kSortThreads];
  const int t = threadIdx.x, cells = cells_of<D>(sides);
  block.start(borders, sides);
  int found[kSortRows];  // the cell, and the row's rank in it among those of this block
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    if (s >= S) continue;
    const int cell = cell_of<D>(values + Index(s) * D, block.borders, sides);
    found[r] = cell * (kSortRows * kSortThreads) + atomicAdd(&block.rows[cell], 1);
  }
  int padded[each], all = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int cell = t * each + i;
    padded[i] =
        cell < cells ? static_cast<int>(ceil_divide(counts[cell], block_rows)) * block_rows : 0;
    all += padded[i];
  }
  ends[t] = all;
  for (int step = 1; step < kSortThreads; step *= 2) {
    __syncthreads();
    const int before = t >= step ? ends[t - step] : 0;
    __syncthreads();
    ends[t] += before;
  }
  __syncthreads();
  int start = ends[t] - all;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int cell = t * each + i, here = block.rows[cell];
    places[cell] = start + (here ? atomicAdd(&taken[cell], here) : 0);
    if (blockIdx.x == 0 && cell < cells) starts[cell] = start;
    start += padded[i];
  }
  if (blockIdx.x == 0 && t == 0) starts[cells] = ends[kSortThreads - 1];
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kSortRows; ++r) {
    const int s = sort_row(r);
    const int cell = found[r] / (kSortRows * kSortThreads);
    if (s < S) rows[places[cell] + found[r] % (kSortRows * kSortThreads)] = s;
  }
}

}  // namespace lucid

#define LUCID_CELL_WINDOWS(NAME, FAMILY, T, D)                                                \
  extern "C" __global__ void __launch_bounds__(lucid::kWindowThreads)                         \
      NAME(const T* factors, const T* constants, long long K, const T* borders,               \
           long long sides, double* found, const int* offsets, int* window) {                 \
    using Family = lucid::FAMILY<T>;                                                          \
    lucid::cell_windows<Family, T, D>(                                                        \
        reinterpret_cast<const Family::Factors*>(factors), constants, K, borders, int(sides), \
        reinterpret_cast<double (*)[2]>(found), offsets, window);                             \
  }

#define LUCID_CELL_COUNT(NAME, T, D)                                                       \
  extern "C" __global__ void __launch_bounds__(lucid::kSortThreads)                        \
      NAME(const T* values, long long S, const T* borders, long long sides, int* counts) { \
    lucid::cell_count<T, D>(values, int(S), borders, int(sides), counts);                  \
  }

#define LUCID_CELL_SORT(NAME, T, D)                                                            \
  extern "C" __global__ void __launch_bounds__(lucid::kSortThreads, 4)                         \
      NAME(const T* values, long long S, const T* borders, long long sides, const int* counts, \
           long long block_rows, int* taken, int* starts, int* rows) {                         \
    lucid::cell_sort<T, D>(values, int(S), borders, int(sides), counts, int(block_rows),       \
                           taken, starts, rows);                                               \
  }

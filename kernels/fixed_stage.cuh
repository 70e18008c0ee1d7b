#pragma once
// Components as mixture_fixed.cuh stages them, and their powers summed a tile at a time.
#include "mixture.cuh"

namespace lucid {

constexpr int kFixedTile = 18;  // components that are summed by themselves
// The exponentials of a part are shared out: POLYNOMIALS of 9 go to the multiply-add pipes,
// the others to the exponential unit. By component, not by row: where a row stands in a batch
// does not change its bits.
constexpr int kFixedPart = 9;

__host__ __device__ constexpr bool by_polynomial(int i, int polynomials) {
  return i % kFixedPart * polynomials % kFixedPart + polynomials >= kFixedPart;
}

// 2^term added to a sum, and what that needs in shared memory.
template <typename T>
struct Powers;
template <>
struct Powers<float> {
  __device__ void load() {}
  __device__ float add(float term, float sum, bool polynomial) const {
    return sum + (polynomial ? exp2_in_multiply_adds(term) : exp2_fast(term));
  }
};
template <>
struct Powers<double> : PowerTable {
  __device__ double add(double term, double sum, bool) const {
    return PowerTable::add(term, sum);
  }
};

template <class Family, typename T, int D, class = void>
struct FixedStage {
  static constexpr int size = kStage / D / kFixedTile * kFixedTile;
  // Components of a tile in flight at once: what registers hold.
  static constexpr int flight = Family::cheap_pair && D == 1 ? kFixedTile : 1;
  using Row = typename Family::Row;

  typename Family::Factors factors[size * D];
  T constants[size];
  Powers<T> powers;

  // Components `first` … of a window, between barriers.
  template <class Window>
  __device__ void load(const Mixture<Family, T>& mixture, const Window& window, T shift,
                       Index first, int count) {
    for (int i = threadIdx.x; i < count * D; i += kMixtureThreads) {
      factors[i] = mixture.factors[window[first + i / D] * D + i % D];
    }
    for (int i = threadIdx.x; i < count; i += kMixtureThreads) {
      constants[i] = mixture.constants[window[first + i]] - shift;
    }
  }

  // sums[r] += 2^term of component k
  template <int ROWS>
  __device__ void add(const Row (*rows)[D], int k, bool polynomial, T* sums) const {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      T term = constants[k];
#pragma unroll
      for (int d = 0; d < D; ++d) term = Family::pair(rows[r][d], factors[k * D + d], term);
      sums[r] = powers.add(term, sums[r], polynomial);
    }
  }

  // The same of the first `count` components, whole tiles, each summed by itself.
  template <int ROWS, int POLYNOMIALS>
  __device__ void add_tiles(const Row (*rows)[D], int count, T* sums) const {
#pragma unroll 1
    for (int tile = 0; tile < count; tile += kFixedTile) {
      T parts[ROWS] = {};
#pragma unroll 1
      for (int k = 0; k < kFixedTile; k += flight) {
#pragma unroll
        for (int i = 0; i < flight; ++i) {
          add<ROWS>(rows, tile + k + i, by_polynomial(i, POLYNOMIALS), parts);
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS; ++r) sums[r] += parts[r];
    }
  }
};

// Of a family whose pair is constant − z², z = (x − loc)·inverse_scale. Where a tile's
// components lie near each other, x − centre is taken once for all of them and
// z = (x − centre)·inverse_scale + (centre − loc)·inverse_scale is one operation. The
// second part rounds at 1.5 u of kNear: as x − loc itself does from z = kNear on.
template <class Family, typename T>
struct FixedStage<Family, T, 1, decltype(void(Family::quadratic))> {
  static constexpr int size = kStage / kFixedTile * kFixedTile;
  static constexpr T near = 2;
  using Row = typename Family::Row;

  struct alignas(4 * sizeof(T)) Component {
    T inverse_scale;
    T loc;       // or (centre − loc)·inverse_scale
    T constant;  // less the shift
    T weight;    // 2^constant
  };
  Component components[size];
  T centres[size / kFixedTile + 1];  // NaN: components lie apart, or there are no more
  Powers<T> powers;

  template <class Window>
  __device__ void load(const Mixture<Family, T>& mixture, const Window& window, T shift,
                       Index first, int count) {
    for (int i = threadIdx.x; i < count; i += kMixtureThreads) {
      const Index k = window[first + i];
      const auto factors = mixture.factors[k];
      const T constant = mixture.constants[k] - shift;
      components[i] = {factors.inverse_scale, factors.loc, constant, exp2_fast(constant)};
    }
    __syncthreads();
    const int tile = threadIdx.x, tiles = count / kFixedTile;
    if (tile < tiles) centres[tile] = centre(components + tile * kFixedTile);
    if (tile == tiles) centres[tile] = not_a_number<T>();
  }

  // The loc of the narrowest component, if all lie near it.
  static __device__ T centre(Component* tile) {
    T steepest = -1, centre = 0;
    for (int i = 0; i < kFixedTile; ++i) {
      if (tile[i].inverse_scale > steepest) {
        steepest = tile[i].inverse_scale;
        centre = tile[i].loc;
      }
    }
    bool all = true;
    for (int i = 0; i < kFixedTile; ++i) {
      all = all && fabs((centre - tile[i].loc) * tile[i].inverse_scale) <= near;
    }
    if (!all) return not_a_number<T>();
    for (int i = 0; i < kFixedTile; ++i) {
      tile[i].loc = (centre - tile[i].loc) * tile[i].inverse_scale;
    }
    return centre;
  }

  template <int ROWS>
  __device__ void add(const Row (*rows)[1], int k, bool polynomial, T* sums) const {
    const Component component = components[k];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const T z = (rows[r][0].x - component.loc) * component.inverse_scale;
      sums[r] = add(component, z, sums[r], polynomial);
    }
  }

  template <int ROWS, int POLYNOMIALS>
  __device__ void add_tiles(const Row (*rows)[1], int count, T* sums) const {
    int tile = 0;
#pragma unroll 1
    for (;; tile += kFixedTile) {
      T centre;
#pragma unroll 1
      for (; !is_nan(centre = centres[tile / kFixedTile]); tile += kFixedTile) {
        add_near<ROWS, POLYNOMIALS>(rows, centre, components + tile, sums);
      }
      if (tile >= count) return;
      T parts[ROWS] = {};
#pragma unroll 1
      for (int k = tile; k < tile + kFixedTile; k += kFixedPart) {
#pragma unroll
        for (int i = 0; i < kFixedPart; ++i) {
          add<ROWS>(rows, k + i, by_polynomial(i, POLYNOMIALS), parts);
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS; ++r) sums[r] += parts[r];
    }
  }

 private:
  // A tile whose components lie near each other.
  template <int ROWS, int POLYNOMIALS>
  __device__ void add_near(const Row (*rows)[1], T centre, const Component* tile,
                           T* sums) const {
    T x[ROWS], parts[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; ++r) x[r] = rows[r][0].x - centre;
#pragma unroll
    for (int i = 0; i < kFixedTile; ++i) {
      const Component component = tile[i];
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const T z = fma(x[r], component.inverse_scale, component.loc);
        parts[r] = add(component, z, parts[r], by_polynomial(i, POLYNOMIALS));
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) sums[r] += parts[r];
  }

  __device__ float add(const Component& component, float z, float sum, bool polynomial) const {
    if (polynomial) return fma(component.weight, exp2_minus_square(z), sum);
    return powers.add(fma(-z, z, component.constant), sum, false);
  }
  __device__ double add(const Component& component, double z, double sum, bool) const {
    return powers.add(fma(-z, z, component.constant), sum, false);
  }
};

}  // namespace lucid

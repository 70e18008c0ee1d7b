#pragma once
// Random words by counter: Philox4x64-10 (Salmon et al. 2011), the same bits as
// numpy.random.Philox. Which word serves what is one table for all devices.
#include "common.cuh"

namespace lucid {

struct Words {
  Word word[4];
  __device__ Word operator[](int i) const { return word[i]; }
};

// Ten rounds over the counter, under the key (key0, key1).
__device__ inline Words philox4x64(Words counter, Word key0, Word key1) {
  constexpr Word multiplier0 = 0xD2E7470EE14C6C93, multiplier1 = 0xCA5A826395121157;
  for (int round = 0; round < 10; ++round) {
    const Word a = counter[0], c = counter[2];
    counter = {{__umul64hi(multiplier1, c) ^ counter[1] ^ key0, multiplier1 * c,
                __umul64hi(multiplier0, a) ^ counter[3] ^ key1, multiplier0 * a}};
    key0 += 0x9E3779B97F4A7C15;  // golden ratio
    key1 += 0xBB67AE8584CAA73B;  // √3 − 1
  }
  return counter;
}

// The words of one element of one drawn event: attempt 0 holds the direct ones (word 0 of
// block 0 picks the component), attempts 1, 2, … one rejection round each.
struct Bits {
  Word seed, stream, element, block;
  Words direct;

  __device__ Bits(Word seed, Word stream, Word element, Word block)
      : seed(seed), stream(stream), element(element), block(block), direct(attempt(0)) {}

  __device__ Words attempt(Word number) const {
    return philox4x64({{element, block, number, 0}}, seed, stream);
  }
};

}  // namespace lucid

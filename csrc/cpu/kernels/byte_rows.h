// Sums of rows of bytes by weights that are 16-bit integers: one instruction multiplies pairs of 16-bit
// numbers, a byte of each of two rows, and adds the products in 32 bits.
#pragma once

#include "fixed_point.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The weights of an axis as the integers that they were rounded to.
class IntegerWeights {
 public:
  IntegerWeights() = default;
  explicit IntegerWeights(const AxisTaps<float>& axis) : bits_(axis.weight_bits) {}

  int bits() const { return bits_; }
  int32_t half() const { return bits_ > 0 ? 1 << (bits_ - 1) : 0; }
  int16_t of(float weight) const { return static_cast<int16_t>(weight * static_cast<float>(1 << bits_)); }

 private:
  int bits_ = 0;
};

// A pair of weights as one number of 32 bits; and as each pair of 16-bit numbers of a vector.
inline uint32_t join_pair(int16_t first, int16_t second) {
  return static_cast<uint16_t>(first) | uint32_t{static_cast<uint16_t>(second)} << 16;
}
inline vec_i16 splat_pair(uint32_t pair) { return (vec_i16)(vec_u32{} + pair); }

// A byte of each of two rows in turns, as 16-bit numbers.
struct ZippedBytes {
  ZippedBytes(vec_u8 a, vec_u8 b) : low(split_bytes(zip_low(a, b))), high(split_bytes(zip_high(a, b))) {}
  SplitBytes low, high;
};

// The sums of a vector of bytes, in the order of saturate_sums.
struct ByteSums {
  vec_index<float> of[kVectorsOfSums];

  void fill(vec_index<float> value) {
    for (auto& part : of) part = value;
  }
  void add(const ZippedBytes& both, vec_i16 weights) {
    of[0] += multiply_pairs(both.low.low, weights);
    of[1] += multiply_pairs(both.low.high, weights);
    of[2] += multiply_pairs(both.high.low, weights);
    of[3] += multiply_pairs(both.high.high, weights);
  }
};

// kRows result rows from the same pairs of rows, which are padded; weight[r][q]. kPairs: 0 where
// there may be any number.
template <int kPairs, int kRows>
inline void sum_byte_rows(uint8_t* const* out, int64_t count, const uint8_t* const* rows,
                          int64_t pairs_of_rows, const vec_i16* const* weight, const IntegerWeights& weights,
                          bool streams) {
  const int64_t pairs = kPairs > 0 ? kPairs : pairs_of_rows;
  const int bits = weights.bits();
  const vec_index<float> half = vec_index<float>{} + weights.half();
  vec_i16 known[kRows][kPairs > 0 ? kPairs : 1];
  for (int r = 0; r < kRows; ++r) {
    for (int q = 0; q < kPairs; ++q) known[r][q] = weight[r][q];
  }
  vec_u8 result[kRows];
  const auto sum_at = [&](int64_t x) {
    ByteSums sum[kRows];
    for (auto& of_row : sum) of_row.fill(half);
    for (int64_t q = 0; q < pairs; ++q) {
      const ZippedBytes both(load_bits<vec_u8>(rows[2 * q] + x), load_bits<vec_u8>(rows[2 * q + 1] + x));
      for (int r = 0; r < kRows; ++r) sum[r].add(both, kPairs > 0 ? known[r][q] : weight[r][q]);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto part = [&](int i) { return sum[r].of[i] >> bits; };
      result[r] = saturate_sums(part(0), part(1), part(2), part(3));
    }
  };
  for (int r = 0; r < kRows; ++r) {
    streams = streams && reinterpret_cast<uintptr_t>(out[r]) % kVectorBytes == 0;
  }
  int64_t x = 0;
  for (; x + kVectorBytes <= count; x += kVectorBytes) {
    sum_at(x);
    for (int r = 0; r < kRows; ++r) {
      streams ? stream_bits(out[r] + x, result[r]) : store_bits(out[r] + x, result[r]);
    }
  }
  if (x == count) return;
  sum_at(x);
  for (int r = 0; r < kRows; ++r) {
    __builtin_memcpy(out[r] + x, &result[r], static_cast<size_t>(count - x));
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
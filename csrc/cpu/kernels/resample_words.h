// Pixels of four bytes, of whose rows each passes the horizontal pass first, as resample_bytes.h does it for
// rows of planes: a pixel is a lane of 32 bits, and taps are taken by the plan of a row of such lanes.
#pragma once

#include "resample_bytes.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E>
constexpr bool takes_words = kPermutes && is_byte_resize<T, E>;

// Scratch: the second weights, of each block that shares its taps or of each that is far, and the two rows.
template <class acc>
inline int64_t words_weights(const ResampleParams<acc>& p) {
  return 2 * count_blocks(p.width);
}
template <class acc>
inline int64_t words_scratch_bytes(const ResampleParams<acc>& p) {
  return words_weights(p) * static_cast<int64_t>(sizeof(SplitBytes)) +
         fixed_rows_bytes(kFewChannels * p.width.out_size, 1);
}

// Two vectors of bytes as numbers with kFractionBits behind the point, blended.
inline void store_blended(int16_t* to, vec<float> left, vec<float> right, const SplitBytes& weights) {
  const vec_i16 half = vec_i16{} + static_cast<int16_t>(kFixedHalf);
  const auto blend = [&](vec_i16 a, vec_i16 b, vec_i16 weight) {
    a <<= kFractionBits, b <<= kFractionBits;
    return a + half + multiply_fixed(b - a, weight);
  };
  const auto [left_low, left_high] = split_bytes((vec_u8)left);
  const auto [right_low, right_high] = split_bytes((vec_u8)right);
  store_bits(to, blend(left_low, right_low, weights.low));
  store_bits(to + kVectorBytes / 2, blend(left_high, right_high, weights.high));
}

// A row of pixels through the horizontal pass.
template <class acc>
class WordRow {
 public:
  WordRow(const ResampleParams<acc>& p, char* scratch)
      : p_(p), plan_(column_plan(p)), weights_(reinterpret_cast<SplitBytes*>(scratch)) {
    for (int64_t b = 0; b < plan_.block_count; ++b) {
      vec_u32 both;  // the weight of each pixel, twice
      for (int64_t i = 0; i < lanes<float>; ++i) {
        const int64_t o = smaller(b * lanes<float> + i, p.width.out_size - 1);
        both[i] = static_cast<uint32_t>(fixed_weight(p.width.weight[2 * o + 1])) * 0x10001u;
      }
      weights_[place_of(b)] = repeat_words(both);
    }
  }

  void write(const uint8_t* row, int16_t* to) const {
    for (int64_t b = 0; b < plan_.block_count; ++b, to += kVectorBytes) {
      const ColumnBlock<acc>& block = plan_.blocks[b];
      const ColumnTap<acc>* taps = plan_.taps + block.tap;
      const uint8_t* first = row + kFewChannels * block.base;
      const SplitBytes& weights = weights_[place_of(b)];
      if (block.reach == Reach::kShared || block.reach == Reach::kNear) {
        const uint8_t* second = first + kFewChannels * taps[1].offset;
        store_blended(to, permute(pixels(first), taps[0].lane), permute(pixels(second), taps[1].lane),
                      weights);
      } else if (block.reach == Reach::kPair || block.reach == Reach::kWide) {
        const uint8_t* second = first + kFewChannels * taps[1].offset;
        store_blended(to, two_windows(first, taps[0].lane), two_windows(second, taps[1].lane), weights);
      } else {
        store_blended(to, one_by_one(row, b, 0), one_by_one(row, b, 1), weights);
      }
    }
  }

 private:
  // Blocks that share their taps share their weights.
  int64_t place_of(int64_t b) const {
    const ColumnBlock<acc>& block = plan_.blocks[b];
    return block.reach == Reach::kFar ? plan_.block_count + b : block.tap / 2;
  }
  static vec<float> pixels(const uint8_t* p) { return load_bits<vec<float>>(p); }
  static vec<float> two_windows(const uint8_t* p, vec_index<float> lane) {
    return permute_two(pixels(p), pixels(p + kVectorBytes), lane);
  }
  vec<float> one_by_one(const uint8_t* row, int64_t b, int64_t tap) const {
    vec_u32 lanes_of_row;
    for (int64_t i = 0; i < lanes<float>; ++i) {
      const int64_t o = smaller(b * lanes<float> + i, p_.width.out_size - 1);
      lanes_of_row[i] = load_bits<uint32_t>(row + kFewChannels * p_.width.index[2 * o + tap]);
    }
    return (vec<float>)lanes_of_row;
  }

  const ResampleParams<acc>& p_;
  const ColumnPlan<acc>& plan_;
  SplitBytes* weights_;
};

// Rows are (n, result row).
template <class acc>
inline void resample_words(const ResampleParams<acc>& p, int64_t begin, int64_t end, char* scratch) {
  const int64_t height = p.height.out_size;
  const WordRow<acc> words(p, scratch);
  char* rest = scratch + words_weights(p) * static_cast<int64_t>(sizeof(SplitBytes));
  for (int64_t row = begin; row < end;) {
    const int64_t n = row / height, first = row % height, last = smaller(height, first + end - row);
    const uint8_t* in = static_cast<const uint8_t*>(p.x) + n * p.x_strides.batch;
    FixedRows<acc> rows(p, 1, kFewChannels * p.width.out_size, rest);
    const auto make = [&](int64_t source, int16_t* to) { words.write(in + source * p.x_strides.height, to); };
    rows.write(static_cast<uint8_t*>(p.y) + n * p.y_strides.batch, first, last, make, join_split_bytes);
    row += last - first;
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// Bytes by filters of several taps, as native and Pillow compute them: along the width, rounded to bytes,
// then along the height, by weights that are 16-bit integers. Two taps take one instruction, which multiplies
// pairs of 16-bit numbers and adds the products in 32 bits.
//
// Along the width four neighbouring results are a lane of 16 bytes: their sources are within 16 bytes, which
// one shuffle puts in order, or those of each pair of taps are. A vector has as many lanes as fit, each with
// a window of its own. Rows that have passed are kept for as long as result rows read them.
#pragma once

#include "fixed_point.h"
#include "resample_planar.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E>
constexpr bool filters_bytes =
    kShufflesBytes && sizeof(T) == 1 && sizeof(typename E::result) == 1 && E::kUnchanged;

constexpr int64_t kWindowBytes = 16, kWindowResults = 4, kWindowLanes = kVectorBytes / kWindowBytes;
constexpr int64_t kVectorsOfSums = 4;  // whose sums are a vector of bytes

// Weights as integers: as many bits as the largest leaves room for.
class IntegerWeights {
 public:
  explicit IntegerWeights(const AxisTaps<float>& axis) {
    constexpr int kMostBits = 22;
    float largest = 0.0f;
    for (int64_t t = 0; t < axis.offset[axis.out_size]; ++t) {
      largest = axis.weight[t] > largest ? axis.weight[t] : largest;
    }
    while (bits_ < kMostBits && 0.5 + double{largest} * (2 << bits_) < 1 << 15) ++bits_;
  }

  int bits() const { return bits_; }
  int32_t half() const { return bits_ > 0 ? 1 << (bits_ - 1) : 0; }
  int16_t of(float weight) const {
    const double scaled = double{weight} * (1 << bits_);
    return static_cast<int16_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
  }

 private:
  int bits_ = 0;
};

inline uint8_t rounded_byte(int32_t sum, int bits) {
  const int32_t value = sum >> bits;
  return static_cast<uint8_t>(value < 0 ? 0 : (value > 255 ? 255 : value));
}

// ---- along the width --------------------------------------------------------------------------------------

// Where a pair of taps of the results of a vector of sums are in the windows, as 16-bit numbers, and their
// weights.
struct TapPair {
  vec_u8 pick;
  vec_i16 weight;
};

// How a row passes: results in blocks of a vector of bytes, of kVectorsOfSums groups of lanes of windows.
struct BytePlan {
  IntegerWeights weights;
  int64_t pairs;        // of taps
  int64_t windows;      // of a lane: one for all pairs, or one for each
  int64_t block_count;  // as many vectors as the row has
  int64_t* base;        // [block][group][window][lane]: its first byte
  int64_t* pattern;     // [block][group]: the pairs of a group, from this one on; -1 if a window does not fit
  TapPair* pair;
};

class BytePlanner {
 public:
  explicit BytePlanner(const AxisTaps<float>& width)
      : width_(width), groups_(kVectorsOfSums * block_count()), pairs_((width.max_taps + 1) / 2) {
    windows_ = 1;
    for (int64_t g = 0; g < groups_ && windows_ == 1; ++g) windows_ = fits(g) ? 1 : pairs_;
  }

  int64_t bytes() const {
    int64_t patterns = 0;
    each_pattern([&](int64_t, int64_t, bool is_new) { patterns += is_new; });
    return whole_vectors(sizeof(BytePlan)) + patterns_bytes(patterns) + whole_vectors(groups_ * 8) +
           whole_vectors(bases() * 8);
  }

  void build(void* memory) const {
    char* at = static_cast<char*>(memory);
    BytePlan& plan = *static_cast<BytePlan*>(memory);
    plan = {IntegerWeights(width_), pairs_, windows_, block_count(), nullptr, nullptr, nullptr};
    at += whole_vectors(sizeof(BytePlan));
    plan.pattern = reinterpret_cast<int64_t*>(at);
    at += whole_vectors(groups_ * 8);
    plan.base = reinterpret_cast<int64_t*>(at);
    at += whole_vectors(bases() * 8);
    plan.pair = reinterpret_cast<TapPair*>(at);
    int64_t patterns = 0;
    each_pattern([&](int64_t g, int64_t first, bool is_new) {
      for (int64_t w = 0; w < windows_; ++w) {
        for (int64_t l = 0; l < kWindowLanes; ++l) {
          plan.base[(g * windows_ + w) * kWindowLanes + l] = window(g, l, w).first;
        }
      }
      plan.pattern[g] = first < 0 ? -1 : is_new ? patterns++ * pairs_ : plan.pattern[first];
      for (int64_t q = 0; is_new && q < pairs_; ++q) plan.pair[plan.pattern[g] + q] = pair(plan, g, q);
    });
  }

 private:
  struct Range {
    int64_t first, last;
  };

  int64_t block_count() const { return whole_vectors(width_.out_size) / kVectorBytes; }
  int64_t bases() const { return groups_ * windows_ * kWindowLanes; }
  int64_t patterns_bytes(int64_t patterns) const {
    return patterns * pairs_ * static_cast<int64_t>(sizeof(TapPair));
  }

  // The result of lane l of group g that is the i-th there: four groups of sums become a vector of bytes lane
  // by lane. Beyond the end of the row the last one.
  int64_t result(int64_t g, int64_t l, int64_t i) const {
    const int64_t block = g / kVectorsOfSums * kVectorBytes, group = g % kVectorsOfSums * kWindowResults;
    return smaller(block + l * kWindowBytes + group + i, width_.out_size - 1);
  }
  // The number of its tap t, -1 if there is none.
  int64_t tap(int64_t o, int64_t t) const {
    return t < width_.offset[o + 1] - width_.offset[o] ? width_.offset[o] + t : -1;
  }

  // The taps that window w is of: first .. last - 1.
  Range taps_of(int64_t w) const { return windows_ == 1 ? Range{0, 2 * pairs_} : Range{2 * w, 2 * w + 2}; }
  // The bytes that lane l of group g reads through window w: first .. last.
  Range window(int64_t g, int64_t l, int64_t w) const {
    Range of{INT64_MAX, 0};
    const auto [first, last] = taps_of(w);
    for (int64_t i = 0; i < kWindowResults; ++i) {
      for (int64_t t = first; t < last; ++t) {
        const int64_t number = tap(result(g, l, i), t);
        if (number < 0) continue;
        of.first = smaller(of.first, width_.index[number]);
        of.last = larger(of.last, width_.index[number]);
      }
    }
    of.first = larger(0, smaller(of.first, width_.in_size - kWindowBytes));
    return of;
  }
  bool fits(int64_t g) const {
    bool fit = width_.in_size >= kWindowBytes;
    for (int64_t w = 0; w < windows_ && fit; ++w) {
      for (int64_t l = 0; l < kWindowLanes; ++l) {
        const Range of = window(g, l, w);
        fit = fit && of.last - of.first < kWindowBytes;
      }
    }
    return fit;
  }

  // Calls f(g, first, is_new) for each group: `first` is that with whose pairs it passes, -1 if none.
  template <class F>
  void each_pattern(F&& f) const {
    constexpr int64_t kLast = 8;
    int64_t distinct[kLast], count = 0;
    for (int64_t g = 0; g < groups_; ++g) {
      if (!fits(g)) {
        f(g, -1, false);
        continue;
      }
      int64_t first = -1;
      for (int64_t i = 0; i < smaller(count, kLast) && first < 0; ++i) {
        if (alike(g, distinct[i])) first = distinct[i];
      }
      const bool is_new = first < 0;
      if (is_new) distinct[count++ % kLast] = g;
      f(g, is_new ? g : first, is_new);
    }
  }
  bool alike(int64_t g, int64_t h) const {
    for (int64_t l = 0; l < kWindowLanes; ++l) {
      for (int64_t w = 0; w < windows_; ++w) {
        const int64_t from = window(g, l, w).first, to = window(h, l, w).first;
        const auto [first, last] = taps_of(w);
        for (int64_t i = 0; i < kWindowResults; ++i) {
          for (int64_t t = first; t < last; ++t) {
            const int64_t a = tap(result(g, l, i), t), b = tap(result(h, l, i), t);
            if ((a < 0) != (b < 0)) return false;
            if (a < 0) continue;
            if (width_.index[a] - from != width_.index[b] - to) return false;
            if (width_.weight[a] != width_.weight[b]) return false;
          }
        }
      }
    }
    return true;
  }

  TapPair pair(const BytePlan& plan, int64_t g, int64_t q) const {
    TapPair of{};
    of.pick |= 0x80;  // picks 0
    for (int64_t l = 0; l < kWindowLanes; ++l) {
      const int64_t base = window(g, l, windows_ == 1 ? 0 : q).first;
      for (int64_t i = 0; i < 2 * kWindowResults; ++i) {
        const int64_t number = tap(result(g, l, i / 2), 2 * q + i % 2);
        if (number < 0) continue;
        of.pick[l * kWindowBytes + 2 * i] = static_cast<uint8_t>(width_.index[number] - base);
        of.weight[l * kWindowBytes / 2 + i] = plan.weights.of(width_.weight[number]);
      }
    }
    return of;
  }

  const AxisTaps<float>& width_;
  const int64_t groups_, pairs_;
  int64_t windows_;
};

inline vec_u8 load_windows_of_bytes(const uint8_t* row, const int64_t* base) {
  bytes16 lane[kWindowLanes];
  for (int64_t l = 0; l < kWindowLanes; ++l) lane[l] = load_bits<bytes16>(row + base[l]);
  return join_lanes(lane);
}

// A row passes into `to`, which has room for whole vectors. kPairs: of taps, 0 where there may be any number.
template <int kPairs, bool kOneWindow>
inline void filter_row(const BytePlan& plan, const AxisTaps<float>& width, const uint8_t* row, uint8_t* to) {
  const int64_t pairs = kPairs > 0 ? kPairs : plan.pairs;
  const int64_t stride = (kOneWindow ? 1 : pairs) * kWindowLanes;
  const int bits = plan.weights.bits();
  const vec_index<float> half = vec_index<float>{} + plan.weights.half();
  const int64_t* base = plan.base;
  for (int64_t b = 0; b < plan.block_count; ++b, to += kVectorBytes) {
    const int64_t* pattern = plan.pattern + b * kVectorsOfSums;
    vec_index<float> sum[kVectorsOfSums];
    bool far = false;
    for (int64_t g = 0; g < kVectorsOfSums; ++g, base += stride) {
      sum[g] = half;
      if (pattern[g] < 0) {
        far = true;
        continue;
      }
      const TapPair* pair = plan.pair + pattern[g];
      vec_u8 windows{};
      if (kOneWindow) windows = load_windows_of_bytes(row, base);
      for (int64_t q = 0; q < pairs; ++q) {
        if (!kOneWindow) windows = load_windows_of_bytes(row, base + q * kWindowLanes);
        sum[g] += multiply_pairs((vec_i16)shuffle_in_lanes(windows, pair[q].pick), pair[q].weight);
      }
    }
    store_bits(to, saturate_sums(sum[0] >> bits, sum[1] >> bits, sum[2] >> bits, sum[3] >> bits));
    for (int64_t i = 0; far && i < kVectorBytes; ++i) {
      const int64_t o = smaller(b * kVectorBytes + i, width.out_size - 1);
      int32_t total = plan.weights.half();
      for (int64_t t = width.offset[o]; t < width.offset[o + 1]; ++t) {
        total += row[width.index[t]] * plan.weights.of(width.weight[t]);
      }
      to[i] = rounded_byte(total, bits);
    }
  }
}

// ---- along the height -------------------------------------------------------------------------------------

// Two weights, of a pair of rows, as each pair of 16-bit numbers of a vector.
inline vec_i16 splat_pair(int16_t first, int16_t second) {
  const uint32_t both = static_cast<uint16_t>(first) | uint32_t{static_cast<uint16_t>(second)} << 16;
  return (vec_i16)(vec_u32{} + both);
}

// kRows result rows from the same pairs of rows, which are padded; weight[r][q]. kPairs: as above.
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
    vec_index<float> sum[kRows][kVectorsOfSums];
    for (auto& of_row : sum) {
      for (auto& part : of_row) part = half;
    }
    for (int64_t q = 0; q < pairs; ++q) {
      const auto first = load_bits<vec_u8>(rows[2 * q] + x), second = load_bits<vec_u8>(rows[2 * q + 1] + x);
      const SplitBytes low = split_bytes(zip_low(first, second)), high = split_bytes(zip_high(first, second));
      for (int r = 0; r < kRows; ++r) {
        const vec_i16 w = kPairs > 0 ? known[r][q] : weight[r][q];
        sum[r][0] += multiply_pairs(low.low, w);
        sum[r][1] += multiply_pairs(low.high, w);
        sum[r][2] += multiply_pairs(high.low, w);
        sum[r][3] += multiply_pairs(high.high, w);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      result[r] = saturate_sums(sum[r][0] >> bits, sum[r][1] >> bits, sum[r][2] >> bits, sum[r][3] >> bits);
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

// The rows of one plane that have passed, and the result rows from them.
class FilteredRows {
 public:
  static int64_t bytes(const ResampleParams<float>& p) {
    return slots_of(p.height) * (slot_bytes(p) + 8) + whole_vectors(2 * pairs_of(p.height) * 8) +
           2 * pairs_of(p.height) * kVectorBytes + 2 * kVectorBytes;
  }

  FilteredRows(const ResampleParams<float>& p, char* scratch)
      : p_(p), plan_(*static_cast<const BytePlan*>(p.plan)), weights_(p.height), slots_(slots_of(p.height)) {
    const int64_t pairs = pairs_of(p.height);
    first_slot_ = reinterpret_cast<uint8_t*>(scratch);
    char* at = scratch + slots_ * slot_bytes(p);
    pair_weight_[0] = reinterpret_cast<vec_i16*>(at);
    pair_weight_[1] = pair_weight_[0] + pairs;
    at += 2 * pairs * kVectorBytes;
    held_ = reinterpret_cast<int64_t*>(at);
    sources_ = reinterpret_cast<const uint8_t**>(held_ + slots_);
  }

  void start(const uint8_t* in) {
    in_ = in;
    for (int64_t i = 0; i < slots_; ++i) held_[i] = -1;
  }

  // Result rows begin .. end.
  void write(uint8_t* out, int64_t begin, int64_t end) {
    const int64_t count = p_.width.out_size;
    for (int64_t oy = begin; oy < end;) {
      uint8_t* to[] = {out + oy * p_.y_strides.height, out + (oy + 1) * p_.y_strides.height};
      const int64_t t = p_.height.offset[oy], taps = p_.height.offset[oy + 1] - t;
      if (taps <= 1) {
        taps == 0 ? zero(to[0], count) : copy(to[0], row(p_.height.index[t]), count);
        ++oy;
        continue;
      }
      const int64_t pairs = (taps + 1) / 2;
      for (int64_t i = 0; i < 2 * pairs; ++i) {
        sources_[i] = row(p_.height.index[t + smaller(i, taps - 1)]);
      }
      set_weights(0, oy);
      if (oy + 1 < end && share_four_rows(p_.height, oy, oy + 1)) {
        set_weights(1, oy + 1);
        sum_byte_rows<2, 2>(to, count, sources_, pairs, pair_weight_, weights_, p_.stream);
        oy += 2;
        continue;
      }
      const auto sum = pairs == 2 ? sum_byte_rows<2, 1> : sum_byte_rows<0, 1>;
      sum(to, count, sources_, pairs, pair_weight_, weights_, p_.stream);
      ++oy;
    }
  }

 private:
  static int64_t pairs_of(const AxisTaps<float>& height) { return (height.max_taps + 1) / 2; }
  static int64_t slot_bytes(const ResampleParams<float>& p) {
    return whole_vectors(larger(p.width.out_size, p.width.in_size)) +
           kVectorBytes;  // rows apart in the cache
  }
  // As many as a result row reads, a power of two.
  static int64_t slots_of(const AxisTaps<float>& height) {
    int64_t most = 1, slots = 1;
    for (int64_t o = 0; o < height.out_size; ++o) {
      const int64_t begin = height.offset[o], end = height.offset[o + 1];
      if (begin < end) most = larger(most, height.index[end - 1] - height.index[begin] + 1);
    }
    while (slots < most) slots *= 2;
    return slots;
  }

  const uint8_t* row(int64_t source) {
    const int64_t slot = source & (slots_ - 1);
    uint8_t* to = first_slot_ + slot * slot_bytes(p_);
    if (held_[slot] == source) return to;
    held_[slot] = source;
    const uint8_t* from = in_ + source * p_.x_strides.height;
    if (p_.width.max_taps == 1 && p_.width.in_size == p_.width.out_size) {
      copy(to, from, p_.width.in_size);
    } else if (plan_.pairs == 2) {
      plan_.windows == 1 ? filter_row<2, true>(plan_, p_.width, from, to)
                         : filter_row<2, false>(plan_, p_.width, from, to);
    } else {
      plan_.windows == 1 ? filter_row<0, true>(plan_, p_.width, from, to)
                         : filter_row<0, false>(plan_, p_.width, from, to);
    }
    return to;
  }

  void set_weights(int i, int64_t oy) {
    const int64_t begin = p_.height.offset[oy], end = p_.height.offset[oy + 1];
    for (int64_t t = begin; t < end; t += 2) {
      const int16_t first = weights_.of(p_.height.weight[t]);
      const int16_t second = t + 1 < end ? weights_.of(p_.height.weight[t + 1]) : int16_t{0};
      pair_weight_[i][(t - begin) / 2] = splat_pair(first, second);
    }
  }

  static void copy(uint8_t* to, const uint8_t* from, int64_t count) {
    __builtin_memcpy(to, from, static_cast<size_t>(count));
  }
  static void zero(uint8_t* to, int64_t count) { __builtin_memset(to, 0, static_cast<size_t>(count)); }

  const ResampleParams<float>& p_;
  const BytePlan& plan_;
  const IntegerWeights weights_;
  const int64_t slots_;
  uint8_t* first_slot_;
  vec_i16* pair_weight_[2];
  int64_t* held_;
  const uint8_t** sources_;
  const uint8_t* in_ = nullptr;
};

// Rows are (n, c, result row).
inline void filter_planes(const ResampleParams<float>& p, int64_t begin, int64_t end, char* scratch) {
  FilteredRows rows(p, scratch);
  each_plane<uint8_t, uint8_t>(p, begin, end,
                               [&](const uint8_t* in, uint8_t* out, int64_t first, int64_t last) {
                                 rows.start(in);
                                 rows.write(out, first, last);
                               });
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

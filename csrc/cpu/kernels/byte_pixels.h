// Rows of bytes through a filter along the width, as in byte_windows.h, where neighbouring results are too
// far apart for windows of theirs.
//
// Pixels: four sums, of which the first are its channels, are a lane of 16 bytes, which reads a few of the
// pixel's taps through a window. The lanes of a vector are the same pixel of as many rows: weights and places
// are all the same.
//
// Planes: a result is summed by itself, from vectors of its neighbours.
#pragma once

#include "byte_windows.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// ---- pixels -----------------------------------------------------------------------------------------------

constexpr int64_t kMostPairs = kWindowBytes / 4;  // of a window: pixels of two channels
constexpr int kPixelVectors = 2, kPixelRows = kPixelVectors * kWindowLanes;

struct PixelPlan {
  int64_t pixels, channels, windows, pairs_of_window;
  int64_t regular_end;       // before this pixel, a multiple of kVectorsOfSums, windows follow each other
  bytes16 next[kMostPairs];  // in these: places of pairs of neighbouring pixels, as 16-bit numbers
  const bytes16* pick;       // [pixel - regular_end][pair]: the same of the others
  const int64_t* base;       // [pixel][window]: the first byte
  const uint32_t* weight;    // [pixel][pair]: two 16-bit numbers
  bytes16 kept;              // of the sums of four pixels, as bytes, those that are channels
};

class PixelPlanner {
 public:
  PixelPlanner(const AxisTaps<float>& width, int64_t channels)
      : width_(width),
        channels_(channels),
        pixels_(width.out_size / channels),
        pairs_of_window_(kWindowBytes / channels / 2),
        windows_((width.max_taps + 2 * pairs_of_window_ - 1) / (2 * pairs_of_window_)) {
    while (regular_end_ < pixels_ && is_regular(regular_end_)) ++regular_end_;
    if (regular_end_ < pixels_) regular_end_ -= regular_end_ % kVectorsOfSums;
  }

  bool pads() const { return width_.in_size < kWindowBytes; }
  int64_t bytes() const { return lay_out(nullptr).bytes; }

  void build(void* memory, const IntegerWeights& integers) const {
    const Parts parts = lay_out(memory);
    PixelPlan& plan = *parts.plan;
    plan.pixels = pixels_, plan.channels = channels_;
    plan.windows = windows_, plan.pairs_of_window = pairs_of_window_;
    plan.regular_end = regular_end_;
    plan.pick = parts.pick, plan.base = parts.base, plan.weight = parts.weight;
    for (int64_t q = 0; q < pairs_of_window_; ++q) {
      plan.next[q] = places([&](int64_t t) { return (2 * q + t) * channels_; });
    }
    for (int64_t i = 0; i < kWindowBytes; ++i) {
      const int64_t pixel = smaller(i / channels_, kVectorsOfSums - 1);
      plan.kept[i] = static_cast<uint8_t>(pixel * kWindowSums + i % channels_);
    }
    for (int64_t x = 0; x < pixels_; ++x) {
      for (int64_t w = 0; w < windows_; ++w) parts.base[x * windows_ + w] = window(x, w);
      fill_weights(parts.weight + x * pairs(), integers, x);
      for (int64_t q = 0; x >= regular_end_ && q < pairs(); ++q) {
        parts.pick[(x - regular_end_) * pairs() + q] = places([&](int64_t t) {
          const int64_t source = first(x) + (2 * q + t) * channels_;
          return source < width_.in_size ? source - window(x, q / pairs_of_window_) : -1;
        });
      }
    }
  }

 private:
  struct Parts {
    PixelPlan* plan;
    int64_t* base;
    uint32_t* weight;
    bytes16* pick;
    int64_t bytes;
  };

  Parts lay_out(void* memory) const {
    PlanMemory all(memory);
    Parts parts{};
    parts.plan = all.take<PixelPlan>(1);
    parts.base = all.take<int64_t>(pixels_ * windows_);
    parts.weight = all.take<uint32_t>(pixels_ * pairs());
    parts.pick = all.take<bytes16>((pixels_ - regular_end_) * pairs());
    parts.bytes = all.bytes();
    return parts;
  }

  int64_t pairs() const { return windows_ * pairs_of_window_; }

  // The first byte of the first source of pixel x; the others follow it.
  int64_t first(int64_t x) const {
    const int64_t o = x * channels_;
    return width_.offset[o] < width_.offset[o + 1] ? width_.index[width_.offset[o]] : 0;
  }
  // Where window w of pixel x begins, inside the row.
  int64_t window(int64_t x, int64_t w) const {
    const int64_t begin = first(x) + 2 * w * pairs_of_window_ * channels_;
    return pads() ? begin : smaller(begin, width_.in_size - kWindowBytes);
  }
  bool is_regular(int64_t x) const {
    return window(x, windows_ - 1) == first(x) + 2 * (windows_ - 1) * pairs_of_window_ * channels_;
  }

  // Of the channels of both pixels of a pair, which begin at place(0) and place(1); -1 where there is none.
  template <class F>
  bytes16 places(const F& place) const {
    bytes16 of = bytes16{} | 0x80;  // picks 0
    for (int64_t t = 0; t < 2; ++t) {
      for (int64_t c = 0; place(t) >= 0 && c < channels_; ++c)
        of[2 * (2 * c + t)] = static_cast<uint8_t>(place(t) + c);
    }
    return of;
  }

  void fill_weights(uint32_t* weights, const IntegerWeights& integers, int64_t x) const {
    const int64_t o = x * channels_;
    for (int64_t q = 0; q < pairs(); ++q) {
      int16_t of[2] = {0, 0};
      // Of several taps on one source, all weights but one are 0.
      for (int64_t t = width_.offset[o]; t < width_.offset[o + 1]; ++t) {
        const int64_t place = (width_.index[t] - first(x)) / channels_ - 2 * q;
        if (place == 0 || place == 1)
          of[place] = static_cast<int16_t>(of[place] + integers.of(width_.weight[t]));
      }
      weights[q] = join_pair(of[0], of[1]);
    }
  }

  const AxisTaps<float>& width_;
  const int64_t channels_, pixels_, pairs_of_window_, windows_;
  int64_t regular_end_ = 0;
};

// The sums of a pixel of kPixelRows rows. kWindows: 0 where there may be any number.
template <int kWindows, int kPairs, bool kRegular>
inline void sum_pixel(const PixelPlan& plan, int64_t pixel, const uint8_t* const* rows,
                      vec_index<float> (&sum)[kPixelVectors]) {
  const int64_t windows = kWindows > 0 ? kWindows : plan.windows;
  const int64_t* base = plan.base + pixel * windows;
  const uint32_t* weight = plan.weight + pixel * windows * kPairs;
  vec_u8 places[kPairs];
  for (int q = 0; q < kPairs; ++q) places[q] = repeat_lane(plan.next[q]);
  for (int64_t w = 0; w < windows; ++w, weight += kPairs) {
    for (int q = 0; !kRegular && q < kPairs; ++q) {
      places[q] = repeat_lane(plan.pick[((pixel - plan.regular_end) * windows + w) * kPairs + q]);
    }
    for (int v = 0; v < kPixelVectors; ++v) {
      bytes16 lane[kWindowLanes];
      for (int64_t l = 0; l < kWindowLanes; ++l)
        lane[l] = load_bits<bytes16>(rows[v * kWindowLanes + l] + base[w]);
      const vec_u8 window = join_lanes(lane);
      for (int q = 0; q < kPairs; ++q) {
        sum[v] += multiply_pairs((vec_i16)shuffle_in_lanes(window, places[q]), splat_pair(weight[q]));
      }
    }
  }
}

// kPixelRows rows pass into rows that have room for whole vectors.
template <int kWindows, int kPairs>
inline void pass_pixels(const PixelPlan& plan, const IntegerWeights& weights, const uint8_t* const* rows,
                        uint8_t* const* to) {
  const vec_u8 kept = repeat_lane(plan.kept);
  for (int64_t x = 0; x < plan.pixels; x += kVectorsOfSums) {
    vec_index<float> sum[kPixelVectors][kVectorsOfSums];
    for (int64_t i = 0; i < kVectorsOfSums; ++i) {
      vec_index<float> of_pixel[kPixelVectors];
      for (auto& part : of_pixel) part = vec_index<float>{} + weights.half();
      const int64_t pixel = smaller(x + i, plan.pixels - 1);
      x < plan.regular_end ? sum_pixel<kWindows, kPairs, true>(plan, pixel, rows, of_pixel)
                           : sum_pixel<kWindows, kPairs, false>(plan, pixel, rows, of_pixel);
      for (int v = 0; v < kPixelVectors; ++v) sum[v][i] = of_pixel[v];
    }
    for (int v = 0; v < kPixelVectors; ++v) {
      bytes16 of_row[kWindowLanes];
      const vec_u8 channels = shuffle_in_lanes(rounded_sums(sum[v], weights.bits()), kept);
      __builtin_memcpy(of_row, &channels, sizeof channels);
      for (int64_t l = 0; l < kWindowLanes; ++l) {
        store_bits(to[v * kWindowLanes + l] + x * plan.channels, of_row[l]);
      }
    }
  }
}

inline void pass_pixels(const PixelPlan& plan, const IntegerWeights& weights, const uint8_t* const* rows,
                        uint8_t* const* to) {
  if (plan.pairs_of_window == kMostPairs) return pass_pixels<0, kMostPairs>(plan, weights, rows, to);
  plan.windows == 1 ? pass_pixels<1, 2>(plan, weights, rows, to) : pass_pixels<0, 2>(plan, weights, rows, to);
}

// ---- planes -----------------------------------------------------------------------------------------------

constexpr int64_t kHalfVector = kVectorBytes / 2;  // bytes that become a vector of 16-bit numbers

struct NeighbourPlan {
  int64_t vectors, block_count;  // of neighbours of a result; of a vector of results each
  // Of results in the order in which sums become a vector of bytes:
  const int64_t* base;    // the first byte
  const vec_i16* weight;  // [vector]
};

class NeighbourPlanner {
 public:
  explicit NeighbourPlanner(const AxisTaps<float>& width)
      : width_(width), vectors_(most_vectors(width)), taps_{width, width.in_size < vectors_ * kHalfVector} {}

  bool pads() const { return taps_.padded; }
  int64_t bytes() const { return lay_out(nullptr).bytes; }

  void build(void* memory, const IntegerWeights& integers) const {
    const Parts parts = lay_out(memory);
    *parts.plan = {vectors_, results() / kVectorBytes, parts.base, parts.weight};
    for (int64_t i = 0; i < results(); ++i) {
      const int64_t lane = i / kWindowSums;
      const int64_t o = smaller(result_of_sum(lane / kWindowLanes, lane % kWindowLanes, i % kWindowSums),
                                width_.out_size - 1);
      const int64_t begin = width_.offset[o], end = width_.offset[o + 1];
      const int64_t base = begin < end ? taps_.start(width_.index[begin], vectors_ * kHalfVector) : 0;
      int16_t* weights = reinterpret_cast<int16_t*>(parts.weight + i * vectors_);
      __builtin_memset(weights, 0, static_cast<size_t>(vectors_ * kVectorBytes));
      for (int64_t t = begin; t < end; ++t) {  // of several on one sample, all but one are 0
        int16_t& weight = weights[width_.index[t] - base];
        weight = static_cast<int16_t>(weight + integers.of(width_.weight[t]));
      }
      parts.base[i] = base;
    }
  }

 private:
  struct Parts {
    NeighbourPlan* plan;
    int64_t* base;
    vec_i16* weight;
    int64_t bytes;
  };
  Parts lay_out(void* memory) const {
    PlanMemory all(memory);
    Parts parts{};
    parts.plan = all.take<NeighbourPlan>(1);
    parts.base = all.take<int64_t>(results());
    parts.weight = all.take<vec_i16>(results() * vectors_);
    parts.bytes = all.bytes();
    return parts;
  }

  static int64_t most_vectors(const AxisTaps<float>& width) {
    return (most_sources(width) + kHalfVector - 1) / kHalfVector;
  }
  int64_t results() const { return whole_vectors(width_.out_size); }

  const AxisTaps<float>& width_;
  const int64_t vectors_;
  const ByteTaps taps_;
};

// `row` passes into `to`, which has room for whole vectors. kVectors: 0 where there may be any number.
template <int kVectors>
inline void pass_neighbours(const NeighbourPlan& plan, const IntegerWeights& weights, const uint8_t* row,
                            uint8_t* to) {
  const int64_t vectors = kVectors > 0 ? kVectors : plan.vectors;
  const vec_index<float> half = vec_index<float>{} + weights.half();
  const int64_t* base = plan.base;
  const vec_i16* weight = plan.weight;
  const auto sum_next = [&] {
    const uint8_t* bytes = row + *base++;
    vec_index<float> sum = multiply_pairs(load_words(bytes), *weight++);
    for (int64_t v = 1; v < vectors; ++v) {
      sum += multiply_pairs(load_words(bytes + v * kHalfVector), *weight++);
    }
    return sum;
  };
  for (int64_t b = 0; b < plan.block_count; ++b, to += kVectorBytes) {
    vec_index<float> sum[kVectorsOfSums];
    for (auto& of_group : sum) {
      vec_index<float> lane[kWindowLanes];
      for (auto& of_lane : lane) {
        const auto first = sum_next(), second = sum_next(), third = sum_next(), fourth = sum_next();
        of_lane = sum_four(first, second, third, fourth);
      }
      of_group = half + sum_lanes(lane);
    }
    store_bits(to, rounded_sums(sum, weights.bits()));
  }
}

inline void pass_neighbours(const NeighbourPlan& plan, const IntegerWeights& weights, const uint8_t* row,
                            uint8_t* to) {
  plan.vectors == 1 ? pass_neighbours<1>(plan, weights, row, to) : pass_neighbours<0>(plan, weights, row, to);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

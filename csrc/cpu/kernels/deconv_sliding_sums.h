// Sums in a sliding window: neighbouring results that take neighbouring sources through successive taps.
//
// Up to 8 results that take up to 7 taps share their sources: 14 loads for 56 products, with all sums and
// weights in registers.
#pragma once

#include "deconv_plan.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr int64_t kMostSliding = 8;   // results that are summed together
constexpr int64_t kLeastSliding = 4;  // fewer are summed as so many

// In how large parts a line of results is summed: equal ones.
inline int64_t sliding_count(int64_t results, int64_t most = kMostSliding) {
  return larger(kLeastSliding, ceil_div(results, ceil_div(results, most)));
}

// Tap k of result i takes source[(i + k) * step] times weights[k * weight_step], a vector each.
template <class S, class acc>
struct SlidingLine {
  const S* source;
  const acc* weights;
  int64_t taps;
};
template <class S, class acc>
struct SlidingLines {
  const SlidingLine<S, acc>* list;
  int64_t count;
  int64_t step, weight_step;
  int64_t source_offset;  // of all lines
};

// The products of one sample: of sum kSample - k through tap k.
template <int64_t kSample, int64_t kCount, class V, int64_t... k>
[[gnu::always_inline]] inline void add_sample(V* sums, V sample, const V* weights, LaneList<k...>) {
  const auto add = [&](auto tap) {
    constexpr int64_t kSum = kSample - decltype(tap)::value;
    if constexpr (kSum >= 0 && kSum < kCount) {
      sums[kSum] = multiply_add_vector(weights[decltype(tap)::value], sample, sums[kSum]);
    }
  };
  (add(Constant<k>{}), ...);
}
template <int64_t kCount, class S, class V, class Taps, int64_t... sample>
[[gnu::always_inline]] inline void add_samples(V* sums, const S* source, int64_t step, const V* weights,
                                               Taps taps, LaneList<sample...>) {
  (add_sample<sample, kCount>(sums, V(load(source + sample * step)), weights, taps), ...);
}

template <class V, int64_t... i>
[[gnu::always_inline]] inline void set_all(V* sums, V start, LaneList<i...>) {
  ((sums[i] = start), ...);
}
template <class U, class V, int64_t... i>
[[gnu::always_inline]] inline void store_all(U* out, int64_t step, const V* sums, LaneList<i...>) {
  (store(out + i * step, sums[i]), ...);
}

// Where sums go: out[i * step], and the `channels` elements there, at least a vector; the last vector
// overlaps the one before it.
template <class U>
struct SlidingOutput {
  U* out;
  int64_t step, channels;
};

// out[i] = start + sum over lines and taps, for kCount results. kSplat: a weight is one number for all lanes.
template <int kCount, bool kSplat, class S, class U, class acc>
[[gnu::noinline]] void sum_line_of(const SlidingOutput<U>& to, const acc* start,
                                   const SlidingLines<S, acc>& lines) {
  const int64_t step = lines.step, weight_step = lines.weight_step;
  const typename CountLanes<kCount>::list results{};
  for (int64_t i = 0; i < to.channels; i += lanes<acc>) {
    const int64_t c = smaller(i, to.channels - lanes<acc>);
    vec<acc> sum[kCount];
    set_all(sum, load(start + c), results);
    for (int64_t line = 0; line < lines.count; ++line) {
      const S* source = lines.list[line].source + (lines.source_offset + c);
      const acc* weights = lines.list[line].weights + c;
      int64_t left = lines.list[line].taps;
      const auto add = [&](auto count) __attribute__((always_inline)) {
        constexpr int kTaps = decltype(count)::value;
        vec<acc> weight[kTaps];
        for (int k = 0; k < kTaps; ++k) {
          weight[k] = kSplat ? splat(weights[k * weight_step]) : load(weights + k * weight_step);
        }
        add_samples<kCount>(sum, source, step, weight, typename CountLanes<kTaps>::list{},
                            typename CountLanes<kCount + kTaps - 1>::list{});
        source += kTaps * step;
        weights += kTaps * weight_step;
        left -= kTaps;
      };
      while (left >= 7) add(Constant<7>{});
      if (left >= 4) add(Constant<4>{});
      if (left >= 2) add(Constant<2>{});
      if (left >= 1) add(Constant<1>{});
    }
    store_all(to.out + c, to.step, sum, results);
  }
}

template <bool kSplat, class S, class U, class acc>
inline void sum_line(const SlidingOutput<U>& to, int64_t count, const acc* start,
                     const SlidingLines<S, acc>& lines) {
  if (count == 4) return sum_line_of<4, kSplat>(to, start, lines);
  if (count == 5) return sum_line_of<5, kSplat>(to, start, lines);
  if (count == 6) return sum_line_of<6, kSplat>(to, start, lines);
  if (count == 7) return sum_line_of<7, kSplat>(to, start, lines);
  return sum_line_of<8, kSplat>(to, start, lines);
}

// Whether taps of one residue along an axis, forward or back, take neighbouring sources: every `tap_period`
// taps a phase's next one.
inline int64_t tap_period(const ConvTransposeAxis& axis) {
  return axis.stride / greatest_common_divisor(axis.stride, axis.dilation);
}
inline bool taps_slide(const ConvTransposeAxis& axis) {
  return axis.stride == tap_period(axis) * axis.dilation;
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// A row of bytes through a filter along the width, to bytes: pairs of taps are multiplied and added by one
// instruction, as in byte_rows.h, by a plan that is made once for all rows.
//
// Four neighbouring results are the sums of a lane of 16 bytes, which reads the row through a window of as
// many bytes: all their taps are in it, or those of one pair; a shuffle puts each pair in order. A vector has
// several lanes. (byte_pixels.h has what is too far apart for that.)
#pragma once

#include "byte_rows.h"
#include "horizontal.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr int64_t kWindowBytes = 16, kWindowSums = 4, kWindowLanes = kVectorBytes / kWindowBytes;

// The parts of a plan in memory, one after the other: their places if there is memory, and how much they
// take.
class PlanMemory {
 public:
  explicit PlanMemory(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    T* const part = memory_ ? reinterpret_cast<T*>(memory_ + bytes_) : nullptr;
    bytes_ += whole_vectors(count * static_cast<int64_t>(sizeof(T)));
    return part;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* memory_;
  int64_t bytes_ = 0;
};

// What planners ask of the width's table, which is of every value of a row.
struct ByteTaps {
  const AxisTaps<float>& width;
  // Rows are too short for windows: the pass takes copies that are padded, to padded_bytes.
  bool padded = false;

  // The number of tap t of result o, -1 if there is none.
  int64_t tap(int64_t o, int64_t t) const {
    return t < width.offset[o + 1] - width.offset[o] ? width.offset[o] + t : -1;
  }
  // Where to begin so that `count` bytes from `first` on are in the row.
  int64_t start(int64_t first, int64_t count) const {
    return smaller(first, padded ? width.in_size - 1 : width.in_size - count);
  }
};
inline int64_t padded_bytes(const AxisTaps<float>& width) {
  return 2 * whole_vectors(width.in_size) + kVectorBytes;
}

// How many sources lie between the first and the last that an output reads, those included; at most.
inline int64_t most_sources(const AxisTaps<float>& axis) {
  int64_t most = 1;
  for (int64_t o = 0; o < axis.out_size; ++o) {
    const int64_t begin = axis.offset[o], end = axis.offset[o + 1];
    if (begin < end) most = larger(most, axis.index[end - 1] - axis.index[begin] + 1);
  }
  return most;
}

// The last few groups that were unlike those before them.
class RecentGroups {
 public:
  // The one that is like g; -1 if there is none: g is then kept.
  template <class Alike>
  int64_t find(int64_t g, const Alike& alike) {
    for (int64_t i = 0; i < smaller(count_, kMost); ++i) {
      if (alike(g, group_[i])) return group_[i];
    }
    group_[count_++ % kMost] = g;
    return -1;
  }

 private:
  static constexpr int64_t kMost = 8;
  int64_t group_[kMost], count_ = 0;
};

// The result that is sum i of lane l of vector g of sums: kVectorsOfSums of them become a vector of bytes
// lane by lane.
inline int64_t result_of_sum(int64_t g, int64_t l, int64_t i) {
  const int64_t block = g / kVectorsOfSums, place = g % kVectorsOfSums;
  return ((block * kWindowLanes + l) * kVectorsOfSums + place) * kWindowSums + i;
}

struct WindowPlan {
  // Of a vector of sums: the first of its picks and weights, a vector of each for each pair of taps.
  struct Group {
    int64_t pick, weight;
  };

  int64_t pairs, pairs_of_window, block_count;  // a block is kVectorsOfSums groups
  const Group* group;
  const int64_t* base;  // [group][window][lane]: the first byte
  const vec_u8* pick;   // places in the windows, as 16-bit numbers
  const vec_i16* weight;
};

class WindowPlanner {
 public:
  WindowPlanner(const AxisTaps<float>& width, bool one_window)
      : taps_{width, width.in_size < kWindowBytes},
        width_(width),
        pairs_((width.max_taps + 1) / 2),
        pairs_of_window_(one_window ? pairs_ : 1),
        windows_(one_window ? 1 : pairs_) {}

  bool pads() const { return taps_.padded; }

  // Whether all windows hold what they should.
  bool fits() const {
    for (int64_t g = 0; g < groups(); ++g) {
      for (int64_t l = 0; l < kWindowLanes; ++l) {
        for (int64_t w = 0; w < windows_; ++w) {
          const Range bytes = window(g, l, w);
          if (bytes.last - bytes.first >= kWindowBytes) return false;
        }
      }
    }
    return true;
  }

  int64_t bytes() const {
    int64_t picks = 0, weights = 0;
    each_group([&](int64_t, int64_t same_pick, int64_t same_weight) {
      picks += same_pick < 0;
      weights += same_weight < 0;
    });
    return lay_out(nullptr, picks, weights).bytes;
  }

  void build(void* memory, const IntegerWeights& integers) const {
    // First which picks and weights each group has, of which follows where they are.
    int64_t picks = 0, weights = 0;
    WindowPlan::Group* group = lay_out(memory, 0, 0).group;
    each_group([&](int64_t g, int64_t same_pick, int64_t same_weight) {
      group[g].pick = same_pick < 0 ? picks++ * pairs_ : group[same_pick].pick;
      group[g].weight = same_weight < 0 ? weights++ * pairs_ : group[same_weight].weight;
    });
    const Parts parts = lay_out(memory, picks, weights);
    *parts.plan = {pairs_,     pairs_of_window_, groups() / kVectorsOfSums, parts.group, parts.base,
                   parts.pick, parts.weight};
    for (int64_t g = 0, picked = 0, weighted = 0; g < groups(); ++g) {
      for (int64_t w = 0; w < windows_; ++w) {
        for (int64_t l = 0; l < kWindowLanes; ++l) {
          parts.base[(g * windows_ + w) * kWindowLanes + l] = window(g, l, w).first;
        }
      }
      // Groups with picks or weights of their own have the next ones.
      for (; group[g].pick == picked * pairs_ && picked < picks; ++picked)
        fill_picks(parts.pick + group[g].pick, g);
      for (; group[g].weight == weighted * pairs_ && weighted < weights; ++weighted) {
        fill_weights(parts.weight + group[g].weight, integers, g);
      }
    }
  }

 private:
  struct Range {
    int64_t first, last;
  };
  struct Parts {
    WindowPlan* plan;
    WindowPlan::Group* group;
    int64_t* base;
    vec_u8* pick;
    vec_i16* weight;
    int64_t bytes;
  };

  Parts lay_out(void* memory, int64_t picks, int64_t weights) const {
    PlanMemory all(memory);
    Parts parts{};
    parts.plan = all.take<WindowPlan>(1);
    parts.group = all.take<WindowPlan::Group>(groups());
    parts.base = all.take<int64_t>(groups() * windows_ * kWindowLanes);
    parts.pick = all.take<vec_u8>(picks * pairs_);
    parts.weight = all.take<vec_i16>(weights * pairs_);
    parts.bytes = all.bytes();
    return parts;
  }

  int64_t groups() const { return whole_vectors(width_.out_size) / kVectorBytes * kVectorsOfSums; }

  // Beyond the end of the row all results are the last one.
  int64_t result(int64_t g, int64_t l, int64_t i) const {
    return smaller(result_of_sum(g, l, i), width_.out_size - 1);
  }

  // The bytes that lane l of group g reads through window w, which begins with the first.
  Range window(int64_t g, int64_t l, int64_t w) const {
    Range bytes{INT64_MAX, 0};
    for (int64_t i = 0; i < kWindowSums; ++i) {
      const int64_t o = result(g, l, i);
      const int64_t end = smaller(width_.offset[o] + 2 * (w + 1) * pairs_of_window_, width_.offset[o + 1]);
      for (int64_t t = width_.offset[o] + 2 * w * pairs_of_window_; t < end; ++t) {
        bytes.first = smaller(bytes.first, width_.index[t]);
        bytes.last = larger(bytes.last, width_.index[t]);
      }
    }
    bytes.first = taps_.start(bytes.first, kWindowBytes);
    return bytes;
  }

  // Calls f(g, same_pick, same_weight) for each group: one before it that has its picks, and its weights; -1
  // where there is none.
  template <class F>
  void each_group(F&& f) const {
    RecentGroups picks, weights;
    for (int64_t g = 0; g < groups(); ++g) {
      const int64_t same_pick = picks.find(g, [&](int64_t a, int64_t b) {
        return alike(a, b, [&](int64_t tap, int64_t first) { return width_.index[tap] - first; });
      });
      const int64_t same_weight = weights.find(g, [&](int64_t a, int64_t b) {
        return alike(a, b, [&](int64_t tap, int64_t) { return width_.weight[tap]; });
      });
      f(g, same_pick, same_weight);
    }
  }
  // Whether all taps of two groups have the same value(tap, first byte of its window).
  template <class F>
  bool alike(int64_t g, int64_t h, const F& value) const {
    for (int64_t l = 0; l < kWindowLanes; ++l) {
      for (int64_t w = 0; w < windows_; ++w) {
        const int64_t first = window(g, l, w).first, other_first = window(h, l, w).first;
        for (int64_t i = 0; i < kWindowSums; ++i) {
          for (int64_t t = 2 * w * pairs_of_window_; t < 2 * (w + 1) * pairs_of_window_; ++t) {
            const int64_t a = taps_.tap(result(g, l, i), t), b = taps_.tap(result(h, l, i), t);
            if ((a < 0) != (b < 0)) return false;
            if (a >= 0 && value(a, first) != value(b, other_first)) return false;
          }
        }
      }
    }
    return true;
  }

  void fill_picks(vec_u8* picks, int64_t g) const {
    for (int64_t q = 0; q < pairs_; ++q) {
      vec_u8 pick = vec_u8{} | 0x80;  // picks 0
      for (int64_t l = 0; l < kWindowLanes; ++l) {
        const int64_t first = window(g, l, q / pairs_of_window_).first;
        for (int64_t i = 0; i < 2 * kWindowSums; ++i) {
          const int64_t tap = taps_.tap(result(g, l, i / 2), 2 * q + i % 2);
          if (tap >= 0) pick[l * kWindowBytes + 2 * i] = static_cast<uint8_t>(width_.index[tap] - first);
        }
      }
      picks[q] = pick;
    }
  }
  void fill_weights(vec_i16* weights, const IntegerWeights& integers, int64_t g) const {
    for (int64_t q = 0; q < pairs_; ++q) {
      vec_i16 weight{};
      for (int64_t l = 0; l < kWindowLanes; ++l) {
        for (int64_t i = 0; i < 2 * kWindowSums; ++i) {
          const int64_t tap = taps_.tap(result(g, l, i / 2), 2 * q + i % 2);
          if (tap >= 0) weight[l * kWindowBytes / 2 + i] = integers.of(width_.weight[tap]);
        }
      }
      weights[q] = weight;
    }
  }

  const ByteTaps taps_;
  const AxisTaps<float>& width_;
  const int64_t pairs_, pairs_of_window_, windows_;
};

inline vec_u8 load_windows(const uint8_t* row, const int64_t* base) {
  bytes16 lane[kWindowLanes];
  for (int64_t l = 0; l < kWindowLanes; ++l) lane[l] = load_bits<bytes16>(row + base[l]);
  return join_lanes(lane);
}

inline vec_u8 rounded_sums(const vec_index<float>* sum, int bits) {
  return saturate_sums(sum[0] >> bits, sum[1] >> bits, sum[2] >> bits, sum[3] >> bits);
}

// `row` passes into `to`, which has room for whole vectors. kPairs, kPairsOfWindow: 0 where there may be any
// number.
template <int kPairs, int kPairsOfWindow>
inline void pass_windows(const WindowPlan& plan, const IntegerWeights& weights, const uint8_t* row,
                         uint8_t* to) {
  const int64_t pairs = kPairs > 0 ? kPairs : plan.pairs;
  const int64_t pairs_of_window = kPairsOfWindow > 0 ? kPairsOfWindow : plan.pairs_of_window;
  const vec_index<float> half = vec_index<float>{} + weights.half();
  const int64_t* base = plan.base;
  const WindowPlan::Group* group = plan.group;
  for (int64_t b = 0; b < plan.block_count; ++b, to += kVectorBytes) {
    vec_index<float> sum[kVectorsOfSums];
    for (int64_t i = 0; i < kVectorsOfSums; ++i, ++group) {
      const vec_u8* pick = plan.pick + group->pick;
      const vec_i16* weight = plan.weight + group->weight;
      sum[i] = half;
      for (int64_t q = 0; q < pairs; base += kWindowLanes) {
        const vec_u8 windows = load_windows(row, base);
        for (const int64_t end = smaller(q + pairs_of_window, pairs); q < end; ++q) {
          sum[i] += multiply_pairs((vec_i16)shuffle_in_lanes(windows, pick[q]), weight[q]);
        }
      }
    }
    store_bits(to, rounded_sums(sum, weights.bits()));
  }
}

inline void pass_windows(const WindowPlan& plan, const IntegerWeights& weights, const uint8_t* row,
                         uint8_t* to) {
  const auto pass = plan.pairs == 1             ? pass_windows<1, 1>
                    : plan.pairs != 2           ? pass_windows<0, 0>
                    : plan.pairs_of_window == 1 ? pass_windows<2, 1>
                                                : pass_windows<2, 2>;
  pass(plan, weights, row, to);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// What the passes of deconv_channels_last.h share: sums of pixels over lists of taps.
#pragma once

#include "deconv_sliding_sums.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The q-th pixel of a list reads source + q * step.
template <class T, class acc>
struct PixelTap {
  const T* source;
  const acc* weight;
};

template <bool kPart, class T>
inline vec<acc_of<T>> load_channels(const T* p, int64_t left) {
  return kPart ? load_part(p, left) : load(p);
}

// How a vector of sums is written: whole, only its first elements, or past the caches.
enum class Write : uint8_t { kWhole, kPart, kStream };

template <Write kWrite, class T, class V>
inline void write_channels(T* at, V sums, int64_t left) {
  if constexpr (kWrite == Write::kPart) {
    store_part(at, sums, left);
  } else if constexpr (kWrite == Write::kStream) {
    stream(at, sums);
  } else {
    store(at, sums);
  }
}

// out = start + sum over taps, for kPixels pixels and kVectors vectors of channels, `apart` elements from one
// to the next. The vectors of `start` and of the weights are read whole.
template <int kPixels, int kVectors, Write kWrite, class T, class U, class acc>
inline void sum_pixels(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t first,
                       const acc* start, U* out, int64_t out_step, int64_t c, int64_t left,
                       int64_t apart = lanes<acc>) {
  vec<acc> sums[kPixels][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    for (int i = 0; i < kPixels; ++i) sums[i][v] = load(start + c + v * apart);
  }
  for (int64_t t = 0; t < count; ++t) {
    const T* source = taps[t].source + first * step + c;
    vec<acc> weight[kVectors];
    for (int v = 0; v < kVectors; ++v) weight[v] = load(taps[t].weight + c + v * apart);
    for (int i = 0; i < kPixels; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        const vec<acc> samples = load_channels<kWrite == Write::kPart>(source + i * step + v * apart, left);
        sums[i][v] = multiply_add_vector(weight[v], samples, sums[i][v]);
      }
    }
  }
  for (int i = 0; i < kPixels; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      write_channels<kWrite>(out + (first + i) * out_step + c + v * apart, sums[i][v], left);
    }
  }
}

// All channels of kPixels pixels from `first` on. Streaming takes whole lines.
template <int kPixels, bool kStreams = false, class T, class U, class acc>
inline void sum_channels(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t first,
                         int64_t channels, const acc* start, U* out, int64_t out_step) {
  constexpr int64_t kVector = lanes<acc>;
  constexpr int kFew = 2;  // kPixels * kFew sums stay in registers
  constexpr int kMany = kStreams && kLineVectors<U, acc> > kFew ? kLineVectors<U, acc> : kFew;
  constexpr Write kWrite = kStreams ? Write::kStream : Write::kWhole;
  int64_t c = 0;
  for (; c + kMany * kVector <= channels; c += kMany * kVector) {
    sum_pixels<kPixels, kMany, kWrite>(taps, count, step, first, start, out, out_step, c, 0);
  }
  if (c == channels) return;
  const int64_t left = channels - c;
  if (left == kVector || kStreams) {
    sum_pixels<kPixels, 1, kWrite>(taps, count, step, first, start, out, out_step, c, 0);
  } else if (channels < kVector || static_cast<const void*>(start) == out) {
    for (; c < channels; c += kVector) {
      sum_pixels<kPixels, 1, Write::kPart>(taps, count, step, first, start, out, out_step, c,
                                           smaller(kVector, channels - c));
    }
  } else if (left > kVector) {  // the last vector overlaps the one before it: a masked store is slow
    sum_pixels<kPixels, kMany, Write::kWhole>(taps, count, step, first, start, out, out_step, c, 0,
                                              left - kVector);
  } else {
    sum_pixels<kPixels, 1, Write::kWhole>(taps, count, step, first, start, out, out_step, channels - kVector,
                                          0);
  }
}

constexpr int64_t kPixelGroup = 4;
// Of a run (sum_run_of_channels).
constexpr int64_t kMostTapsOfRun = 4, kMostPixelsOfRun = 32;

// Of two neighbouring phases, or one: the taps of a pixel of the first and then those of the second, and how
// far apart their outputs are.
template <int kFirst, int kSecond>
struct PhasePair {
  static constexpr bool kBoth = kSecond > 0;
  int64_t apart;
};

// kVectors vectors of channels from c on of pixels first .. end of both phases, whose weights and pointers
// stay in registers, which inlined they do not.
template <Write kWrite, int kVectors, int kFirst, int kSecond, class T, class U, class acc>
[[gnu::noinline]] void sum_run_of_channels(PhasePair<kFirst, kSecond> pair, const PixelTap<T, acc>* taps,
                                           int64_t step, int64_t first, int64_t end, const acc* start, U* out,
                                           int64_t out_step, int64_t c) {
  constexpr int kTaps = kFirst + kSecond;
  vec<acc> weight[kTaps][kVectors], start_sum[kVectors];
  const T* source[kTaps];
  for (int t = 0; t < kTaps; ++t) {
    for (int v = 0; v < kVectors; ++v) weight[t][v] = load(taps[t].weight + c + v * lanes<acc>);
    source[t] = taps[t].source + first * step + c;
  }
  for (int v = 0; v < kVectors; ++v) start_sum[v] = load(start + c + v * lanes<acc>);
  U* at = out + first * out_step + c;
  for (int64_t pixel = first, q = 0; pixel < end; ++pixel, q += step, at += out_step) {
    const auto write_sums = [&](U* to, int begin, int count) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        vec<acc> sum = start_sum[v];
        for (int t = begin; t < begin + count; ++t) {
          sum = multiply_add_vector(weight[t][v], load(source[t] + q + v * lanes<acc>), sum);
        }
        write_channels<kWrite>(to + v * lanes<acc>, sum, 0);
      }
    };
    write_sums(at, 0, kFirst);
    if constexpr (kSecond > 0) write_sums(at + pair.apart, kFirst, kSecond);
  }
}

// All channels, at least a vector of them, of pixels first .. end of both phases. The last vector may overlap
// the one before it: a masked store is slow. Streaming writes whole lines.
template <bool kStreams, class Pair, class T, class U, class acc>
inline void sum_run(Pair pair, const PixelTap<T, acc>* taps, int64_t step, int64_t first, int64_t end,
                    int64_t channels, const acc* start, U* out, int64_t out_step) {
  constexpr Write kWrite = kStreams ? Write::kStream : Write::kWhole;
  constexpr int kVectors = kStreams ? kLineVectors<U, acc> : 1;
  for (int64_t c = 0; c < channels; c += kVectors * lanes<acc>) {
    sum_run_of_channels<kWrite, kVectors>(pair, taps, step, first, end, start, out, out_step,
                                          smaller(c, channels - kVectors * lanes<acc>));
  }
}

// f(PhasePair) of phases of `first` and `second` taps; false if there are no loops for the first. Without any
// for the second, the first is taken alone.
template <class F>
inline bool with_phase_pair(int64_t first, int64_t second, int64_t apart, F&& f) {
  const auto with_first = [&](auto taps, auto half, auto twice) {
    constexpr int kFirst = decltype(taps)::value, kHalf = decltype(half)::value,
                  kTwice = decltype(twice)::value;
    if (second == kFirst) {
      f(PhasePair<kFirst, kFirst>{apart});
    } else if (kHalf > 0 && second == kHalf) {
      f(PhasePair<kFirst, kHalf>{apart});
    } else if (kTwice > 0 && second == kTwice) {
      f(PhasePair<kFirst, kTwice>{apart});
    } else {
      f(PhasePair<kFirst, 0>{apart});
    }
    return true;
  };
  if (first == 1) return with_first(Constant<1>{}, Constant<0>{}, Constant<2>{});
  if (first == 2) return with_first(Constant<2>{}, Constant<1>{}, Constant<4>{});
  if (first == 4) return with_first(Constant<4>{}, Constant<2>{}, Constant<0>{});
  return false;
}

// Prefetches lines that will soon be read (into the L2 cache: rows are longer than L1) or written (kWrite =
// 1): the groups of pixels jump between phases, rows and channels, which the hardware prefetcher does not
// follow.
template <int kWrite, class T>
inline void fetch_ahead(const T* p, int64_t count) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(p + i, kWrite, kWrite ? 3 : 2);
}

// All channels of pixels begin .. end.
template <bool kStreams = false, class T, class U, class acc>
inline void sum_taps(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t begin, int64_t end,
                     int64_t channels, const acc* start, U* out, int64_t out_step) {
  constexpr int64_t kLeastRun = 2 * kPixelGroup;
  const auto run = [&](auto alone) {
    sum_run<kStreams>(alone, taps, step, begin, end, channels, start, out, out_step);
  };
  if (end - begin >= kLeastRun && channels >= lanes<acc> && with_phase_pair(count, 0, 0, run)) return;
  int64_t q = begin;
  for (; q + kPixelGroup <= end; q += kPixelGroup) {
    sum_channels<kPixelGroup, kStreams>(taps, count, step, q, channels, start, out, out_step);
  }
  for (; q < end; ++q) sum_channels<1, kStreams>(taps, count, step, q, channels, start, out, out_step);
}

// Calls sum(count, q) for groups of neighbouring pixels from begin to end, of `pixel_bytes` each on the
// larger side; the last may overlap the one before it. Returns whether there were as many as a group.
template <class Sum>
inline bool each_sliding_group(int64_t begin, int64_t end, int64_t pixel_bytes, Sum sum) {
  if (end - begin < kLeastSliding) return false;
  constexpr int64_t kGroupBytes = 8192;  // a quarter of the first cache: the next group is fetched ahead
  const int64_t most = clamp(kGroupBytes / pixel_bytes, kLeastSliding, kMostSliding);
  const int64_t count = sliding_count(end - begin, most);
  for (int64_t q = begin; q < end; q += count) sum(count, smaller(q, end - count));
  return true;
}

// A row of the kernel and the row of the image that it multiplies.
template <class T>
struct RowTap {
  const T* row;
  int64_t k;
};

template <class T, class acc>
struct ChannelsLastScratch {
  RowTap<T>* rows;
  PixelTap<T, acc>* taps;
  SlidingLine<T, acc>* lines;
  acc* pixel;
  acc* sums;       // backward_weight: [column][channel of the block]
  double* totals;  // the same
};
template <class acc>
constexpr int64_t weight_block = 2 * lanes<acc>;  // channels
template <class T, class acc>
inline ChannelsLastScratch<T, acc> channels_last_scratch(const DeconvParams& p, Arrays& arrays) {
  ChannelsLastScratch<T, acc> scratch;
  scratch.rows = arrays.take<RowTap<T>>(p.height.kernel_size);
  scratch.taps = arrays.take<PixelTap<T, acc>>(p.height.kernel_size * p.width.kernel_size);
  scratch.lines = arrays.take<SlidingLine<T, acc>>(p.height.kernel_size * p.width.kernel_size);
  scratch.pixel = arrays.take<acc>(p.channels + lanes<acc>);
  scratch.sums = arrays.take<acc>(p.width.kernel_size * weight_block<acc>);
  scratch.totals = arrays.take<double>(p.width.kernel_size * weight_block<acc>);
  return scratch;
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

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
      U* at = out + (first + i) * out_step + c + v * apart;
      if constexpr (kWrite == Write::kPart) {
        store_part(at, sums[i][v], left);
      } else if constexpr (kWrite == Write::kStream) {
        stream(at, sums[i][v]);
      } else {
        store(at, sums[i][v]);
      }
    }
  }
}

// All channels of kPixels pixels from `first` on. Streaming takes whole vectors, which are aligned.
template <int kPixels, bool kStreams = false, class T, class U, class acc>
inline void sum_channels(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t first,
                         int64_t channels, const acc* start, U* out, int64_t out_step) {
  constexpr int64_t kVector = lanes<acc>;
  constexpr int kMany = 2;  // kPixels * kMany sums stay in registers
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

// Prefetches lines that will soon be read (into the L2 cache: rows are longer than L1) or written (kWrite =
// 1): the groups of pixels jump between phases, rows and channels, which the hardware prefetcher does not
// follow.
template <int kWrite, class T>
inline void fetch_ahead(const T* p, int64_t count) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(p + i, kWrite, kWrite ? 3 : 2);
}

// All channels of pixels begin .. end.
template <class T, class U, class acc>
inline void sum_taps(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t begin, int64_t end,
                     int64_t channels, const acc* start, U* out, int64_t out_step) {
  int64_t q = begin;
  for (; q + kPixelGroup <= end; q += kPixelGroup) {
    sum_channels<kPixelGroup>(taps, count, step, q, channels, start, out, out_step);
  }
  for (; q < end; ++q) sum_channels<1>(taps, count, step, q, channels, start, out, out_step);
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

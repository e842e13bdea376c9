// Pixels of a few adjacent channels to planes, as an (H, W, C) array of numpy becomes an NCHW result.
//
// A result row of all channels is made at once: the sum of its source rows is split into a row of each plane
// on its way to a buffer, from which the horizontal pass goes on. Where the columns that are read are far
// apart, the pixels of the result are taken one by one instead, into a row of pixels of four lanes, and that
// row is split as it is written.
#pragma once

#include "resample_bytes.h"
#include "resample_channels_last.h"
#include "resample_planar.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class acc>
inline int64_t pixel_row_bytes(const ResampleParams<acc>& p) {
  return whole_vectors(p.width.out_size * static_cast<int64_t>(sizeof(typename SmallPixel<acc>::type))) +
         kFewChannels * kVectorBytes;
}

// How many result rows are split before the first is read: what about half of the first cache holds.
template <class acc>
inline int64_t split_batch(const ResampleParams<acc>& p) {
  constexpr int64_t kMostBytes = 24 << 10;
  return larger(1, smaller(kRowBatch, kMostBytes / (p.channels * planar_row_bytes(p))));
}

template <class T, class E, class acc>
int64_t split_scratch_bytes(const ResampleParams<acc>& p) {
  if (p.split == Split::kPixels) return pixel_row_bytes(p);
  const int64_t rows = p.channels * planar_row_bytes(p);
  return widens_bytes<T, E>(p) ? rows + fixed_rows_bytes(p.width.out_size, p.channels)
                               : split_batch(p) * rows;
}

// planes[c * plane + x] = channel c of pixel x, x < pixels, of the sum over the taps t of
// weight[t] * input[index[t] * row_stride + ...].
template <int kChannels, class T, class acc>
inline void split_pixels(acc* planes, int64_t plane, const T* input, int64_t row_stride, int64_t pixels,
                         const int64_t* index, const acc* weight, int64_t taps) {
  using Pixels = PixelVectors<kChannels, vec<acc>>;
  const auto store_planes = [&](int64_t x, const Pixels& v) {
    const Pixels split = split_channels(v);
    for (int c = 0; c < kChannels; ++c) store(planes + c * plane + x, split.of[c]);
  };
  const auto each_block = [&](auto&& vector) {
    int64_t x = 0;
    while (x + lanes<acc> <= pixels) {
      Pixels v;
      for (int i = 0; i < kChannels; ++i) v.of[i] = vector(x * kChannels + i * lanes<acc>);
      store_planes(x, v);
      x += lanes<acc>;
      // The remainder is whole vectors too, which overlap those before.
      if (x < pixels && x + lanes<acc> > pixels) x = pixels - lanes<acc>;
    }
    if (x == pixels) return;
    Pixels v;
    for (int i = 0; i < kChannels; ++i) {
      const int64_t first = i * lanes<acc>, left = larger(0, pixels * kChannels - first);
      v.of[i] = blend_vector<true>(input + smaller(first, pixels * kChannels), row_stride,
                                   smaller(left, lanes<acc>), index, weight, taps);
    }
    store_planes(0, v);
  };
  const T *row0 = input + index[0] * row_stride, *row1 = input + index[taps - 1] * row_stride;
  const vec<acc> weight0 = splat(weight[0]), weight1 = splat(weight[taps - 1]);
  if (taps == 1) {
    each_block([&](int64_t i) { return weight0 * load(row0 + i); });
  } else if (taps == 2) {
    each_block(
        [&](int64_t i) { return multiply_add_vector(weight1, load(row1 + i), weight0 * load(row0 + i)); });
  } else {
    each_block([&](int64_t i) {
      return blend_vector<false>(input + i, row_stride, lanes<acc>, index, weight, taps);
    });
  }
}

// The same for the pixels of p.x. Not inlined, so that epilogues share it.
template <class T, class acc>
[[gnu::noinline]] void split_rows(const ResampleParams<acc>& p, acc* planes, int64_t plane, const T* input,
                                  const int64_t* index, const acc* weight, int64_t taps) {
  const auto split = p.channels == 2   ? split_pixels<2, T, acc>
                     : p.channels == 3 ? split_pixels<3, T, acc>
                                       : split_pixels<4, T, acc>;
  split(planes, plane, input, p.x_strides.height, p.width.in_size, index, weight, taps);
}

// Result rows oy .. oy + count, which fit the scratch: each plane's are then written one after the other.
template <class T, class E, class acc>
inline void resample_split_rows(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                                int64_t oy, int64_t count, char* scratch) {
  const int64_t plane = planar_row_bytes(p) / static_cast<int64_t>(sizeof(acc));
  const auto planes = [&](int64_t i) { return reinterpret_cast<acc*>(scratch) + i * p.channels * plane; };
  for (int64_t i = 0; i < count; ++i) {
    if (is_zero(p, oy + i)) continue;
    const int64_t t = p.height.offset[oy + i], taps = p.height.offset[oy + i + 1] - t;
    split_rows(p, planes(i), plane, in, p.height.index + t, p.height.weight + t, taps);
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t i = 0; i < count; ++i) {
      typename E::result* to = out + c * p.y_strides.channel + (oy + i) * p.y_strides.height;
      if (is_zero(p, oy + i)) {
        zero_row(p, finish, to);
      } else {
        write_row_columns(p, finish, to, planes(i) + c * plane);
      }
    }
  }
}

// The pixels of result row oy, of four lanes each. Not inlined, so that epilogues share it.
template <class T, class acc>
[[gnu::noinline]] void interpolate_row_of_pixels(const ResampleParams<acc>& p, const T* in, int64_t oy,
                                                 acc* pixels) {
  const auto rows = small_pixel_rows(p, in, oy);
  const TwoTapRows<acc> width(p.width);
  const auto keep = [&](int64_t ox, auto pixel) { store_bits(pixels + ox * kFewChannels, pixel); };
  const int64_t careful = first_careful_pixel(width);
  interpolate_small_pixels<false>(rows, width, 0, careful, keep);
  interpolate_small_pixels<true>(rows, width, careful, width.out_size, keep);
}

// Result row oy, pixel by pixel.
template <class T, class E, class acc>
inline void resample_split_pixels(const ResampleParams<acc>& p, E finish, const T* in,
                                  typename E::result* out, int64_t oy, char* scratch) {
  acc* pixels = reinterpret_cast<acc*>(scratch);
  interpolate_row_of_pixels(p, in, oy, pixels);
  out += oy * p.y_strides.height;
  for (int64_t ox = 0; ox < p.width.out_size; ox += lanes<acc>) {
    PixelVectors<kFewChannels, vec<acc>> v;
    for (int64_t i = 0; i < kFewChannels; ++i) v.of[i] = load(pixels + ox * kFewChannels + i * lanes<acc>);
    const auto split = split_channels(v);
    const int64_t count = smaller(lanes<acc>, p.width.out_size - ox);
    for (int c = 0; c < kFewChannels; ++c) {
      if (c >= p.channels) break;
      typename E::result* to = out + c * p.y_strides.channel + ox;
      if (count == lanes<acc>) {
        finish.template put<Put::kStore>(to, split.of[c], count);
      } else {
        finish.template put<Put::kPart>(to, split.of[c], count);
      }
    }
  }
}

template <class T, class E, class acc>
inline void resample_split_image(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                                 int64_t begin, int64_t end, char* scratch) {
  if (p.split == Split::kPixels) {
    for (int64_t oy = begin; oy < end; ++oy) {
      resample_split_pixels(p, finish, in, out, oy, scratch);
    }
    return;
  }
  if constexpr (is_byte_resize<T, E>) {
    if (widens_bytes<T, E>(p)) {
      const int64_t plane = planar_row_bytes(p) / static_cast<int64_t>(sizeof(acc));
      acc* planes = reinterpret_cast<acc*>(scratch);
      FixedRows<acc> rows(p, p.channels, p.width.out_size, scratch + p.channels * planar_row_bytes(p));
      const auto make = [&](int64_t row, int16_t* to) {
        const acc one = 1;
        split_rows(p, planes, plane, in, &row, &one, 1);
        for (int64_t c = 0; c < p.channels; ++c) {
          write_fixed_row(p, to + c * rows.size(), planes + c * plane);
        }
      };
      return rows.write(out, begin, end, make, join_bytes);
    }
  }
  const int64_t batch = split_batch(p);
  for (int64_t oy = begin; oy < end; oy += batch) {
    resample_split_rows(p, finish, in, out, oy, smaller(batch, end - oy), scratch);
  }
}

// Rows are (n, result row).
template <class T, class E, class acc>
inline void resample_split(const ResampleParams<acc>& p, int64_t begin, int64_t end, char* scratch) {
  const int64_t height = p.height.out_size;
  const E finish = epilogue_of<E>(p);
  for (int64_t row = begin; row < end;) {
    const int64_t n = row / height, first = row % height, last = smaller(height, first + end - row);
    const T* in = static_cast<const T*>(p.x) + n * p.x_strides.batch;
    typename E::result* out = static_cast<typename E::result*>(p.y) + n * p.y_strides.batch;
    resample_split_image(p, finish, in, out, first, last, scratch);
    row += last - first;
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

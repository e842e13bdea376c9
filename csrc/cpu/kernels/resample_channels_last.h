// Channels-last images: vectors run over the channels of a pixel.
//
// Interpolation goes straight from the input to the output: result pixels between the same four corners, two
// rows of up to four, are computed from one load of each corner. Everything else sums its source rows into a
// buffer first, a tile of channels at a time so that it stays in cache, and then sums pixels of the buffer.
#pragma once

#include "vertical.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// ---- interpolation --------------------------------------------------------------------------------------

// Four columns need more registers than SSE2 has: without FMA, products take one each.
constexpr int kTileRows = 2, kTileColumns = UPSAMPLE_HAS_FMA ? 4 : 2;

// Result pixels, rows by columns, between the same four corners.
template <class T, class E, class acc>
struct PixelTile {
  explicit PixelTile(E epilogue) : finish(epilogue) {}

  E finish;
  const T *corner00, *corner01, *corner10, *corner11;
  typename E::result* out[kTileRows];
  int64_t column_stride;
  acc down0[kTileRows], down1[kTileRows], across0[kTileColumns], across1[kTileColumns];
};

// A tile's rows and columns in registers, where no store can change them.
template <int kRows, int kColumns, class T, class E, class acc>
struct TileVectors {
  explicit TileVectors(const PixelTile<T, E, acc>& tile)
      : finish(tile.finish),
        corner00(tile.corner00),
        corner01(tile.corner01),
        corner10(tile.corner10),
        corner11(tile.corner11),
        column_stride(tile.column_stride) {
    // Unrolled here, because g++ 12 for aarch64 loses track at -O2 of what out[r] points to, once it computes
    // its address from that of down0[r]: it takes the function for one that writes nothing, and drops its
    // calls.
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      out[r] = tile.out[r];
      down0[r] = splat(tile.down0[r]);
      down1[r] = splat(tile.down1[r]);
    }
    for (int s = 0; s < kColumns; ++s) {
      across0[s] = splat(tile.across0[s]);
      across1[s] = splat(tile.across1[s]);
    }
  }

  const E finish;
  const T *const corner00, *const corner01, *const corner10, *const corner11;
  const int64_t column_stride;
  typename E::result* out[kRows];
  vec<acc> down0[kRows], down1[kRows], across0[kColumns], across1[kColumns];
};

// kVectors vectors of channels from c on, or `count` channels of one.
template <Put kPut, int kVectors = 1, int kRows, int kColumns, class T, class E, class acc>
[[gnu::always_inline]] inline void interpolate_channels(const TileVectors<kRows, kColumns, T, E, acc>& tile,
                                                        int64_t c, int64_t count) {
  constexpr bool kPart = kPut == Put::kPart;
  vec<acc> corner00[kVectors], corner01[kVectors], corner10[kVectors], corner11[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = c + v * lanes<acc>;
    corner00[v] = load_some<kPart>(tile.corner00 + at, count);
    corner01[v] = load_some<kPart>(tile.corner01 + at, count);
    corner10[v] = load_some<kPart>(tile.corner10 + at, count);
    corner11[v] = load_some<kPart>(tile.corner11 + at, count);
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    vec<acc> left[kVectors], right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      left[v] = multiply_add_vector(tile.down1[r], corner10[v], tile.down0[r] * corner00[v]);
      right[v] = multiply_add_vector(tile.down1[r], corner11[v], tile.down0[r] * corner01[v]);
    }
#pragma GCC unroll 4
    for (int s = 0; s < kColumns; ++s) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const vec<acc> sum = multiply_add_vector(tile.across1[s], right[v], tile.across0[s] * left[v]);
        tile.finish.template put<kPut>(tile.out[r] + s * tile.column_stride + c + v * lanes<acc>, sum, count);
      }
    }
  }
}

template <int kRows, int kColumns, class T, class E, class acc>
inline void interpolate_pixels(const PixelTile<T, E, acc>& of, int64_t channels, bool streams) {
  const TileVectors<kRows, kColumns, T, E, acc> tile(of);
  int64_t c = 0;
  if (streams) {
    constexpr int kVectors = kLineVectors<typename E::result, acc>;
    for (; c < channels; c += kVectors * lanes<acc>) {
      interpolate_channels<Put::kStream, kVectors>(tile, c, lanes<acc>);
    }
    return;
  }
  for (; c + lanes<acc> <= channels; c += lanes<acc>) {
    interpolate_channels<Put::kStore>(tile, c, lanes<acc>);
  }
  if (c == channels) return;
  if (c > 0 && tile.finish.repeats()) {  // the remainder as a whole vector too, overlapping the one before
    interpolate_channels<Put::kStore>(tile, channels - lanes<acc>, lanes<acc>);
  } else {
    interpolate_channels<Put::kPart>(tile, c, channels - c);
  }
}

template <int kRows, class T, class E, class acc>
inline void interpolate_columns(const PixelTile<T, E, acc>& tile, int columns, int64_t channels,
                                bool streams) {
  if constexpr (kTileColumns == 4) {
    if (columns == 4) return interpolate_pixels<kRows, 4>(tile, channels, streams);
  }
  if (columns == 2) return interpolate_pixels<kRows, 2>(tile, channels, streams);
  interpolate_pixels<kRows, 1>(tile, channels, streams);
}

// How many outputs from `o` on have two taps, and the same ones; at most `most`, and a power of two.
template <class acc>
inline int alike_outputs(const AxisTaps<acc>& axis, int64_t o, int64_t end, int most) {
  const int64_t* index = axis.index + axis.offset[o];
  int count = 1;
  while (count < most && o + count < end && axis.offset[o + count + 1] - axis.offset[o + count] == 2) {
    const int64_t* next = axis.index + axis.offset[o + count];
    if (next[0] != index[0] || next[1] != index[1]) break;
    ++count;
  }
  return count == 3 ? 2 : count;
}

// Result rows oy .. oy + rows, which read the same two source rows.
template <class T, class E, class acc>
inline void interpolate_pixel_rows(const ResampleParams<acc>& p, E finish, const T* in,
                                   typename E::result* out, int64_t oy, int rows) {
  const int64_t ty = p.height.offset[oy];
  PixelTile<T, E, acc> tile(finish);
  tile.column_stride = p.y_strides.width;
  bool streams = p.stream && is_whole_lines<typename E::result>(p.channels | p.y_strides.width);
  for (int r = 0; r < rows; ++r) {
    tile.down0[r] = p.height.weight[ty + 2 * r];
    tile.down1[r] = p.height.weight[ty + 2 * r + 1];
    streams = streams && starts_line(out + (oy + r) * p.y_strides.height);
  }
  const T *row0 = in + p.height.index[ty] * p.x_strides.height,
          *row1 = in + p.height.index[ty + 1] * p.x_strides.height;
  // Of pixels that are skipped, and of the rows between, the hardware expects none.
  constexpr int64_t kPixelsAhead = 8, kShort = 4 * 64 / static_cast<int64_t>(sizeof(T));
  const bool asks = p.width.in_size > p.width.out_size && p.channels <= kShort;
  for (int64_t ox = 0; ox < p.width.out_size;) {
    const int columns = alike_outputs(p.width, ox, p.width.out_size, kTileColumns);
    const int64_t tx = p.width.offset[ox], x0 = p.width.index[tx] * p.x_strides.width;
    const int64_t x1 = p.width.index[tx + 1] * p.x_strides.width;
    if (asks) {
      const int64_t next = p.width.offset[smaller(ox + kPixelsAhead, p.width.out_size - 1)];
      const int64_t ahead = p.width.index[next] * p.x_strides.width;
      for (int64_t c = 0; c < p.channels + p.x_strides.width; c += 64 / static_cast<int64_t>(sizeof(T))) {
        __builtin_prefetch(row0 + ahead + c);
        __builtin_prefetch(row1 + ahead + c);
      }
    }
    tile.corner00 = row0 + x0, tile.corner01 = row0 + x1;
    tile.corner10 = row1 + x0, tile.corner11 = row1 + x1;
    for (int s = 0; s < columns; ++s) {
      tile.across0[s] = p.width.weight[tx + 2 * s];
      tile.across1[s] = p.width.weight[tx + 2 * s + 1];
    }
    for (int r = 0; r < rows; ++r) tile.out[r] = out + (oy + r) * p.y_strides.height + ox * p.y_strides.width;
    if (rows == 2) {
      interpolate_columns<2>(tile, columns, p.channels, streams);
    } else {
      interpolate_columns<1>(tile, columns, p.channels, streams);
    }
    ox += columns;
  }
}

// ---- interpolation of pixels with few channels, far apart -----------------------------------------------
//
// Four lanes hold a pixel. (If close together, such pixels are better treated as an interleaved row.)

template <class acc>
struct SmallPixel {
  typedef acc type __attribute__((vector_size(4 * sizeof(acc))));
};

template <class T>
constexpr bool is_half = false;
template <>
constexpr bool is_half<half_t> = true;

template <class acc, class T>
inline typename SmallPixel<acc>::type load_pixel(const T* p) {
  if constexpr (sizeof(T) == sizeof(acc)) {
    return load_bits<typename SmallPixel<acc>::type>(p);
  } else if constexpr (UPSAMPLE_VECTOR_BYTES == 16 && sizeof(T) == 1) {
    return load(p);
#if UPSAMPLE_VECTOR_BYTES >= 32
  } else if constexpr (sizeof(T) == 1) {
    const __m128i bytes = _mm_cvtsi32_si128(load_bits<int>(p));
    return (typename SmallPixel<acc>::type)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(bytes));
  } else if constexpr (sizeof(T) == 2) {
    const __m128i words = _mm_loadl_epi64((const __m128i*)p);
    if constexpr (is_half<T>) return (typename SmallPixel<acc>::type)_mm_cvtph_ps(words);
    return (typename SmallPixel<acc>::type)_mm_slli_epi32(_mm_cvtepu16_epi32(words), 16);
#endif
  } else if constexpr (sizeof(typename SmallPixel<acc>::type) == kVectorBytes) {
    return load(p);
  } else {
    return typename SmallPixel<acc>::type{to_acc(p[0]), to_acc(p[1]), to_acc(p[2]), to_acc(p[3])};
  }
}

// The pixel at `p`, which may be the last of the tensor: nothing beyond its channels is read.
template <class acc, class T>
inline typename SmallPixel<acc>::type load_last_pixel(const T* p, int64_t channels) {
  T values[kFewChannels] = {};
  for (int64_t c = 0; c < channels; ++c) values[c] = p[c];
  return load_pixel<acc>(values);
}

// Writes all four lanes if the next pixel, written later, overwrites those that do not belong to this one.
template <class E, class V>
inline void put_pixel(E finish, typename E::result* p, V v, int64_t channels, bool whole) {
  if constexpr (E::kUnchanged && sizeof(typename E::result) == 1) {
    if constexpr (sizeof v == sizeof(vec<float>)) {
      if (whole) return store(p, v);
    } else if (whole) {
      typedef uint8_t packed __attribute__((vector_size(4)));
      typedef int32_t integers __attribute__((vector_size(16)));
      // Between the smallest and the largest of four bytes: nothing to clamp.
      return store_bits(p, __builtin_convertvector(__builtin_convertvector(v + 0.5f, integers), packed));
    }
  } else if constexpr (E::kUnchanged && sizeof(typename E::result) == sizeof(v[0])) {
    if (whole) return store_bits(p, v);
  }
  for (int64_t c = 0; c < channels; ++c) finish.put_one(p + c, v[c]);
}

// What a result row of small pixels is made of: two source rows, and their weights.
template <class T, class acc>
struct SmallPixelRows {
  const T *row0, *row1;
  int64_t channels, stride, last;  // the last pixel of a row may be the last of the tensor
  acc down0, down1;

  // Pixel x of the two rows' sum; kLast: it may be the last.
  template <bool kLast>
  typename SmallPixel<acc>::type blend(int64_t x) const {
    using Pixel = typename SmallPixel<acc>::type;
    const T *p0 = row0 + x * stride, *p1 = row1 + x * stride;
    const Pixel above = Pixel{} + down0, below = Pixel{} + down1;
    if (kLast && x == last) {
      return multiply_add_vector(below, load_last_pixel<acc>(p1, channels),
                                 above * load_last_pixel<acc>(p0, channels));
    }
    return multiply_add_vector(below, load_pixel<acc>(p1), above * load_pixel<acc>(p0));
  }
};

// put(ox, pixel) for the result pixels begin .. end.
template <bool kLast, class T, class acc, class Sink>
inline void interpolate_small_pixels(const SmallPixelRows<T, acc>& rows, const TwoTapRows<acc>& width,
                                     int64_t begin, int64_t end, Sink&& put) {
  using Pixel = typename SmallPixel<acc>::type;
  for (int64_t ox = begin; ox < end; ++ox) {
    const Pixel left = width.first_weight(ox) * rows.template blend<kLast>(width.first(ox));
    const Pixel right = rows.template blend<kLast>(width.second(ox));
    put(ox, multiply_add_vector(Pixel{} + width.second_weight(ox), right, left));
  }
}

// The result pixels before this one do not read the last pixel of a row, and are not the last themselves.
template <class acc>
inline int64_t first_careful_pixel(const TwoTapRows<acc>& width) {
  int64_t careful = width.out_size - 1;
  while (careful > 0 && width.second(careful - 1) == width.in_size - 1) --careful;
  return careful;
}

// Result row oy, which has two taps.
template <class T, class acc>
inline SmallPixelRows<T, acc> small_pixel_rows(const ResampleParams<acc>& p, const T* in, int64_t oy) {
  const int64_t t = p.height.offset[oy];
  const int64_t *index = p.height.index + t, stride = p.x_strides.height;
  return {in + index[0] * stride, in + index[1] * stride, p.channels, p.x_strides.width, p.width.in_size - 1,
          p.height.weight[t],     p.height.weight[t + 1]};
}

template <class T, class E, class acc>
inline void interpolate_small_row(const ResampleParams<acc>& p, E finish, const SmallPixelRows<T, acc>& rows,
                                  typename E::result* out) {
  const TwoTapRows<acc> width(p.width);
  const int64_t careful = first_careful_pixel(width), stride = p.y_strides.width;
  const bool dense = stride == p.channels;
  interpolate_small_pixels<false>(rows, width, 0, careful, [&](int64_t ox, auto pixel) {
    put_pixel(finish, out + ox * stride, pixel, p.channels, dense);
  });
  interpolate_small_pixels<true>(rows, width, careful, width.out_size, [&](int64_t ox, auto pixel) {
    put_pixel(finish, out + ox * stride, pixel, p.channels, dense && ox + 1 < width.out_size);
  });
}

// ---- any tables -----------------------------------------------------------------------------------------

// Sized for the L2 cache: a tile that fits the L1 cache makes too short a stream per pixel.
constexpr int64_t kTileBytes = 256 << 10;

// Channels taken at a time.
template <class acc>
inline int64_t channel_tile(const ResampleParams<acc>& p) {
  const int64_t fit = kTileBytes / (static_cast<int64_t>(sizeof(acc)) * p.width.in_size);
  const int64_t most = larger(fit, 4 * lanes<acc>);
  if (p.channels <= most) return p.channels;
  const int64_t tiles = (p.channels + most - 1) / most;  // of equal size: none is too thin for vectors
  const int64_t even = (p.channels + tiles - 1) / tiles;
  return (even + lanes<acc> - 1) / lanes<acc> * lanes<acc>;
}

template <class acc>
inline int64_t channels_last_row_bytes(const ResampleParams<acc>& p) {
  return whole_vectors((p.width.in_size * channel_tile(p) + lanes<acc>)*static_cast<int64_t>(sizeof(acc)));
}

// Whether rows that have two taps are interpolated from their two source rows directly.
template <class acc>
inline bool interpolates_pixels(const ResampleParams<acc>& p) {
  return p.height.interpolates && p.width.taps_per_row == 2;
}

template <class acc>
int64_t channels_last_scratch_bytes(const ResampleParams<acc>& p) {
  if (interpolates_pixels(p) && p.height.taps_per_row == 2) return 0;
  return 2 * channels_last_row_bytes(p);
}

// out[c] = sum over the taps of column o of row[index * tile + c], c < tile.
template <Put kPut, class E, class acc>
inline void sum_pixel_channels(E finish, typename E::result* out, const acc* row, int64_t tile,
                               const AxisTaps<acc>& axis, int64_t o, int64_t c, int64_t count) {
  const int64_t begin = axis.offset[o], end = axis.offset[o + 1];
  vec<acc> sum{};
  if (begin < end) sum = splat(axis.weight[begin]) * load(row + axis.index[begin] * tile + c);
  for (int64_t t = begin + 1; t < end; ++t) {
    sum = multiply_add_vector(splat(axis.weight[t]), load(row + axis.index[t] * tile + c), sum);
  }
  finish.template put<kPut>(out + c, sum, count);
}

// The row is padded by one vector.
template <class E, class acc>
inline void write_pixel(E finish, typename E::result* out, bool streams, const acc* row, int64_t tile,
                        const AxisTaps<acc>& axis, int64_t o) {
  int64_t c = 0;
  if (streams) {
    for (; c < tile; c += lanes<acc>)
      sum_pixel_channels<Put::kStream>(finish, out, row, tile, axis, o, c, lanes<acc>);
    return;
  }
  for (; c + lanes<acc> <= tile; c += lanes<acc>) {
    sum_pixel_channels<Put::kStore>(finish, out, row, tile, axis, o, c, lanes<acc>);
  }
  if (c < tile) sum_pixel_channels<Put::kPart>(finish, out, row, tile, axis, o, c, tile - c);
}

// The same of kTaps, whose weights stay in registers.
template <int kTaps, class E, class acc>
inline void write_pixel_of(E finish, typename E::result* out, bool streams, const acc* row, int64_t tile,
                           const AxisTaps<acc>& axis, int64_t o) {
  const acc* source[kTaps];
  vec<acc> factor[kTaps];
  for (int t = 0; t < kTaps; ++t) {
    source[t] = row + axis.index[axis.offset[o] + t] * tile;
    factor[t] = splat(axis.weight[axis.offset[o] + t]);
  }
  const auto sum_at = [&](int64_t c) {
    vec<acc> sum = factor[0] * load(source[0] + c);
    for (int t = 1; t < kTaps; ++t) sum = multiply_add_vector(factor[t], load(source[t] + c), sum);
    return sum;
  };
  int64_t c = 0;
  if (streams) {
    for (; c < tile; c += lanes<acc>) finish.template put<Put::kStream>(out + c, sum_at(c), lanes<acc>);
    return;
  }
  for (; c + lanes<acc> <= tile; c += lanes<acc>) {
    finish.template put<Put::kStore>(out + c, sum_at(c), lanes<acc>);
  }
  if (c < tile) finish.template put<Put::kPart>(out + c, sum_at(c), tile - c);
}

// A row without taps: zeros.
template <class R, class acc>
inline void zero_pixels(const ResampleParams<acc>& p, R* row, int64_t tile) {
  const bool dense = p.y_strides.width == tile;
  const int64_t pieces = dense ? 1 : p.width.out_size, length = dense ? p.width.out_size * tile : tile;
  for (int64_t i = 0; i < pieces; ++i) {
    __builtin_memset(row + i * p.y_strides.width, 0, static_cast<size_t>(length) * sizeof(R));
  }
}

// Result columns begin .. end, and the source columns that they read.
struct ColumnRange {
  int64_t begin, end, source, source_end;
};

// The columns from `begin` on whose sources a buffer of kTileBytes holds, at `tile` channels each; some at
// least.
template <class acc>
inline ColumnRange columns_from(const ResampleParams<acc>& p, int64_t begin, int64_t tile) {
  const int64_t most = larger(8, kTileBytes / (static_cast<int64_t>(sizeof(acc)) * tile));
  if (p.width.in_size <= most) return {begin, p.width.out_size, 0, p.width.in_size};
  ColumnRange range{begin, begin, p.width.in_size, 0};
  while (range.end < p.width.out_size) {
    int64_t low = range.source, high = range.source_end;
    for (int64_t t = p.width.offset[range.end]; t < p.width.offset[range.end + 1]; ++t) {
      low = smaller(low, p.width.index[t]);
      high = larger(high, p.width.index[t] + 1);
    }
    if (range.end > begin && high - low > most) break;
    range.source = low, range.source_end = high;
    ++range.end;
  }
  if (range.source > range.source_end) range.source = range.source_end;
  return range;
}

// Channels c .. c + tile of result row oy, `row` being the sum of its source rows from column `source` on.
template <class E, class acc>
inline void write_pixels(const ResampleParams<acc>& p, E finish, typename E::result* out_row, const acc* row,
                         int64_t tile, const ColumnRange& range) {
  const bool streams =
      p.stream && tile % lanes<acc> == 0 && p.y_strides.width % lanes<acc> == 0 && streamable<acc>(out_row);
  for (int64_t o = range.begin; o < range.end; ++o) {
    typename E::result* pixel = out_row + o * p.y_strides.width;
    if (!E::kFewTaps && p.width.offset[o + 1] - p.width.offset[o] == 4) {
      write_pixel_of<4>(finish, pixel, streams, row, tile, p.width, o);
    } else {
      write_pixel(finish, pixel, streams, row, tile, p.width, o);
    }
  }
}

// Of a row of pixels, `tile` channels of those that are read.
template <class acc>
inline RowShape pixel_row(const ResampleParams<acc>& p, int64_t pixels, int64_t tile) {
  return p.x_strides.width == tile ? RowShape{1, pixels * tile, 0}
                                   : RowShape{pixels, tile, p.x_strides.width};
}

// The sum of the source rows of result row oy, of a range of their pixels. Not inlined, so that epilogues
// share it.
template <class T, class acc>
[[gnu::noinline]] void sum_pixel_row(const ResampleParams<acc>& p, acc* sum, const T* in, int64_t tile,
                                     const ColumnRange& range, int64_t oy) {
  blend_rows(sum, in + range.source * p.x_strides.width, p.x_strides.height,
             pixel_row(p, range.source_end - range.source, tile), p.height, oy);
}

// Channels c .. c + tile of result rows begin .. end.
template <class T, class E, class acc>
inline void resample_channels(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                              int64_t tile, int64_t begin, int64_t end, char* scratch) {
  acc* buffer[] = {reinterpret_cast<acc*>(scratch),
                   reinterpret_cast<acc*>(scratch + channels_last_row_bytes(p))};
  if (!E::kFewTaps && scatters_rows(p)) {
    RowScatter<T, acc> rows(in, p.x_strides.height, pixel_row(p, p.width.in_size, tile), p.height,
                            p.height_forward, buffer[0], buffer[1]);
    rows.start(begin, end);
    const ColumnRange all{0, p.width.out_size, 0, p.width.in_size};
    for (int64_t oy = begin; oy < end; ++oy) {
      write_pixels(p, finish, out + oy * p.y_strides.height, rows.produce(), tile, all);
    }
    return;
  }
  for (int64_t oy = begin; oy < end; ++oy) {
    typename E::result* out_row = out + oy * p.y_strides.height;
    if (E::kUnchanged && p.height.offset[oy] == p.height.offset[oy + 1]) {
      zero_pixels(p, out_row, tile);
      continue;
    }
    // A long row in parts, so that its sum is still in cache when it is read.
    for (int64_t o = 0; o < p.width.out_size;) {
      const ColumnRange range = columns_from(p, o, tile);
      sum_pixel_row(p, buffer[0], in, tile, range, oy);
      write_pixels(p, finish, out_row, buffer[0] - range.source * tile, tile, range);
      o = range.end;
    }
  }
}

// ---- straight from the sources ----------------------------------------------------------------------------
//
// Where a pixel has few sources, nothing is gained by a buffer: where no two columns share one (the gradient
// of nearest, area by whole factors), unless its rows are too many and too long to be read side by side, and
// in the gradient of shrinking.

template <class T, class acc>
inline bool needs_no_buffer(const ResampleParams<acc>& p) {
  constexpr double kFewRows = 4, kMostBytes = 256 << 10;
  const double columns = static_cast<double>(p.width.out_size);
  const double taps_across = static_cast<double>(p.width.offset[p.width.out_size]) / columns;
  const double taps_down = static_cast<double>(p.height.offset[p.height.out_size]) / p.height.out_size;
  // Vectors that are loaded and stored for a vector of the result: the buffer's, which are loaded again.
  const double buffered = static_cast<double>(p.width.in_size) / columns * (taps_down + 1) + taps_across;
  const double bytes = taps_down * static_cast<double>(p.width.in_size * p.channels * int64_t{sizeof(T)});
  const bool reads_once = p.width.offset[p.width.out_size] <= p.width.in_size;
  return (reads_once && (taps_down <= kFewRows || bytes <= kMostBytes)) ||
         (p.height.max_taps <= 2 && p.width.max_taps <= 2 && taps_down * taps_across < buffered);
}

// At most kRows x kColumns taps each, of which there are `rows` and `columns`; 0: any number.
template <int kRows, int kColumns, Put kPut, class T, class E, class acc>
inline void sum_pixel_sources(E finish, typename E::result* out, const T* in, const ResampleParams<acc>& p,
                              int64_t ty, int64_t rows, int64_t tx, int64_t columns, int64_t count) {
  constexpr bool kPart = kPut == Put::kPart;
  const int64_t row_count = kRows ? kRows : rows, column_count = kColumns ? kColumns : columns;
  vec<acc> sum{};
  for (int64_t t = 0; t < column_count; ++t) {
    const T* column = in + p.width.index[tx + t] * p.x_strides.width;
    vec<acc> value = splat(p.height.weight[ty]) *
                     load_some<kPart>(column + p.height.index[ty] * p.x_strides.height, count);
    for (int64_t s = 1; s < row_count; ++s) {
      const T* source = column + p.height.index[ty + s] * p.x_strides.height;
      value = multiply_add_vector(splat(p.height.weight[ty + s]), load_some<kPart>(source, count), value);
    }
    const vec<acc> factor = splat(p.width.weight[tx + t]);
    sum = t == 0 ? factor * value : multiply_add_vector(factor, value, sum);
  }
  finish.template put<kPut>(out, sum, count);
}

template <int kRows, int kColumns, class T, class E, class acc>
inline void write_sums(E finish, typename E::result* out, const T* in, const ResampleParams<acc>& p,
                       int64_t ty, int64_t rows, int64_t tx, int64_t columns, bool streams) {
  int64_t c = 0;
  for (; c + lanes<acc> <= p.channels; c += lanes<acc>) {
    if (streams) {
      sum_pixel_sources<kRows, kColumns, Put::kStream>(finish, out + c, in + c, p, ty, rows, tx, columns,
                                                       lanes<acc>);
    } else {
      sum_pixel_sources<kRows, kColumns, Put::kStore>(finish, out + c, in + c, p, ty, rows, tx, columns,
                                                      lanes<acc>);
    }
  }
  if (c < p.channels) {
    sum_pixel_sources<kRows, kColumns, Put::kPart>(finish, out + c, in + c, p, ty, rows, tx, columns,
                                                   p.channels - c);
  }
}

template <class T, class E, class acc>
inline void sum_sources_of_row(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                               int64_t oy) {
  const int64_t ty = p.height.offset[oy], rows = p.height.offset[oy + 1] - ty;
  typename E::result* row = out + oy * p.y_strides.height;
  if (rows == 0) return zero_pixels(p, row, p.channels);
  const bool streams =
      p.stream && p.channels % lanes<acc> == 0 && p.y_strides.width % lanes<acc> == 0 && streamable<acc>(row);
  for (int64_t o = 0; o < p.width.out_size; ++o) {
    const int64_t tx = p.width.offset[o], columns = p.width.offset[o + 1] - tx;
    typename E::result* pixel = row + o * p.y_strides.width;
    if (rows == 1 && columns == 1) {
      write_sums<1, 1>(finish, pixel, in, p, ty, rows, tx, columns, streams);
    } else if (rows == 1 && columns == 2) {
      write_sums<1, 2>(finish, pixel, in, p, ty, rows, tx, columns, streams);
    } else if (rows == 2 && columns == 1) {
      write_sums<2, 1>(finish, pixel, in, p, ty, rows, tx, columns, streams);
    } else if (rows == 2 && columns == 2) {
      write_sums<2, 2>(finish, pixel, in, p, ty, rows, tx, columns, streams);
    } else {
      write_sums<0, 0>(finish, pixel, in, p, ty, rows, tx, columns, streams);
    }
  }
}

template <class T, class E, class acc>
inline void resample_pixel_rows(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                                int64_t begin, int64_t end, char* scratch) {
  const int64_t tile = channel_tile(p);
  for (int64_t c = 0; c < p.channels; c += tile) {
    resample_channels(p, finish, in + c, out + c, smaller(tile, p.channels - c), begin, end, scratch);
  }
}

// Rows are (n, result row).
template <class T, class E, class acc>
inline void resample_channels_last(const ResampleParams<acc>& p, int64_t begin, int64_t end, char* scratch) {
  const int64_t height = p.height.out_size;
  const bool directly = interpolates_pixels(p);
  const bool unbuffered =
      E::kUnchanged && !directly && p.channels >= lanes<acc> && needs_no_buffer<T>(p) && !scatters_rows(p);
  const E finish = epilogue_of<E>(p);
  for (int64_t row = begin; row < end;) {
    const int64_t n = row / height, first = row % height, last = smaller(height, first + end - row);
    const T* in = static_cast<const T*>(p.x) + n * p.x_strides.batch;
    typename E::result* out = static_cast<typename E::result*>(p.y) + n * p.y_strides.batch;
    if (unbuffered) {
      for (int64_t oy = first; oy < last; ++oy) sum_sources_of_row(p, finish, in, out, oy);
    } else if (!directly) {
      resample_pixel_rows(p, finish, in, out, first, last, scratch);
    }
    for (int64_t oy = first; directly && oy < last;) {
      if (p.height.offset[oy + 1] - p.height.offset[oy] != 2) {
        resample_pixel_rows(p, finish, in, out, oy, oy + 1, scratch);
        ++oy;
        continue;
      }
      if (p.channels <= kFewChannels) {
        interpolate_small_row(p, finish, small_pixel_rows(p, in, oy), out + oy * p.y_strides.height);
        ++oy;
        continue;
      }
      const int rows = alike_outputs(p.height, oy, last, kTileRows);
      interpolate_pixel_rows(p, finish, in, out, oy, rows);
      oy += rows;
    }
    row += last - first;
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// y = A_h x A_w^T for any pair of axis tables: resize, separable transposed convolution, and both gradients
// (the same with transposed tables).
//
// Each thread owns whole output rows; a row's source rows are read once, its buffer stays in the first-level
// cache, and its output is written once. Sums run in the tables' order: the same bits for any number of
// threads.
#pragma once

#include "row_producer.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Channels-last rows are blended a tile of channels at a time, so that the buffer stays in cache.
constexpr int64_t kTileBytes = 32 << 10;

template <class acc>
inline int64_t channel_tile(const ResampleParams<acc>& p) {
  const int64_t fit = kTileBytes / (static_cast<int64_t>(sizeof(acc)) * p.width.in_size);
  const int64_t most = fit > 4 * lanes<acc> ? fit : 4 * lanes<acc>;
  if (p.channels <= most) return p.channels;
  const int64_t tiles =
      (p.channels + most - 1) / most;  // of equal size, so that none is too thin for vectors
  const int64_t even = (p.channels + tiles - 1) / tiles;
  return (even + lanes<acc> - 1) / lanes<acc> * lanes<acc>;
}

// How the width is taken in planar rows.
template <class acc>
inline bool expands_columns(const ResampleParams<acc>& p) {
  return !p.channels_last && p.width.max_taps == 2;
}
template <class acc>
inline bool reduces_columns(const ResampleParams<acc>& p) {
  return !p.channels_last && p.width.max_taps > 3;  // below, adding the lanes up costs more than it saves
}

// A window plan is the columns' windows, filled up to whole vectors, then their weights.
template <class acc>
inline int64_t window_bytes(const ResampleParams<acc>& p) {
  const int64_t bytes = p.width.out_size * static_cast<int64_t>(sizeof(ColumnWindow<acc>));
  return (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
}

template <class acc>
int64_t resample_plan_bytes(const ResampleParams<acc>& p) {
  if (expands_columns(p)) {
    return column_blocks<acc>(p.width.out_size) * static_cast<int64_t>(sizeof(ColumnBlock<acc>));
  }
  if (reduces_columns(p)) {
    return window_bytes(p) + window_plan_vectors(p.width) * kVectorBytes;
  }
  return 0;
}

template <class acc>
void resample_build_plan(const ResampleParams<acc>& p, void* plan) {
  if (expands_columns(p)) plan_columns(static_cast<ColumnBlock<acc>*>(plan), p.width);
  if (reduces_columns(p)) {
    void* weights = static_cast<char*>(plan) + window_bytes(p);
    plan_windows(static_cast<vec<acc>*>(weights), static_cast<ColumnWindow<acc>*>(plan), p.width);
  }
}

// Planar rows are expanded in batches, so that a block of the plan is loaded once for all of them.
constexpr int64_t kRowBatch = 4;

// Some output rows and their blended buffers, which stand buffer_stride apart.
template <class T, class acc>
struct RowBatch {
  T* out[kRowBatch];
  const acc* buffer;
  int64_t buffer_stride;
};

// Whole compact blocks, begin to end, to unit-stride rows.
template <int64_t kRows, bool kStream, class T, class acc>
inline void expand_blocks(const RowBatch<T, acc>& rows, const ColumnBlock<acc>* blocks, int64_t begin,
                          int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const ColumnBlock<acc> block = blocks[b];
    for (int64_t r = 0; r < kRows; ++r) {
      const vec<acc> v = expand_columns(rows.buffer + r * rows.buffer_stride, block);
      if (kStream) {
        stream(rows.out[r] + b * lanes<acc>, v);
      } else {
        store(rows.out[r] + b * lanes<acc>, v);
      }
    }
  }
}

// Any columns of one row, one by one.
template <class T, class acc>
inline void sum_columns(T* out, int64_t stride, const acc* buffer, const AxisTaps<acc>& axis, int64_t begin,
                        int64_t end) {
  for (int64_t o = begin; o < end; ++o) from_acc(sum_taps(buffer, axis, o), out + o * stride);
}

template <int64_t kRows, class T, class acc>
inline void expand_rows(const RowBatch<T, acc>& rows, const ResampleParams<acc>& p) {
  const ColumnBlock<acc>* blocks = static_cast<const ColumnBlock<acc>*>(p.plan);
  const int64_t whole = p.out.width == 1 ? p.width.out_size / lanes<acc> : 0;
  bool streams = p.stream;
  for (int64_t r = 0; r < kRows; ++r) {
    streams = streams && reinterpret_cast<uintptr_t>(rows.out[r]) % (lanes<acc> * sizeof(T)) == 0;
  }
  int64_t b = 0;
  while (b < whole) {
    int64_t end = b;
    while (end < whole && blocks[end].compact) ++end;
    if (streams) {
      expand_blocks<kRows, true>(rows, blocks, b, end);
    } else {
      expand_blocks<kRows, false>(rows, blocks, b, end);
    }
    for (b = end; b < whole && !blocks[b].compact; ++b) {
      for (int64_t r = 0; r < kRows; ++r) {
        sum_columns(rows.out[r], 1, rows.buffer + r * rows.buffer_stride, p.width, b * lanes<acc>,
                    (b + 1) * lanes<acc>);
      }
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    const acc* buffer = rows.buffer + r * rows.buffer_stride;
    sum_columns(rows.out[r], p.out.width, buffer, p.width, whole * lanes<acc>, p.width.out_size);
  }
}

template <class T, class acc>
inline void reduce_row(T* out, int64_t stride, const acc* buffer, const ResampleParams<acc>& p) {
  const ColumnWindow<acc>* windows = static_cast<const ColumnWindow<acc>*>(p.plan);
  const void* weights = static_cast<const char*>(p.plan) + window_bytes(p);
  for (int64_t o = 0; o < p.width.out_size; ++o) {
    const acc sum = windows[o].vectors > 0
                        ? reduce_window(buffer, static_cast<const vec<acc>*>(weights), windows[o])
                        : sum_taps(buffer, p.width, o);
    from_acc(sum, out + o * stride);
  }
}

template <class acc>
inline int64_t planar_buffer_stride(const ResampleParams<acc>& p) {
  return (p.width.in_size + lanes<acc>) / lanes<acc> * lanes<acc> + lanes<acc>;
}

template <class acc>
int64_t resample_scratch_bytes(const ResampleParams<acc>& p) {
  const int64_t values =
      p.channels_last ? p.width.in_size * channel_tile(p) + lanes<acc> : kRowBatch * planar_buffer_stride(p);
  return values * static_cast<int64_t>(sizeof(acc));
}

template <class T, class acc>
inline void resample_planar(const ResampleParams<acc>& p, int64_t begin, int64_t end, acc* buffer) {
  const int64_t height = p.height.out_size, stride = planar_buffer_stride(p);
  RowBatch<T, acc> rows{{}, buffer, stride};
  for (int64_t first = begin; first < end; first += kRowBatch) {
    const int64_t count = end - first < kRowBatch ? end - first : kRowBatch;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t plane = (first + r) / height, oy = (first + r) % height;
      const int64_t n = plane / p.channels, c = plane % p.channels;
      const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
      rows.out[r] = static_cast<T*>(p.output) + n * p.out.batch + c * p.out.channel + oy * p.out.height;
      blend_rows(buffer + r * stride, in, p.in.height, p.in.width, p.width.in_size, p.height, oy);
    }
    if (expands_columns(p) && count == kRowBatch) {
      expand_rows<kRowBatch>(rows, p);
      continue;
    }
    for (int64_t r = 0; r < count; ++r) {
      const acc* source = buffer + r * stride;
      if (expands_columns(p)) {
        expand_rows<1>(RowBatch<T, acc>{{rows.out[r]}, source, stride}, p);
      } else if (reduces_columns(p)) {
        reduce_row(rows.out[r], p.out.width, source, p);
      } else {
        sum_columns(rows.out[r], p.out.width, source, p.width, 0, p.width.out_size);
      }
    }
  }
}

// out[c] = sum over the taps of column o of buffer[index * tile + c], c < tile.
template <class T, class acc>
inline void write_pixel(T* out, bool streams, const acc* buffer, int64_t tile, const AxisTaps<acc>& axis,
                        int64_t o) {
  const int64_t begin = axis.offset[o], taps = axis.offset[o + 1] - begin;
  const int64_t* index = axis.index + begin;
  const acc* weight = axis.weight + begin;
  int64_t c = 0;
  if (taps == 0) {
    for (; c < tile; ++c) from_acc(acc(0), out + c);
    return;
  }
  const auto vector_at = [&](int64_t first) {
    vec<acc> sum = splat(weight[0]) * load(buffer + index[0] * tile + first);
    for (int64_t t = 1; t < taps; ++t) {
      sum = multiply_add_vector(splat(weight[t]), load(buffer + index[t] * tile + first), sum);
    }
    if (streams) {
      stream(out + first, sum);
    } else {
      store(out + first, sum);
    }
  };
  for (; c + lanes<acc> <= tile; c += lanes<acc>) vector_at(c);
  if (c > 0) {
    if (c < tile)
      vector_at(tile - lanes<acc>);  // the rest, with some channels written a second time (streams == false)
    return;
  }
  for (; c < tile; ++c) {
    acc sum = weight[0] * buffer[index[0] * tile + c];
    for (int64_t t = 1; t < taps; ++t) sum = multiply_add(weight[t], buffer[index[t] * tile + c], sum);
    from_acc(sum, out + c);
  }
}

template <class T, class acc>
inline void resample_channels_last(const ResampleParams<acc>& p, int64_t begin, int64_t end, acc* buffer) {
  const int64_t height = p.height.out_size, in_width = p.width.in_size, widest = channel_tile(p);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row / height, oy = row % height;
    for (int64_t c = 0; c < p.channels; c += widest) {
      const int64_t tile = widest < p.channels - c ? widest : p.channels - c;
      const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c;
      T* out = static_cast<T*>(p.output) + n * p.out.batch + oy * p.out.height + c;
      if (p.in.width == tile) {
        blend_rows(buffer, in, p.in.height, 1, in_width * tile, p.height, oy);
      } else {
        for (int64_t x = 0; x < in_width; ++x) {
          blend_rows(buffer + x * tile, in + x * p.in.width, p.in.height, 1, tile, p.height, oy);
        }
      }
      // Every pixel of the row is aligned when the first and the step to the next are.
      constexpr int64_t alignment = lanes<acc> * sizeof(T);
      const bool streams = p.stream && tile % lanes<acc> == 0 &&
                           reinterpret_cast<uintptr_t>(out) % alignment == 0 &&
                           p.out.width * static_cast<int64_t>(sizeof(T)) % alignment == 0;
      for (int64_t o = 0; o < p.width.out_size; ++o) {
        write_pixel(out + o * p.out.width, streams, buffer, tile, p.width, o);
      }
    }
  }
}

// Rows begin..end of the work; scratch holds resample_scratch_bytes.
template <class T, class acc = acc_of<T>>
void resample_rows(const ResampleParams<acc>& p, int64_t begin, int64_t end, void* scratch) {
  if (p.channels_last) {
    resample_channels_last<T>(p, begin, end, static_cast<acc*>(scratch));
  } else {
    resample_planar<T>(p, begin, end, static_cast<acc*>(scratch));
  }
  if (p.stream) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

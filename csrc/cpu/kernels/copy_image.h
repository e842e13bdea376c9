// Copies of images from one memory order to another: a few channels of adjacent pixels to planes and back,
// rows and columns exchanged. Elements are words of a size; their type does not matter.
#pragma once

#include "epilogue.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Past the cache by whole lines.
inline void copy_bytes(const void* from, void* to, int64_t count, bool streams) {
  typedef uint8_t Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t kVectors = kLineBytes / kVectorBytes;
  const char* x = static_cast<const char*>(from);
  char* y = static_cast<char*>(to);
  const auto copy_some = [&](int64_t begin, int64_t end) {
    __builtin_memcpy(y + begin, x + begin, static_cast<size_t>(end - begin));
  };
  if (count < 4 * kLineBytes) return copy_some(0, count);
  const auto into_line = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y) % kLineBytes);
  int64_t i = (kLineBytes - into_line) % kLineBytes;
  copy_some(0, i);
  const auto copy_lines = [&](auto&& write) {
    for (; i + kLineBytes <= count; i += kLineBytes) {
      __builtin_prefetch(x + i + kReadAhead);
      Vector v[kVectors];
      for (int64_t k = 0; k < kVectors; ++k) v[k] = load_bits<Vector>(x + i + k * kVectorBytes);
      for (int64_t k = 0; k < kVectors; ++k) write(y + i + k * kVectorBytes, v[k]);
    }
  };
  if (streams) {
    copy_lines([](char* p, Vector v) { stream_bits(p, v); });
  } else {
    copy_lines([](char* p, Vector v) { store_bits(p, v); });
  }
  copy_some(i, count);
}

// ---- a few channels ---------------------------------------------------------------------------------------
//
// The compiler turns these loops into loads, permutations and stores of whole vectors.

template <int kChannels, class Word>
inline void split_pixels(const Word* __restrict from, Word* __restrict to, int64_t plane, int64_t pixels) {
  for (int64_t x = 0; x < pixels; ++x) {
    for (int c = 0; c < kChannels; ++c) to[c * plane + x] = from[kChannels * x + c];
  }
}

template <int kChannels, class Word>
inline void join_planes(const Word* __restrict from, Word* __restrict to, int64_t plane, int64_t pixels) {
  for (int64_t x = 0; x < pixels; ++x) {
    for (int c = 0; c < kChannels; ++c) to[kChannels * x + c] = from[c * plane + x];
  }
}

// A row that goes past the cache is joined in parts that stay in it.
template <int kChannels, class Word>
inline void join_row(const CopyParams& p, const Word* from, Word* to, bool stream) {
  constexpr int64_t kPart = 256;
  const int64_t plane = p.from_strides.channel;
  if (!stream) return join_planes<kChannels>(from, to, plane, p.width);
  alignas(kLineBytes) Word part[kChannels * kPart];
  for (int64_t x = 0; x < p.width; x += kPart) {
    const int64_t pixels = smaller(kPart, p.width - x);
    join_planes<kChannels>(from + x, part, plane, pixels);
    copy_bytes(part, to + kChannels * x, kChannels * pixels * static_cast<int64_t>(sizeof(Word)), true);
  }
}

// ---- a matrix transposed ----------------------------------------------------------------------------------

// As many elements as 16 bytes hold, in 16-byte vectors, which every level has.
template <int kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  typedef uint8_t type;
};
template <>
struct WordOf<2> {
  typedef uint16_t type;
};
template <>
struct WordOf<4> {
  typedef uint32_t type;
};
template <>
struct WordOf<8> {
  typedef uint64_t type;
};
template <class T>
struct WordBlock {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  typedef typename WordOf<sizeof(T)>::type word;
  typedef word row __attribute__((vector_size(16)));
};

template <int64_t kFirst, int64_t kSize, class V, int64_t... i>
inline V zip_half(V a, V b, LaneList<i...>) {
  return choose_lanes<(kFirst + i / 2 + i % 2 * kSize)...>(a, b);
}

// A block of kSize x kSize elements: row i at from(i), column j at to + j * to_stride. Each round interleaves
// the rows of the upper half with those of the lower, which exchanges one bit of the row's number with one of
// the lane's.
template <class T, class From>
inline void transpose_block(From from, T* to, int64_t to_stride) {
  constexpr int kSize = WordBlock<T>::kSize;
  using Row = typename WordBlock<T>::row;
  using Numbers = typename CountLanes<kSize>::list;
  Row rows[kSize];
  for (int i = 0; i < kSize; ++i) rows[i] = load_bits<Row>(from(i));
  for (int round = 1; round < kSize; round *= 2) {
    Row next[kSize];
    for (int i = 0; i < kSize / 2; ++i) {
      next[2 * i] = zip_half<0, kSize>(rows[i], rows[i + kSize / 2], Numbers{});
      next[2 * i + 1] = zip_half<kSize / 2, kSize>(rows[i], rows[i + kSize / 2], Numbers{});
    }
    for (int i = 0; i < kSize; ++i) rows[i] = next[i];
  }
  for (int j = 0; j < kSize; ++j) store_bits(to + j * to_stride, rows[j]);
}

// How many rows, `stride` bytes apart, are read at a time so that their lines stay in a cache of 8 ways of 4
// KiB.
inline int64_t rows_that_fit(int64_t stride) {
  constexpr int64_t kWays = 8, kWayBytes = 4096;
  return kWays * larger(1, kWayBytes / larger(1, stride & -stride));
}

// to[j * to_stride + i] = from(i)[j], i < rows, j < columns. Several blocks of rows are taken together, so
// that a cache line is written at once: rows of the result are often a power of two apart, and few of their
// lines fit in the first cache.
template <class T, class From>
inline void transpose(From from, T* to, int64_t to_stride, int64_t rows, int64_t columns) {
  constexpr int64_t kSize = WordBlock<T>::kSize, kLine = 64 / static_cast<int64_t>(sizeof(T));
  const int64_t stride =
      rows > 1 ? reinterpret_cast<const char*>(from(1)) - reinterpret_cast<const char*>(from(0)) : 0;
  const int64_t most = larger(kSize, smaller(kLine, rows_that_fit(stride)));
  const auto one_by_one = [&](int64_t row, int64_t row_end, int64_t column) {
    for (int64_t j = column; j < columns; ++j) {
      for (int64_t i = row; i < row_end; ++i) to[j * to_stride + i] = from(i)[j];
    }
  };
  int64_t i = 0;
  while (i + kSize <= rows) {
    const int64_t end = i + smaller(most, (rows - i) / kSize * kSize);
    int64_t j = 0;
    for (; j + kSize <= columns; j += kSize) {
      for (int64_t k = i; k < end; k += kSize) {
        transpose_block<T>([&](int64_t r) { return from(k + r) + j; }, to + j * to_stride + k, to_stride);
      }
      // The next rows are often far from these in memory, where no hardware prefetcher expects them.
      for (int64_t k = end; k < smaller(2 * end - i, rows); ++k) __builtin_prefetch(from(k) + j);
    }
    one_by_one(i, end, j);
    i = end;
  }
  one_by_one(i, rows, 0);
}

// ---- an image ---------------------------------------------------------------------------------------------

template <class Word>
inline void copy_row_of_pixels(const CopyParams& p, const Word* from, Word* to) {
  if (!p.column && p.from_strides.width == p.channels) {
    if (p.channels == 2) return split_pixels<2>(from, to, p.to_strides.channel, p.width);
    if (p.channels == 3) return split_pixels<3>(from, to, p.to_strides.channel, p.width);
    if (p.channels == 4) return split_pixels<4>(from, to, p.to_strides.channel, p.width);
  }
  const auto pixel = [&](int64_t x) { return from + (p.column ? p.column[x] : x) * p.from_strides.width; };
  transpose(pixel, to, p.to_strides.channel, p.width, p.channels);
}

template <class Word>
inline void copy_row_of_planes(const CopyParams& p, const Word* from, Word* to, bool stream) {
  if (p.to_strides.width == p.channels) {
    if (p.channels == 2) return join_row<2>(p, from, to, stream);
    if (p.channels == 3) return join_row<3>(p, from, to, stream);
    if (p.channels == 4) return join_row<4>(p, from, to, stream);
  }
  const auto plane = [&](int64_t c) { return from + c * p.from_strides.channel; };
  transpose(plane, to, p.to_strides.width, p.channels, p.width);
}

template <class Word>
inline void copy_row(const CopyParams& p, const Word* from, Word* to) {
  if (!p.column && p.from_strides.width == 1 && p.to_strides.width == 1) {
    __builtin_memcpy(to, from, static_cast<size_t>(p.width) * sizeof(Word));
    return;
  }
  for (int64_t x = 0; x < p.width; ++x) {
    to[x * p.to_strides.width] = from[(p.column ? p.column[x] : x) * p.from_strides.width];
  }
}

enum class CopyLoops {
  kPixelsToPlanes,  // a row of adjacent channels transposed into rows of planes,
  kPlanesToPixels,  //   and back
  kColumnsToRows,   // a plane transposed,
  kRowsToColumns,   //   and back
  kRows             // row by row, element by element where they are not adjacent
};
inline CopyLoops choose_copy(const CopyParams& p) {
  const bool pixels = p.channels > 1;
  if (pixels && p.from_strides.channel == 1 && p.to_strides.width == 1) return CopyLoops::kPixelsToPlanes;
  if (pixels && !p.column && p.from_strides.width == 1 && p.to_strides.channel == 1) {
    return CopyLoops::kPlanesToPixels;
  }
  if (p.height > 1 && p.from_strides.height == 1 && p.to_strides.width == 1) return CopyLoops::kColumnsToRows;
  const bool to_columns = p.width > 1 && p.to_strides.height == 1 && p.from_strides.width == 1 && !p.column;
  return to_columns ? CopyLoops::kRowsToColumns : CopyLoops::kRows;
}

template <class Word>
void copy_image(const CopyParams& p, bool stream) {
  const Word* from = static_cast<const Word*>(p.from);
  Word* to = static_cast<Word*>(p.to);
  const CopyLoops loops = choose_copy(p);
  if (loops == CopyLoops::kPixelsToPlanes || loops == CopyLoops::kPlanesToPixels) {
    for (int64_t y = 0; y < p.height; ++y) {
      const Word* from_row = from + y * p.from_strides.height;
      Word* to_row = to + y * p.to_strides.height;
      loops == CopyLoops::kPixelsToPlanes ? copy_row_of_pixels(p, from_row, to_row)
                                          : copy_row_of_planes(p, from_row, to_row, stream);
    }
    if (stream) end_stream();
    return;
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    const Word* from_plane = from + c * p.from_strides.channel;
    Word* to_plane = to + c * p.to_strides.channel;
    if (loops == CopyLoops::kColumnsToRows) {
      const auto column = [&](int64_t x) {
        return from_plane + (p.column ? p.column[x] : x) * p.from_strides.width;
      };
      transpose(column, to_plane, p.to_strides.height, p.width, p.height);
      continue;
    }
    if (loops == CopyLoops::kRowsToColumns) {
      const auto row = [&](int64_t y) { return from_plane + y * p.from_strides.height; };
      transpose(row, to_plane, p.to_strides.width, p.height, p.width);
      continue;
    }
    for (int64_t y = 0; y < p.height; ++y) {
      copy_row(p, from_plane + y * p.from_strides.height, to_plane + y * p.to_strides.height);
    }
  }
}

// ---- a resize to the same size ---------------------------------------------------------------------------

template <class V>
inline V same_size_values(V v) {
  return multiply_add_vector(V{}, v, v);
}

// to[i] = 1 * from[i] + 0 * from[i]. Four vectors are read before they are written: where the images lie a
// little more than a multiple of 4 KiB apart, reads seem to depend on the writes before them.
template <class T>
void same_size_row(const void* from, void* to, int64_t count, bool streams) {
  using acc = acc_of<T>;
  constexpr int64_t kVectors = 4;
  const T* x = static_cast<const T*>(from);
  T* y = static_cast<T*>(to);
  int64_t i = 0;
  const auto copy_vectors = [&](auto&& write) {
    for (; i + kVectors * lanes<acc> <= count; i += kVectors * lanes<acc>) {
      vec<acc> v[kVectors];
      for (int64_t k = 0; k < kVectors; ++k) v[k] = same_size_values(load(x + i + k * lanes<acc>));
      for (int64_t k = 0; k < kVectors; ++k) write(y + i + k * lanes<acc>, v[k]);
    }
  };
  if (streams && streamable<acc>(y)) {
    copy_vectors([](T* p, vec<acc> v) { stream(p, v); });
    end_stream();
  } else {
    copy_vectors([](T* p, vec<acc> v) { store(p, v); });
  }
  for (; i + lanes<acc> <= count; i += lanes<acc>) store(y + i, same_size_values(load(x + i)));
  if (i < count) store_part(y + i, same_size_values(load_part(x + i, count - i)), count - i);
}

template <>
inline void same_size_row<uint8_t>(const void* from, void* to, int64_t count, bool streams) {
  copy_bytes(from, to, count, streams);
  if (streams) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

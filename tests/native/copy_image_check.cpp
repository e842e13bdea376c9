// Runs the copies of images, of picked pixels and the resize to the same size without torch, and compares
// every element.
// test_levels.py builds it natively under sanitizers, for each level, and for aarch64.
//
// All memory is on the heap in blocks of the exact size, so that a sanitizer sees one element too many.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "cpu/levels.h"
#include "images.h"

namespace upsample_ext {
namespace {

// ---- copies -----------------------------------------------------------------------------------------------

// What is adjacent in memory, from the innermost on.
enum class Order {
  kPlanes,          // columns, rows, channels
  kPixels,          // channels, columns, rows
  kPixelsWithGaps,  // the same of some of a larger image's channels
  kColumns,         // rows, columns, channels
  kRowsOfPlanes,    // columns, channels, rows
  kGaps,            // every second column of every third row
  kOneRow,          // one row for all, only to read from
  kOneColumn        // one column of pixels for all, only to read from
};
constexpr Order kOrders[] = {Order::kPlanes,       Order::kPixels, Order::kPixelsWithGaps, Order::kColumns,
                             Order::kRowsOfPlanes, Order::kGaps,   Order::kOneRow,         Order::kOneColumn};

bool is_writable(Order order) { return order != Order::kOneRow && order != Order::kOneColumn; }

Strides strides_in(Order order, int64_t channels, int64_t height, int64_t width) {
  switch (order) {
    case Order::kPlanes:
      return {0, height * width, width, 1};
    case Order::kPixels:
      return {0, 1, width * channels, channels};
    case Order::kPixelsWithGaps:
      return {0, 1, width * (channels + 2), channels + 2};
    case Order::kColumns:
      return {0, height * width, 1, height};
    case Order::kRowsOfPlanes:
      return {0, width, width * channels, 1};
    case Order::kGaps:
      return {0, height * width * 6, width * 6, 2};
    case Order::kOneRow:
      return {0, width, 0, 1};
    default:
      return {0, 1, channels, 0};
  }
}

// Elements from the first to the last.
int64_t extent(const Strides& strides, int64_t channels, int64_t height, int64_t width) {
  return (channels - 1) * strides.channel + (height - 1) * strides.height + (width - 1) * strides.width + 1;
}

struct Size {
  int64_t height, width;
};

// Copies all columns, or some of a wider image, and counts what is wrong in all of the target's memory.
template <class Word>
int wrong_words(Order from_order, Order to_order, int64_t channels, Size size, bool some_columns,
                bool stream) {
  std::vector<int64_t> columns;
  for (int64_t x = 0; some_columns && x < size.width; ++x) columns.push_back(2 * x + x / 5 % 2);
  const int64_t from_width = some_columns ? columns.back() + 1 : size.width;
  CopyParams p{};
  p.channels = channels;
  p.height = size.height;
  p.width = size.width;
  p.from_strides = strides_in(from_order, channels, size.height, from_width);
  p.to_strides = strides_in(to_order, channels, size.height, size.width);
  p.column = some_columns ? columns.data() : nullptr;
  const int64_t from_count = extent(p.from_strides, channels, size.height, from_width);
  const int64_t to_count = extent(p.to_strides, channels, size.height, size.width);
  const std::unique_ptr<Word[]> from(new Word[from_count]), to(new Word[to_count]);
  const Word untouched = static_cast<Word>(0x5555555555555555);
  std::vector<Word> expected(to_count, untouched);
  for (int64_t i = 0; i < from_count; ++i) from[i] = static_cast<Word>((i + 1) * 0x9e3779b97f4a7c15u >> 5);
  for (int64_t i = 0; i < to_count; ++i) to[i] = untouched;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < size.height; ++y) {
      for (int64_t x = 0; x < size.width; ++x) {
        const int64_t column = some_columns ? columns[x] : x;
        const int64_t at = c * p.from_strides.channel + y * p.from_strides.height;
        expected[c * p.to_strides.channel + y * p.to_strides.height + x * p.to_strides.width] =
            from[at + column * p.from_strides.width];
      }
    }
  }
  p.from = from.get();
  p.to = to.get();
  active_level().copy(p, sizeof(Word), stream);
  int wrong = 0;
  for (int64_t i = 0; i < to_count; ++i) wrong += to[i] != expected[i];
  return wrong;
}

template <class Word>
int wrong_copies() {
  const int64_t channel_counts[] = {1, 2, 3, 4, 5, 17};
  const Size sizes[] = {{1, 1}, {1, 40}, {40, 1}, {3, 5}, {16, 16}, {7, 33}, {19, 37}, {2, 600}};
  int wrong = 0;
  for (const Order from : kOrders) {
    for (const Order to : kOrders) {
      for (const int64_t channels : channel_counts) {
        for (const Size& size : sizes) {
          for (const bool some_columns : {false, true}) {
            if (!is_writable(to)) continue;
            const int words = wrong_words<Word>(from, to, channels, size, some_columns, false) +
                              wrong_words<Word>(from, to, channels, size, some_columns, true);
            if (words != 0) {
              std::printf("%d bytes, order %d to %d, %d channels, %dx%d%s: %d elements are wrong\n",
                          static_cast<int>(sizeof(Word)), static_cast<int>(from), static_cast<int>(to),
                          static_cast<int>(channels), static_cast<int>(size.height),
                          static_cast<int>(size.width), some_columns ? ", some columns" : "", words);
            }
            wrong += words;
          }
        }
      }
    }
  }
  return wrong;
}

// ---- pixels picked from others ----------------------------------------------------------------------------

// Rows whose pixels are picked, near each other or far apart, repeated or not; rows of the result have a gap.
int wrong_bytes_picked(int64_t pixel_bytes, int64_t from_pixels, int64_t to_pixels, int64_t rows,
                       bool stream) {
  constexpr int64_t kGap = 16;
  std::vector<int64_t> row, column;
  for (int64_t y = 0; y < rows; ++y) row.push_back(y * 3 / 5);
  for (int64_t x = 0; x < to_pixels; ++x) column.push_back(x * from_pixels / to_pixels);
  const int64_t from_row = from_pixels * pixel_bytes, to_bytes = to_pixels * pixel_bytes;
  const int64_t to_row = (to_bytes + 15) / 16 * 16 + kGap, from_count = from_row * (row.back() + 1);
  const std::unique_ptr<uint8_t[]> from(new uint8_t[from_count]);
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, to_row * (rows - 1) + to_bytes) != 0) std::abort();
  const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
  uint8_t* to = static_cast<uint8_t*>(memory);
  for (int64_t i = 0; i < from_count; ++i) from[i] = static_cast<uint8_t>((i + 1) * 0x9e3779b97f4a7c15u >> 5);
  std::memset(to, 0x55, to_row * (rows - 1) + to_bytes);
  PickParams p{row.data(), column.data(), from_pixels, to_pixels, pixel_bytes,
               from_row,   to_row,        rows,        stream,    nullptr};
  const PickKernel& kernel = active_level().pick;
  void* plan = nullptr;
  if (posix_memalign(&plan, 64, kernel.plan_bytes(p)) != 0) std::abort();
  const std::unique_ptr<void, decltype(&std::free)> plan_owner(plan, &std::free);
  kernel.build_plan(p, plan);
  p.plan = plan;
  const int64_t half = rows / 2;
  kernel.rows(p, from.get(), to, 0, half);
  kernel.rows(p, from.get(), to, half, rows);
  int wrong = 0;
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t i = 0; i < (y + 1 < rows ? to_row : to_bytes); ++i) {
      const int64_t source =
          i < to_bytes ? row[y] * from_row + column[i / pixel_bytes] * pixel_bytes + i % pixel_bytes : -1;
      wrong += to[y * to_row + i] != (source < 0 ? 0x55 : from[source]);
    }
  }
  return wrong;
}

int wrong_picks() {
  int wrong = 0;
  for (const int64_t bytes : {1, 2, 3, 4, 8, 12, 16, 17, 24, 25, 100}) {
    for (const int64_t from : {1, 3, 16, 31, 101}) {
      for (const int64_t to : {1, 3, 16, 17, 62, 127}) {
        for (const int64_t rows : {1, 5, 13}) {
          for (const bool stream : {false, true}) {
            const int picked = wrong_bytes_picked(bytes, from, to, rows, stream);
            if (picked != 0) {
              std::printf("%d pixels of %d bytes from %d, %d rows: %d bytes are wrong\n",
                          static_cast<int>(to), static_cast<int>(bytes), static_cast<int>(from),
                          static_cast<int>(rows), picked);
            }
            wrong += picked;
          }
        }
      }
    }
  }
  return wrong;
}

// ---- a resize to the same size ----------------------------------------------------------------------------

// Bits of 1, -3, 0, -0, the smallest subnormal, the largest, both infinities and NaN.
constexpr uint64_t kDoubles[] = {
    0x3ff0000000000000, 0xc008000000000000, 0, 0x8000000000000000, 1, 0x7fefffffffffffff, 0x7ff0000000000000,
    0xfff0000000000000, 0x7ff8000000000000};
constexpr uint32_t kFloats[] = {0x3f800000, 0xc0400000, 0,          0x80000000, 1,
                                0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000};
constexpr uint16_t kHalves[] = {0x3c00, 0xc200, 0, 0x8000, 1, 0x7bff, 0x7c00, 0xfc00, 0x7e00};
constexpr uint16_t kBfloats[] = {0x3f80, 0xc040, 0, 0x8000, 1, 0x7f7f, 0x7f80, 0xff80, 0x7fc0};
constexpr int64_t kValues = 9, kFinite = 6;

// What is finite stays what it is to the last bit; 0 times the others is NaN. `misaligned`: elements after
// the start of a cache line.
template <class T, class Bits>
int wrong_in_row(const Bits (&values)[kValues], int64_t count, int64_t misaligned, bool stream,
                 bool in_place) {
  static_assert(sizeof(T) == sizeof(Bits));
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, (misaligned + count) * sizeof(T)) != 0) std::abort();
  const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
  T* to = static_cast<T*>(memory) + misaligned;
  const std::unique_ptr<T[]> source(new T[count]);
  T* from = in_place ? to : source.get();
  for (int64_t i = 0; i < count; ++i) std::memcpy(from + i, &values[i * 7 % kValues], sizeof(T));
  active_level().same_size.of(T{}).row(from, to, count, stream);
  int wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, to + i, sizeof bits);
    const Bits exponent = values[6];  // all ones, as of infinities and NaN
    const bool is_nan = (bits & exponent) == exponent && (bits & ~(exponent | values[3])) != 0;
    wrong += i * 7 % kValues < kFinite ? bits != values[i * 7 % kValues] : !is_nan;
  }
  return wrong;
}

template <class T, class Bits>
int wrong_rows(const char* type, const Bits (&values)[kValues]) {
  int wrong = 0;
  for (int64_t count = 1; count < 150; ++count) {
    for (const int64_t misaligned : {0, 1}) {
      for (const bool stream : {false, true}) {
        for (const bool in_place : {false, true}) {
          wrong += wrong_in_row<T>(values, count, misaligned, stream, in_place);
        }
      }
    }
  }
  if (wrong != 0) std::printf("%s, the same size: %d elements are wrong\n", type, wrong);
  return wrong;
}

// Bytes are copied; those around the row stay what they are.
int wrong_rows_of_bytes() {
  constexpr int64_t kMost = 5000, kMargin = 64;
  std::vector<uint8_t> from(kMost + kMargin), to(kMost + 3 * kMargin);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 37 >> 3 | 1);
  int wrong = 0;
  for (const int64_t count : {1, 63, 255, 256, 257, 300, 319, 320, 383, 1000, 4999}) {
    for (const int64_t misaligned : {0, 1, 63}) {
      for (const bool stream : {false, true}) {
        std::fill(to.begin(), to.end(), uint8_t{0});
        const uint8_t* row = from.data() + misaligned % 7;
        active_level().same_size.u8.row(row, to.data() + kMargin + misaligned, count, stream);
        for (int64_t i = 0; i < static_cast<int64_t>(to.size()); ++i) {
          const int64_t at = i - kMargin - misaligned;
          wrong += to[i] != (at >= 0 && at < count ? row[at] : 0);
        }
      }
    }
  }
  if (wrong != 0) std::printf("bytes, the same size: %d are wrong\n", wrong);
  return wrong;
}

}  // namespace
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext;
  return report([] {
    return wrong_copies<uint8_t>() + wrong_copies<uint16_t>() + wrong_copies<uint32_t>() +
           wrong_copies<uint64_t>() + wrong_picks() + wrong_rows<double>("float64", kDoubles) +
           wrong_rows<float>("float32", kFloats) + wrong_rows<half_t>("float16", kHalves) +
           wrong_rows<bfloat16_t>("bfloat16", kBfloats) + wrong_rows_of_bytes();
  });
}

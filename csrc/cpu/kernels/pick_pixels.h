// Planes whose pixels are picked from other planes, a row at a time: nearest.
//
// The result is made 16 bytes at a time, whatever the size of a pixel: of one or two loads of 16 bytes, whose
// bytes are permuted by a plan that is built once per call. Pixels of many bytes, and pixels whose neighbours
// come from places far apart, are copied one by one.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Bytes 16 * i on of the result, the last block ending where the row ends, from the bytes of the source row
// from `base` on.
struct PickBlock {
  bytes16 index;
  int64_t base;
};

struct PickPlan {
  PickBlock* blocks;      // none where pixels are copied one by one
  bytes16* second_index;  // of 16 bytes further on, where there is one
  int64_t block_count;
  bool is_copy;  // every pixel is that of its own place
};

// A shorter row is first copied into a buffer of this many bytes, from which blocks can be loaded.
constexpr int64_t kLeastPickBytes = 32;
// Larger pixels are copied one by one, and so are images of so few rows that a plan does not pay.
constexpr int64_t kMostPickBytes = 24, kLeastPlannedRows = 12;

inline int64_t pick_block_count(const PickParams& p) { return (p.to_pixels * p.pixel_bytes + 15) / 16; }
inline int64_t pick_block_start(const PickParams& p, int64_t block) {
  return larger(0, smaller(16 * block, p.to_pixels * p.pixel_bytes - 16));
}
inline bool picks_blocks(const PickParams& p) {
  return kShufflesBytes && p.pixel_bytes <= kMostPickBytes && p.rows >= kLeastPlannedRows;
}

inline int64_t pick_plan_bytes(const PickParams& p) {
  const int64_t blocks = picks_blocks(p) ? pick_block_count(p) : 0;
  return static_cast<int64_t>(sizeof(PickPlan) + 16) +
         blocks * static_cast<int64_t>(sizeof(PickBlock) + sizeof(bytes16));
}

// The bytes of the source row that a block takes; below 0 beyond the row's end, in a row of less than 16.
inline void pick_sources(const PickParams& p, int64_t block, int64_t (&source)[16]) {
  const int64_t start = pick_block_start(p, block), bytes = p.to_pixels * p.pixel_bytes;
  int64_t pixel = start / p.pixel_bytes, byte = start % p.pixel_bytes;
  for (int i = 0; i < 16; ++i) {
    source[i] = start + i < bytes ? p.column[pixel] * p.pixel_bytes + byte : -1;
    if (++byte == p.pixel_bytes) {
      byte = 0;
      ++pixel;
    }
  }
}

inline void build_pick_plan(const PickParams& p, void* memory) {
  PickPlan& plan = *static_cast<PickPlan*>(memory);
  plan = {};
  plan.is_copy = p.from_pixels == p.to_pixels;
  for (int64_t x = 0; x < p.to_pixels && plan.is_copy; ++x) plan.is_copy = p.column[x] == x;
  if (plan.is_copy || !picks_blocks(p)) return;
  const int64_t readable = larger(p.from_pixels * p.pixel_bytes, kLeastPickBytes);
  const int64_t count = pick_block_count(p);
  PickBlock* blocks =
      reinterpret_cast<PickBlock*>(static_cast<char*>(memory) + (sizeof(PickPlan) + 15) / 16 * 16);
  bytes16* second_index = reinterpret_cast<bytes16*>(blocks + count);
  bool has_second = false;
  for (int64_t b = 0; b < count; ++b) {
    int64_t source[16], first = readable, last = 0;
    pick_sources(p, b, source);
    for (int64_t s : source) {
      if (s < 0) continue;
      first = smaller(first, s);
      last = larger(last, s);
    }
    const int64_t base = smaller(first, readable - kLeastPickBytes);
    if (last - base >= 32) return;  // too far apart
    blocks[b].base = base;
    for (int i = 0; i < 16; ++i) {
      const int64_t at = source[i] < 0 ? 255 : source[i] - base;
      blocks[b].index[i] = static_cast<uint8_t>(at < 16 ? at : 255);
      second_index[b][i] = static_cast<uint8_t>(at >= 16 && at < 32 ? at - 16 : 255);
      has_second = has_second || (at >= 16 && at < 32);
    }
  }
  plan.blocks = blocks;
  plan.second_index = has_second ? second_index : nullptr;
  plan.block_count = count;
}

template <bool kTwo, class Store>
inline void pick_blocks(const PickParams& p, const PickPlan& plan, const char* from, Store store16) {
  for (int64_t b = 0; b < plan.block_count; ++b) {
    const PickBlock& block = plan.blocks[b];
    bytes16 v = shuffle_bytes(load_bits<bytes16>(from + block.base), block.index);
    if constexpr (kTwo) {
      v |= shuffle_bytes(load_bits<bytes16>(from + block.base + 16), plan.second_index[b]);
    }
    store16(pick_block_start(p, b), v);
  }
}

// One row of the result, or kRows equal ones.
template <bool kTwo, int kRows>
inline void pick_row_of_blocks(const PickParams& p, const PickPlan& plan, const char* from, char* to) {
  const int64_t bytes = p.to_pixels * p.pixel_bytes;
  if (bytes < 16) {
    return pick_blocks<kTwo>(p, plan, from, [&](int64_t, bytes16 v) {
      for (int r = 0; r < kRows; ++r) __builtin_memcpy(to + r * p.to_row, &v, static_cast<size_t>(bytes));
    });
  }
#if defined(__x86_64__)
  if (p.stream && bytes % 16 == 0 && p.to_row % 16 == 0 && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
    return pick_blocks<kTwo>(p, plan, from, [&](int64_t start, bytes16 v) {
      for (int r = 0; r < kRows; ++r) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + r * p.to_row + start), (__m128i)v);
      }
    });
  }
#endif
  pick_blocks<kTwo>(p, plan, from, [&](int64_t start, bytes16 v) {
    for (int r = 0; r < kRows; ++r) store_bits(to + r * p.to_row + start, v);
  });
}

template <class Word>
inline void pick_words(const PickParams& p, const void* from, void* to) {
  const Word* source = static_cast<const Word*>(from);
  Word* target = static_cast<Word*>(to);
  for (int64_t x = 0; x < p.to_pixels; ++x) target[x] = source[p.column[x]];
}

// Pixels of at least 16 bytes: whole vectors, and the last 16 bytes once more.
template <int kRows>
inline void pick_large_pixels(const PickParams& p, const char* from, char* to) {
  const int64_t size = p.pixel_bytes;
  for (int64_t x = 0; x < p.to_pixels; ++x) {
    const char* source = from + p.column[x] * size;
    char* target = to + x * size;
    const auto put = [&](int64_t at, auto v) {
      for (int r = 0; r < kRows; ++r) store_bits(target + r * p.to_row + at, v);
    };
    int64_t i = 0;
    for (; i + kVectorBytes <= size; i += kVectorBytes) put(i, load_bits<vec<float>>(source + i));
    for (; i + 16 <= size; i += 16) put(i, load_bits<bytes16>(source + i));
    if (i < size) put(size - 16, load_bits<bytes16>(source + size - 16));
  }
}

inline void pick_small_pixels(const PickParams& p, const char* from, char* to) {
  const int64_t size = p.pixel_bytes;
  if (size == 1) return pick_words<uint8_t>(p, from, to);
  if (size == 2) return pick_words<uint16_t>(p, from, to);
  if (size == 4) return pick_words<uint32_t>(p, from, to);
  if (size == 8) return pick_words<uint64_t>(p, from, to);
  for (int64_t x = 0; x < p.to_pixels; ++x) {
    for (int64_t i = 0; i < size; ++i) to[x * size + i] = from[p.column[x] * size + i];
  }
}

template <int kRows>
inline void pick_row(const PickParams& p, const PickPlan& plan, const char* from, char* to) {
  const int64_t from_bytes = p.from_pixels * p.pixel_bytes;
  if (plan.is_copy) {
    for (int r = 0; r < kRows; ++r) {
      __builtin_memcpy(to + r * p.to_row, from, static_cast<size_t>(from_bytes));
    }
  } else if (plan.blocks) {
    char padded[kLeastPickBytes] = {};
    if (from_bytes < kLeastPickBytes) {
      __builtin_memcpy(padded, from, static_cast<size_t>(from_bytes));
      from = padded;
    }
    plan.second_index ? pick_row_of_blocks<true, kRows>(p, plan, from, to)
                      : pick_row_of_blocks<false, kRows>(p, plan, from, to);
  } else if (p.pixel_bytes >= 16) {
    pick_large_pixels<kRows>(p, from, to);
  } else {
    pick_small_pixels(p, from, to);
    for (int r = 1; r < kRows; ++r) {
      __builtin_memcpy(to + r * p.to_row, to, static_cast<size_t>(p.to_pixels * p.pixel_bytes));
    }
  }
}

inline void pick_rows(const PickParams& p, const void* from, void* to, int64_t begin, int64_t end) {
  const PickPlan& plan = *static_cast<const PickPlan*>(p.plan);
  for (int64_t y = begin; y < end;) {
    const char* source = static_cast<const char*>(from) + p.row[y] * p.from_row;
    char* target = static_cast<char*>(to) + y * p.to_row;
    const bool twice = y + 1 < end && p.row[y + 1] == p.row[y];
    twice ? pick_row<2>(p, plan, source, target) : pick_row<1>(p, plan, source, target);
    y += twice ? 2 : 1;
  }
  if (p.stream) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// Planes whose pixels are picked from other planes, a row at a time: nearest.
//
// The result is made of blocks, each of one or two loads that are permuted by a plan, built once per call:
// vectors of pixels where a pixel is a word whose vectors can be permuted, otherwise 16 bytes, whatever the
// size of a pixel. Pixels of many bytes, and pixels whose neighbours come from places far apart, are copied
// one by one.
#pragma once

#include "epilogue.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Bytes 16 * i on of the result, the last block ending where the row ends, from the bytes of the source row
// from `base` on.
struct PickBlock {
  bytes16 index;
  int64_t base;
};

struct PickPlan {
  PickBlock* blocks;      // of 16 bytes; none where pixels are copied one by one, or as words
  bytes16* second_index;  // of 16 bytes further on, where there is one
  int64_t block_count;
  bool is_copy;  // every pixel is that of its own place
  // Of vectors of words, of which a pixel is one or a few: the first word of a block's window, or of both of
  // them, and the words it takes.
  int64_t* bases;  // none where there are no such blocks
  char* indices;
  bool two_windows;
};

// Words whose vectors a level can permute, and how.
template <class Word>
struct Words {
  static constexpr int64_t kLanes = 0;
};
#if UPSAMPLE_VECTOR_BYTES > 16
template <class acc>
struct WordsLike {
  using Vector = vec<acc>;
  using Index = vec_index<acc>;
  static constexpr int64_t kLanes = lanes<acc>;
  static Vector pick(Vector v, Index index) { return permute(v, index); }
  static Vector pick(Vector v, Vector w, Index index) { return permute_two(v, w, index); }
};
template <>
struct Words<uint32_t> : WordsLike<float> {};
template <>
struct Words<uint64_t> : WordsLike<double> {};
#endif
#if UPSAMPLE_VECTOR_BYTES == 64
template <>
struct Words<uint16_t> {
  typedef uint16_t Vector __attribute__((vector_size(64)));
  using Index = Vector;
  static constexpr int64_t kLanes = 32;
  static Vector pick(Vector v, Index index) {
    return (Vector)_mm512_permutexvar_epi16((__m512i)index, (__m512i)v);
  }
  static Vector pick(Vector v, Vector w, Index index) {
    return (Vector)_mm512_permutex2var_epi16((__m512i)v, (__m512i)index, (__m512i)w);
  }
};
#endif

// A shorter row is first copied into a buffer of this many bytes, from which blocks can be loaded.
constexpr int64_t kLeastPickBytes = 32;
// Larger pixels are copied one by one, and so are images of so few rows that a plan does not pay.
constexpr int64_t kMostPickBytes = 24, kLeastPlannedRows = 12, kLeastRowsOfWords = 4;

// The words of a row of the result.
template <class Word>
inline int64_t words_of_row(const PickParams& p) {
  return p.to_pixels * p.pixel_bytes / static_cast<int64_t>(sizeof(Word));
}

// f(Word{}) of the largest word that a pixel is a few of, if vectors of it can be permuted and a row has as
// many.
template <class F>
inline bool as_words(const PickParams& p, F&& f) {
  const auto is = [&](auto word) {
    using W = Words<decltype(word)>;
    return p.pixel_bytes % static_cast<int64_t>(sizeof word) == 0 && p.pixel_bytes <= kMostPickBytes &&
           W::kLanes > 0 && words_of_row<decltype(word)>(p) >= W::kLanes;
  };
  if (is(uint64_t{})) return f(uint64_t{});
  if (is(uint32_t{})) return f(uint32_t{});
  if (is(uint16_t{})) return f(uint16_t{});
  return false;
}

inline int64_t pick_block_count(const PickParams& p) { return (p.to_pixels * p.pixel_bytes + 15) / 16; }
inline int64_t pick_block_start(const PickParams& p, int64_t block) {
  return larger(0, smaller(16 * block, p.to_pixels * p.pixel_bytes - 16));
}
inline bool picks_blocks(const PickParams& p) {
  return kShufflesBytes && p.pixel_bytes <= kMostPickBytes && p.rows >= kLeastPlannedRows;
}

inline int64_t pick_plan_bytes(const PickParams& p) {
  const int64_t blocks = picks_blocks(p) ? pick_block_count(p) : 0;
  const int64_t vectors = (p.to_pixels * p.pixel_bytes + kVectorBytes - 1) / kVectorBytes;
  const int64_t of_words = vectors * (kVectorBytes + static_cast<int64_t>(sizeof(int64_t)));
  return static_cast<int64_t>(sizeof(PickPlan)) + kVectorBytes +
         larger(of_words, blocks * static_cast<int64_t>(sizeof(PickBlock) + sizeof(bytes16)));
}

// False where a block's words lie further apart than in two windows. Sources never descend.
template <class Word>
inline bool plan_words(const PickParams& p, PickPlan& plan, char* memory) {
  using W = Words<Word>;
  constexpr int64_t kLanes = W::kLanes;
  if constexpr (kLanes == 0) {
    return false;
  } else {
    const int64_t pixel = p.pixel_bytes / static_cast<int64_t>(sizeof(Word)), words = words_of_row<Word>(p);
    const int64_t count = (words + kLanes - 1) / kLanes;
    // A block's words are taken from its first pixel to its last, both whole: equal pixels begin again.
    int64_t windows = 1;
    for (int64_t b = 0; b < count; ++b) {
      const int64_t start = smaller(b * kLanes, words - kLanes);
      const int64_t past = (p.column[(start + kLanes - 1) / pixel] + 1) * pixel;
      const int64_t reach = past - 1 - p.column[start / pixel] * pixel;
      if (reach >= 2 * kLanes) return false;
      if (reach >= kLanes) windows = 2;
    }
    int64_t* bases = reinterpret_cast<int64_t*>(memory + count * kVectorBytes);
    const int64_t last = larger(0, p.from_pixels * pixel - windows * kLanes);  // base that a row has room for
    for (int64_t b = 0; b < count; ++b) {
      const int64_t start = smaller(b * kLanes, words - kLanes);
      bases[b] = smaller(p.column[start / pixel] * pixel, last);
      Word* index = reinterpret_cast<Word*>(memory + b * kVectorBytes);
      int64_t x = start / pixel, part = start % pixel;
      for (int64_t i = 0; i < kLanes; ++i) {
        index[i] = static_cast<Word>(p.column[x] * pixel + part - bases[b]);
        if (++part == pixel) part = 0, ++x;
      }
    }
    plan.block_count = count;
    plan.bases = bases;
    plan.indices = memory;
    plan.two_windows = windows == 2;
    return true;
  }
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
  if (plan.is_copy) return;
  char* vectors =
      static_cast<char*>(memory) + (sizeof(PickPlan) + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
  const auto of_words = [&](auto word) { return plan_words<decltype(word)>(p, plan, vectors); };
  if (p.rows >= kLeastRowsOfWords && as_words(p, of_words)) return;
  if (!picks_blocks(p)) return;
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

// One row of the result, or kRows equal ones, of words; `store` writes a vector.
template <class Word, bool kTwo, int kRows, class Store>
inline void pick_vectors(const PickParams& p, const PickPlan& plan, const char* from, char* to, Store store) {
  using W = Words<Word>;
  const Word* source = reinterpret_cast<const Word*>(from);
  for (int64_t b = 0; b < plan.block_count; ++b) {
    const auto index = load_bits<typename W::Index>(plan.indices + b * kVectorBytes);
    const Word* window = source + plan.bases[b];
    auto v = load_bits<typename W::Vector>(window);
    if constexpr (kTwo) {
      v = W::pick(v, load_bits<typename W::Vector>(window + W::kLanes), index);
    } else {
      v = W::pick(v, index);
    }
    const int64_t start =
        smaller(b * W::kLanes, words_of_row<Word>(p) - W::kLanes) * static_cast<int64_t>(sizeof(Word));
    for (int r = 0; r < kRows; ++r) store(to + r * p.to_row + start, v);
  }
}

template <class Word, int kRows>
inline void pick_row_of_words(const PickParams& p, const PickPlan& plan, const char* from, char* to) {
  if constexpr (Words<Word>::kLanes > 0) {
    const auto pick = [&](auto store) {
      plan.two_windows ? pick_vectors<Word, true, kRows>(p, plan, from, to, store)
                       : pick_vectors<Word, false, kRows>(p, plan, from, to, store);
    };
#if defined(__x86_64__)
    const auto aligned = [&](int64_t bytes) {
      return reinterpret_cast<uintptr_t>(to) % bytes == 0 && p.to_row % bytes == 0 &&
             p.to_pixels * p.pixel_bytes % bytes == 0;
    };
    if (p.stream && aligned(kVectorBytes)) {
      pick([](char* at, auto v) { stream_bits(at, v); });
      return;
    }
    if (p.stream && aligned(16)) {  // rows of most sizes
      pick([](char* at, auto v) {
        __m128i parts[sizeof v / 16];
        __builtin_memcpy(parts, &v, sizeof v);
        for (size_t i = 0; i < sizeof v / 16; ++i)
          _mm_stream_si128(reinterpret_cast<__m128i*>(at) + i, parts[i]);
      });
      return;
    }
#endif
    pick([](char* at, auto v) { store_bits(at, v); });
  }
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

// Pixels of at least 16 bytes: whole vectors, and the last 16 bytes once more. `store` writes a vector.
template <int kRows, class Store>
inline void pick_large_pixels(const PickParams& p, const char* from, char* to, Store store) {
  const int64_t size = p.pixel_bytes;
  for (int64_t x = 0; x < p.to_pixels; ++x) {
    const char* source = from + p.column[x] * size;
    char* target = to + x * size;
    const auto put = [&](int64_t at, auto v) {
      for (int r = 0; r < kRows; ++r) store_bits(target + r * p.to_row + at, v);
    };
    int64_t i = 0;
    for (; i + kVectorBytes <= size; i += kVectorBytes) {
      const auto v = load_bits<vec<float>>(source + i);
      for (int r = 0; r < kRows; ++r) store(target + r * p.to_row + i, v);
    }
    for (; i + 16 <= size; i += 16) put(i, load_bits<bytes16>(source + i));
    if (i < size) put(size - 16, load_bits<bytes16>(source + size - 16));
  }
}
template <int kRows>
inline void pick_large_pixels(const PickParams& p, const char* from, char* to) {
  const bool aligned = reinterpret_cast<uintptr_t>(to) % kVectorBytes == 0 && p.to_row % kVectorBytes == 0 &&
                       p.pixel_bytes % kVectorBytes == 0;
  if (p.stream && aligned) {
    pick_large_pixels<kRows>(p, from, to, [](char* at, auto v) { stream_bits(at, v); });
  } else {
    pick_large_pixels<kRows>(p, from, to, [](char* at, auto v) { store_bits(at, v); });
  }
}

// Pixels of sizeof(Word) bytes, or up to twice as many: its first word, and its last.
template <class Word>
inline void pick_two_words(const PickParams& p, const char* from, char* to) {
  const int64_t size = p.pixel_bytes, last = size - static_cast<int64_t>(sizeof(Word));
  for (int64_t x = 0; x < p.to_pixels; ++x) {
    const char* source = from + p.column[x] * size;
    const Word head = load_bits<Word>(source), tail = load_bits<Word>(source + last);
    store_bits(to + x * size, head);
    store_bits(to + x * size + last, tail);
  }
}

inline void pick_small_pixels(const PickParams& p, const char* from, char* to) {
  const int64_t size = p.pixel_bytes;
  if (size == 1) return pick_words<uint8_t>(p, from, to);
  if (size == 2) return pick_words<uint16_t>(p, from, to);
  if (size == 4) return pick_words<uint32_t>(p, from, to);
  if (size == 8) return pick_words<uint64_t>(p, from, to);
  if (size > 8) return pick_two_words<uint64_t>(p, from, to);
  if (size > 4) return pick_two_words<uint32_t>(p, from, to);
  pick_two_words<uint16_t>(p, from, to);
}

template <int kRows>
inline void pick_row(const PickParams& p, const PickPlan& plan, const char* from, char* to) {
  const int64_t from_bytes = p.from_pixels * p.pixel_bytes;
  if (plan.is_copy) {
    for (int r = 0; r < kRows; ++r) {
      __builtin_memcpy(to + r * p.to_row, from, static_cast<size_t>(from_bytes));
    }
  } else if (plan.bases) {
    char padded[2 * kVectorBytes];
    if (from_bytes < (plan.two_windows ? 2 : 1) * kVectorBytes) {
      __builtin_memcpy(padded, from, static_cast<size_t>(from_bytes));
      from = padded;
    }
    as_words(p, [&](auto word) {
      pick_row_of_words<decltype(word), kRows>(p, plan, from, to);
      return true;
    });
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

// to[i] = picked[i] + other[i], in acc and rounded once.
template <class T>
inline void add_row(const T* picked, const T* other, T* to, int64_t count, bool streams) {
  using acc = acc_of<T>;
  int64_t i = 0;
  const auto sum = [&] {
    __builtin_prefetch(other + i + kReadAhead / static_cast<int64_t>(sizeof(T)));
    return load(picked + i) + load(other + i);
  };
  if (streams && streamable<acc>(to)) {
    for (; i + lanes<acc> <= count; i += lanes<acc>) stream(to + i, sum());
  }
  for (; i + lanes<acc> <= count; i += lanes<acc>) store(to + i, sum());
  if (i < count) {
    store_part(to + i, load_part(picked + i, count - i) + load_part(other + i, count - i), count - i);
  }
}

// Rows begin .. end of a plane of a sum. A row is picked into `picked`, which stays in cache, once for all
// result rows that take it; p.to_row and p.stream are not used.
template <class T>
void pick_into_sum(const PickParams& p, const PickedSum& sum, int64_t begin, int64_t end, void* picked) {
  const PickPlan& plan = *static_cast<const PickPlan*>(p.plan);
  const int64_t count = p.to_pixels * p.pixel_bytes / static_cast<int64_t>(sizeof(T));
  char* const row = static_cast<char*>(picked);
  for (int64_t y = begin; y < end; ++y) {
    if (y == begin || p.row[y] != p.row[y - 1]) {
      pick_row<1>(p, plan, static_cast<const char*>(sum.from) + p.row[y] * p.from_row, row);
    }
    add_row(reinterpret_cast<const T*>(row),
            reinterpret_cast<const T*>(static_cast<const char*>(sum.other) + y * sum.other_row),
            reinterpret_cast<T*>(static_cast<char*>(sum.to) + y * sum.to_row), count, sum.stream);
  }
  if (sum.stream) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

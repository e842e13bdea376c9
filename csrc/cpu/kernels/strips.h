// Strips of columns, for the ops that reduce over the classes of a pixel.
//
// A row of all classes of a wide image exceeds the caches, so that a thread walks down a strip of its
// columns. A strip is a range of source columns; it owns the blocks of result columns whose first source
// column is in that range. The width of a strip depends only on the image: the same work is summed in the
// same order for any number of threads.
#pragma once

#include "horizontal.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// What a thread works on (source rows of all classes, and the sums of their gradient): about an L2 cache.
constexpr int64_t kStripBytes = 1 << 20;

struct Strip {
  int64_t source, source_end;  // its source columns
  int64_t block, block_end;    // the blocks that it owns
  int64_t copied, copied_end;  // the source columns that its blocks read
};

// Strips where a source column takes `bytes` of a thread's memory.
template <class acc>
inline int64_t count_strips(const LogitsParams<acc>& x, int64_t bytes) {
  const int64_t most = larger(1, kStripBytes / bytes / lanes<acc>) * lanes<acc>;
  return (x.width.in_size + most - 1) / most;
}
// Source columns of each strip but the last, a multiple of the vector; no strip is much narrower than others.
template <class acc>
inline int64_t strip_width(const LogitsParams<acc>& x, int64_t bytes) {
  const int64_t vectors = (x.width.in_size + lanes<acc> - 1) / lanes<acc>, strips = count_strips(x, bytes);
  return (vectors + strips - 1) / strips * lanes<acc>;
}

// Smallest index of `count` groups of `step` outputs whose first output's first source is >= `source`;
// `count` if there is none. For interpolations, whose sources never go back.
template <class acc>
inline int64_t first_reading(const TwoTapRows<acc>& axis, int64_t step, int64_t count, int64_t source) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (axis.first(middle * step) < source) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The source columns that blocks block .. block_end read.
template <class acc>
inline void set_copied(const LogitsParams<acc>& x, int64_t block, int64_t block_end, Strip& strip) {
  strip.copied = strip.copied_end = strip.source;
  if (block == block_end) return;
  strip.copied = x.width.first(block * lanes<acc>);
  strip.copied_end = x.width.second(smaller(block_end * lanes<acc>, x.width.out_size) - 1) + 1;
}

template <class acc>
inline Strip strip_at(const LogitsParams<acc>& x, int64_t bytes, int64_t i) {
  const int64_t width = strip_width(x, bytes);
  Strip strip;
  strip.source = smaller(i * width, x.width.in_size);
  strip.source_end = smaller(strip.source + width, x.width.in_size);
  strip.block = first_reading(x.width, lanes<acc>, count_blocks(x.width), strip.source);
  strip.block_end = first_reading(x.width, lanes<acc>, count_blocks(x.width), strip.source_end);
  set_copied(x, strip.block, strip.block_end, strip);
  return strip;
}

// Units of work: (n, strip, row), of `rows` rows each. Calls f(n, strip, first row, last row) for those from
// begin to end.
template <class acc, class F>
inline void each_strip(const LogitsParams<acc>& x, int64_t bytes, int64_t rows, int64_t begin, int64_t end,
                       F&& f) {
  const int64_t strips = count_strips(x, bytes);
  for (int64_t unit = begin; unit < end;) {
    const int64_t first = unit % rows, last = smaller(rows, first + end - unit);
    f(unit / rows / strips, strip_at(x, bytes, unit / rows % strips), first, last);
    unit += last - first;
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

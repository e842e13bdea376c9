// What the passes of deconv_planar.h share: picking sources of a row, weights in vectors.
#pragma once

#include "deconv_plan.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Lanes from anywhere, for blocks whose sources span more than a vector; rare.
template <class acc>
[[gnu::noinline]] vec<acc> gather(const acc* p, const lane_index<acc>* index) {
  vec<acc> r{};
  for (int i = 0; i < lanes<acc>; ++i) r[i] = p[index[i]];
  return r;
}

// The sources of an edge block: `exists` gets the lanes that have one.
template <class acc>
inline vec<acc> pick_existing(const acc* row, const lane_index<acc>* source, const BlockSource& from,
                              bool narrow, vec_index<acc>* exists) {
  const vec_index<acc> index = load_bits<vec_index<acc>>(source) + static_cast<lane_index<acc>>(from.shift);
  *exists = (index >= 0) & (index < static_cast<lane_index<acc>>(from.limit));
#if UPSAMPLE_PERMUTES
  if (narrow) return permute(load(row + from.start), index);  // lanes without a source get any sample
#endif
  static_cast<void>(narrow);
  lane_index<acc> safe[lanes<acc>];
  store_bits(safe, index & *exists);
  return gather(row + from.start, safe);
}

template <class acc>
inline vec<acc> select(vec_index<acc> condition, vec<acc> yes, vec<acc> no) {
  return condition ? yes : no;
}

// The source row from blocks.begin on, its ends repeated as far as the kernel reaches: in place in the image
// if it can be read there, otherwise a copy in `row`, which holds at least a vector.
template <class T, class acc>
inline const acc* source_row(acc* row, const T* image, int64_t stride, const DeconvPlan<acc>& plan) {
  const WidthBlocks<acc>& blocks = plan.blocks;
  if constexpr (sizeof(T) == sizeof(acc)) {
    if (stride == 1 && blocks.extent == plan.in_width && blocks.extent >= lanes<acc>) return image;
  }
  acc* samples = row - blocks.begin;
  read_row(samples, image, stride, plan.in_width);
  fill(row, -blocks.begin, samples[0]);
  fill(samples + plan.in_width, blocks.extent + blocks.begin - plan.in_width, samples[plan.in_width - 1]);
  return row;
}
template <class acc>
inline int64_t source_row_length(const WidthBlocks<acc>& blocks) {
  return larger(blocks.extent, lanes<acc>);
}

// ---- the weights of one channel in vectors ----------------------------------------------------------------

// weights[vector][kernel row][lane]: lane l of a vector holds kernel column column[vector][l].
template <class acc>
inline void spread_weights(acc* weights, const DeconvParams& p, const DeconvPlan<acc>& plan,
                           const lane_index<acc>* column, int64_t vectors, int64_t c) {
  const int64_t rows = p.height.kernel_size, columns = p.width.kernel_size;
  const acc* kernel = plan.weight + c * rows * columns;
  for (int64_t v = 0; v < vectors; ++v, column += lanes<acc>) {
    for (int64_t ky = 0; ky < rows; ++ky, weights += lanes<acc>) {
      const acc* row = kernel + ky * columns;
      store(weights, columns <= lanes<acc> ? LanePicker<acc>(column)(row, 0) : gather(row, column));
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

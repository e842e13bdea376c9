// y = A_h x A_w^T for any pair of axis tables: resize, separable transposed convolution, and both gradients
// (the same with transposed tables). The epilogue decides what is stored (epilogue.h).
//
// Each thread owns whole rows of the result. A source row is read once or, where neighbouring result rows
// share it, while it is still in the first caches; an output element is written once. Sums run in the tables'
// order: the same bits for any number of threads.
#pragma once

#include "resample_byte_filters.h"
#include "resample_split.h"
#include "resample_words.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E, class acc>
int64_t resample_plan_bytes(const ResampleParams<acc>& p) {
  if (p.channels_last) return 0;
  if constexpr (filters_bytes<T, E>) {
    if (p.rounds_between) return byte_plan_bytes(p);
  }
  return is_sparse(p.width) ? sparse_plan_bytes(p.width) : column_plan_bytes(p.width);
}

template <class T, class E, class acc>
void resample_build_plan(const ResampleParams<acc>& p, void* plan) {
  if (E::kFewTaps && plans_windows(p.width)) __builtin_trap();
  if (p.channels_last) return;
  if constexpr (filters_bytes<T, E>) {
    if (p.rounds_between) return build_byte_plan(p, plan);
  }
  is_sparse(p.width) ? build_sparse_plan(plan, p.width) : build_column_plan(plan, p.width);
}

// Scratch of one thread, in bytes.
template <class T, class E, class acc = acc_of<T>>
int64_t resample_scratch_bytes(const ResampleParams<acc>& p) {
  if constexpr (filters_bytes<T, E>) {
    if (p.rounds_between) return FilteredRows::scratch_bytes(p);
  }
  if (p.channels_last) return channels_last_scratch_bytes(p);
  if (p.split == Split::kWords) return words_scratch_bytes(p);
  if (p.split != Split::kNone) return split_scratch_bytes<T, E>(p);
  return widens_bytes<T, E>(p) ? planar_row_bytes(p) + fixed_rows_bytes(p.width.out_size, 1)
                               : planar_scratch_bytes(p);
}

// Rows begin .. end of the work; scratch holds resample_scratch_bytes.
template <class T, class E, class acc = acc_of<T>>
void resample_rows(const ResampleParams<acc>& p, int64_t begin, int64_t end, void* scratch) {
  if constexpr (filters_bytes<T, E>) {
    if (p.rounds_between) {
      filter_planes(p, begin, end, scratch);
      if (p.stream) end_stream();
      return;
    }
  }
  if (p.channels_last) {
    resample_channels_last<T, E>(p, begin, end, static_cast<char*>(scratch));
  } else if (p.split == Split::kWords) {
    if constexpr (takes_words<T, E>) resample_words(p, begin, end, static_cast<char*>(scratch));
  } else if (p.split != Split::kNone) {
    resample_split<T, E>(p, begin, end, static_cast<char*>(scratch));
  } else if (widens_bytes<T, E>(p)) {
    if constexpr (is_byte_resize<T, E>) widen_planes<T>(p, begin, end, static_cast<char*>(scratch));
  } else {
    resample_planar<T, E>(p, begin, end, static_cast<char*>(scratch));
  }
  if (p.stream) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

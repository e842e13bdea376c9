// How argmax and cross-entropy on the CPU take the logits that they reduce: a description, decided before
// anything runs.
#pragma once

#include "resample_choice.h"

namespace upsample_ext {

enum class LogitsLoops {
  kPixelsRead,  // so few pixels are read that they are first copied, as an image of its own
  kTwoTaps,     // an interpolation: two source rows of all classes at a time (class_logits.h)
  kTables       // a chain of resizes: rows of all classes summed first (chain_argmax.h)
};

// `by_column`: the logits are adjacent along columns, so that rows of them are read one by one.
template <class acc>
LogitsLoops choose_logits(const AxisTaps<acc>& height, const AxisTaps<acc>& width, bool by_column) {
  const auto has_two_taps = [](const AxisTaps<acc>& axis) {
    return axis.interpolates && axis.taps_per_row == 2;
  };
  constexpr double kFew = 0.25, kFewOfColumns = 0.75;
  if (reads_few_pixels(height, width, by_column ? kFewOfColumns : kFew)) return LogitsLoops::kPixelsRead;
  return has_two_taps(height) && has_two_taps(width) ? LogitsLoops::kTwoTaps : LogitsLoops::kTables;
}

}  // namespace upsample_ext

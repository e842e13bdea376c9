// Which of CUDA's resample kernels take a call whose axes are not given by a mode.
#pragma once

#include "../geometry/axis.h"

namespace upsample_ext {
namespace gpu {

// A transposed convolution whose kernel is separable.
enum class SeparableKernel {
  kTwoTaps,  // outputs of two taps at most, on neighbouring samples: the kernels of the bilinear resize
  kTables    // more: tables of rows of any length (resample_table.cuh)
};
inline SeparableKernel choose_separable(const ConvTransposeAxis& height, const ConvTransposeAxis& width) {
  const bool two =
      TwoTapConvTransposeAxis<float>::fits(height) && TwoTapConvTransposeAxis<float>::fits(width);
  return two ? SeparableKernel::kTwoTaps : SeparableKernel::kTables;
}

}  // namespace gpu
}  // namespace upsample_ext

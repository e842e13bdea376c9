// How a launcher runs a resample kernel, for the family itself and for the ops fused to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <optional>

#include "../geometry/axis_table.h"
#include "last_level_cache.h"
#include "levels.h"
#include "on_cpu.h"
#include "parallel.h"
#include "resample_choice.h"
#include "scratch.h"
#include "tensor_view.h"

namespace upsample_ext {

// Whether a result is too large to stay in cache.
inline bool exceeds_cache(const at::Tensor& result) {
  return result.numel() * result.element_size() > last_level_cache_bytes();
}

// Minimum number of output elements per parallel task.
constexpr int64_t kGrain = 16384;

// Scratch of a thread above which it can pay to copy only the columns that are read.
constexpr int64_t kMuchScratch = 4 << 20;

// Whether so few of a row's columns are read that a copy of those takes less memory than a row.
template <class acc>
bool reads_few_columns(const AxisTable<acc>& width) {
  return width.taps().in_size > 4 * width.tap_count();
}
inline at::Tensor take_columns(const at::Tensor& input, const std::vector<int64_t>& columns) {
  return input.index_select(3, at::tensor(columns, at::kLong));
}

// output = A_h input A_w^T, finished by the kernel's epilogue. Both images may have any strides; a stride of
// a size-1 dimension is never used. `params` carries what the images and tables do not determine: stream, and
// the arguments of the epilogue.
template <class acc>
void run_resample(const ResampleKernel<acc>& kernel, const at::Tensor& input, const at::Tensor& output,
                  const AxisTable<acc>& height, const AxisTable<acc>& width, ResampleParams<acc> params) {
  params.x = input.const_data_ptr();
  params.y = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.x_strides = strides_of(input);
  params.y_strides = strides_of(output);
  params.height = height.taps();
  params.width = width.taps();
  const PixelOrder order = choose_order(params, kernel.lanes);
  params.channels_last = order == PixelOrder::kChannelsLast;
  std::optional<AxisTable<acc>> interleaved;
  if (order == PixelOrder::kInterleaved) {
    interleaved = width.interleaved(params.channels);
    params.width = interleaved->taps();
    params.channels = 1;
    params.x_strides.width = params.y_strides.width = 1;
  }

  ScratchBuffer<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.plan = plan.data();
  const int64_t scratch_bytes = kernel.scratch_bytes(params);
  if (scratch_bytes > kMuchScratch && reads_few_columns(width)) {
    const auto columns = width.sources();
    return run_resample(kernel, take_columns(input, columns), output, height, width.of_sources(columns),
                        params);
  }
  const int64_t row_elements = params.width.out_size * (params.channels_last ? params.channels : 1);
  parallel_for(0, params.rows(), std::max<int64_t>(1, kGrain / row_elements),
               [&](int64_t begin, int64_t end) {
                 ScratchBuffer<16384> scratch(scratch_bytes);
                 kernel.rows(params, begin, end, scratch.data());
               });
}

// Bilinear resize into `output`, which has the input's dtype and any strides; `stream`: it is part of a
// result too large to stay in cache.
void upsample_into(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w, bool stream);

}  // namespace upsample_ext

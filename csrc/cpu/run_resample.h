// How a launcher runs a resample kernel, for the family itself and for the ops fused to it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "axis_cache.h"
#include "last_level_cache.h"
#include "levels.h"
#include "on_cpu.h"
#include "parallel.h"
#include "pick_pixels.h"
#include "resample_choice.h"
#include "scratch.h"
#include "tensor_view.h"

namespace upsample_ext {

// Scratch of a thread above which it can pay to copy only the columns that are read.
constexpr int64_t kMuchScratch = 4 << 20;

// The pixels that are read, as an image of their own, and the tables for it.
template <class acc>
class PixelsRead {
 public:
  at::Tensor image;
  AxisOfCall<acc> height, width;
  std::vector<int64_t> rows, columns;

  static PixelsRead of(const at::Tensor& input, const AxisOfCall<acc>& height, const AxisOfCall<acc>& width) {
    auto rows = height.table().sources(), columns = width.table().sources();
    const int64_t row_count = static_cast<int64_t>(rows.size()),
                  column_count = static_cast<int64_t>(columns.size());
    const bool by_pixel = input.size(1) > 1 && input.stride(1) == 1;
    at::Tensor image = at::empty({input.size(0), input.size(1), row_count, column_count}, input.options(),
                                 by_pixel ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    pick_pixels(input, image, rows.data(), columns.data(), false);
    AxisOfCall<acc> of_rows = height.table().of_sources(rows), of_columns = width.table().of_sources(columns);
    return {std::move(image), std::move(of_rows), std::move(of_columns), std::move(rows), std::move(columns)};
  }

  // The gradient of the whole image, of which those that were not read have none.
  void spread(const at::Tensor& gradient, const at::Tensor& whole) const {
    whole.zero_();
    if (whole.element_size() == 2) return spread_words<uint16_t>(gradient, whole);
    if (whole.element_size() == 4) return spread_words<uint32_t>(gradient, whole);
    spread_words<uint64_t>(gradient, whole);
  }

 private:
  template <class Word>
  void spread_words(const at::Tensor& gradient, const at::Tensor& whole) const {
    const Strides from = strides_of(gradient), to = strides_of(whole);
    const Word* source = static_cast<const Word*>(gradient.const_data_ptr());
    Word* target = static_cast<Word*>(whole.mutable_data_ptr());
    const int64_t channels = whole.size(1), height = gradient.size(2), width = gradient.size(3);
    const bool by_pixel = to.channel == 1;
    parallel_for(0, whole.size(0) * height, grain_of(height, channels * height * width),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t n = i / height, y = i % height;
                     const Word* from_row = source + n * from.batch + y * from.height;
                     Word* to_row = target + n * to.batch + rows[static_cast<size_t>(y)] * to.height;
                     const int64_t outer_count = by_pixel ? width : channels;
                     const int64_t inner_count = by_pixel ? channels : width;
                     for (int64_t outer = 0; outer < outer_count; ++outer) {
                       for (int64_t inner = 0; inner < inner_count; ++inner) {
                         const int64_t c = by_pixel ? inner : outer, x = by_pixel ? outer : inner;
                         to_row[c * to.channel + columns[static_cast<size_t>(x)] * to.width] =
                             from_row[c * from.channel + x * from.width];
                       }
                     }
                   }
                 });
  }
};

// What a kernel derives from the width's table: for an interleaved row, a table of all its values; and the
// plan.
template <class acc>
class PlannedWidth {
 public:
  PlannedWidth(const ResampleKernel<acc>& kernel, ResampleParams<acc> params, const AxisTable<acc>& width,
               int64_t interleaved_channels) {
    params.width = width.taps();
    params.channels = std::max<int64_t>(1, interleaved_channels);
    if (interleaved_channels > 0) {
      interleaved_ = width.interleaved(interleaved_channels);
      params.width = interleaved_->taps();
    }
    plan_bytes_ = kernel.plan_bytes(params);
    plan_.emplace(plan_bytes_);
    kernel.build_plan(params, plan_->data());
  }

  const AxisTable<acc>& table(const AxisTable<acc>& width) const {
    return interleaved_ ? *interleaved_ : width;
  }
  const void* plan() const { return plan_->data(); }
  int64_t bytes() const {
    return static_cast<int64_t>(sizeof *this) + plan_bytes_ + (interleaved_ ? interleaved_->bytes() : 0);
  }

 private:
  std::optional<AxisTable<acc>> interleaved_;
  std::optional<ScratchBuffer<2048>> plan_;
  int64_t plan_bytes_;
};

// The kernel's view of an image pair, in the order that it wants them, and its plan. `by_rows`: rows of
// planes are counted, also where planes of one column look like pixels.
template <class acc>
class PlannedResample {
 public:
  PlannedResample(const ResampleKernel<acc>& kernel, const ResampleParams<acc>& seen,
                  const AxisOfCall<acc>& width, bool by_rows = false)
      : params_(seen) {
    params_.width = width.taps();
    const PixelOrder order =
        by_rows ? PixelOrder::kPlanar : choose_order(params_, kernel.lanes, kernel.takes_words);
    params_.channels_last = order == PixelOrder::kChannelsLast;
    params_.split = order == PixelOrder::kSplit   ? choose_split(params_)
                    : order == PixelOrder::kWords ? Split::kWords
                                                  : Split::kNone;
    if (params_.channels_last) {
      kernel.build_plan(params_, nullptr);  // there is none; the kernel sees whether it takes these tables
    } else {
      const int64_t channels = order == PixelOrder::kInterleaved ? params_.channels : 0;
      plan(kernel, width, channels);
      if (channels > 0) {
        params_.channels = 1;
        params_.x_strides.width = params_.y_strides.width = 1;
      }
      params_.width = planned_->table(width.table()).taps();
      params_.plan = planned_->plan();
    }
    scratch_bytes_ = kernel.scratch_bytes(params_);
  }

  const ResampleParams<acc>& params() const { return params_; }
  int64_t scratch_bytes() const { return scratch_bytes_; }

 private:
  void plan(const ResampleKernel<acc>& kernel, const AxisOfCall<acc>& width, int64_t channels) {
    const int64_t kind = 2 * channels + (params_.rounds_between ? 1 : 0);
    const auto key = width.key_of(reinterpret_cast<const void*>(kernel.build_plan), kind);
    if (!key) {
      planned_ = &own_.emplace(kernel, params_, width.table(), channels);
      return;
    }
    kept_ = cached<PlannedWidth<acc>>(*key, [&] {
      return std::make_shared<const PlannedWidth<acc>>(kernel, params_, width.table(), channels);
    });
    planned_ = kept_.get();
  }

  ResampleParams<acc> params_;
  std::optional<PlannedWidth<acc>> own_;
  std::shared_ptr<const PlannedWidth<acc>> kept_;
  const PlannedWidth<acc>* planned_ = nullptr;
  int64_t scratch_bytes_;
};

// An image whose order the kernel does not take is copied, a block of result rows (and of channels) at a
// time, so that the copy stays in cache: x before the kernel reads it, and only the columns that it reads; y
// after.
template <class acc>
class ConvertedResample {
 public:
  ConvertedResample(const ResampleKernel<acc>& kernel, const at::Tensor& input, const at::Tensor& output,
                    const AxisOfCall<acc>& height, const AxisOfCall<acc>& width, ResampleParams<acc> params,
                    Conversion conversion)
      : kernel_(kernel),
        conversion_(conversion),
        x_{input.element_size(), params.x_strides, static_cast<const char*>(params.x)},
        y_{output.element_size(), params.y_strides, static_cast<const char*>(params.y)},
        batch_(params.batch),
        channels_(params.channels),
        rows_(conversion.packs_x && params.x_strides.height != 1 ? height.table().sources()
                                                                 : std::vector<int64_t>()),
        columns_(conversion.packs_x ? width.table().sources() : std::vector<int64_t>()) {
    const int64_t row_count = static_cast<int64_t>(rows_.size());
    if (row_count > 0 && row_count < height.taps().in_size)
      few_rows_.emplace(height.table().of_sources(rows_));
    height_ = few_rows_ ? few_rows_->taps() : height.taps();
    params.height = height_;
    const bool all_columns = static_cast<int64_t>(columns_.size()) == width.taps().in_size;
    if (conversion.packs_x && !all_columns) few_.emplace(width.table().of_sources(columns_));
    const AxisOfCall<acc>& seen_width = few_ ? *few_ : width;
    column_list_ = few_ ? columns_.data() : nullptr;
    in_width_ = seen_width.taps().in_size;
    out_width_ = seen_width.taps().out_size;
    choose_blocks();

    params.batch = 1;
    params.channels = block_channels_;
    params.height_forward = {};
    if (conversion.packs_x) params.x_strides = dense_strides(in_width_);
    streams_ = params.stream;
    if (conversion.unpacks_y) params.y_strides = dense_strides(out_width_), params.stream = false;
    // The block at the end may have fewer channels: planar rows do not depend on them, but vectors over the
    // channels of a pixel and interleaved rows do.
    planned_.emplace(kernel, params, seen_width, !conversion.by_pixel);
    const int64_t rest = channels_ % block_channels_;
    if (rest > 0 && conversion.by_pixel) {
      params.channels = rest;
      planned_rest_.emplace(kernel, params, seen_width);
    }
  }

  void run() {
    const int64_t blocks = batch_ * channel_blocks() * row_blocks();
    const int64_t pixels = std::max(height_.in_size * in_width_, height_.out_size * out_width_);
    parallel_for(0, blocks, grain_of(blocks, batch_ * channels_ * pixels), [&](int64_t begin, int64_t end) {
      const int64_t kernel_bytes =
          std::max(planned_->scratch_bytes(), planned_rest_ ? planned_rest_->scratch_bytes() : 0);
      ScratchBuffer<16384> scratch(kernel_bytes);
      // A short row is read as a whole vector where the plane has rows after it, which a block may lack.
      ScratchBuffer<16384> packed(conversion_.packs_x ? x_row_bytes() * most_source_rows_ + kCacheLine : 0);
      ScratchBuffer<16384> result(conversion_.unpacks_y ? y_row_bytes() * block_rows_ : 0);
      for (int64_t unit = begin; unit < end; ++unit) {
        run_block(unit, scratch.data(), static_cast<char*>(packed.data()), static_cast<char*>(result.data()));
      }
    });
  }

 private:
  struct Image {
    int64_t element_size;
    Strides strides;
    const char* data;

    const char* at(int64_t n, int64_t c, int64_t row) const {
      return data + (n * strides.batch + c * strides.channel + row * strides.height) * element_size;
    }
  };

  // About the part of an L2 cache that the copies of a block may take.
  static constexpr int64_t kBlockBytes = 128 << 10;
  static constexpr int64_t kCacheLine = 64;

  int64_t x_row_bytes() const { return in_width_ * block_channels_ * x_.element_size; }
  int64_t y_row_bytes() const { return out_width_ * block_channels_ * y_.element_size; }
  int64_t channel_blocks() const { return (channels_ + block_channels_ - 1) / block_channels_; }
  int64_t row_blocks() const { return (height_.out_size + block_rows_ - 1) / block_rows_; }

  // Of a block's copy. Rows of planes are next to each other, so that a plane is not a power of two apart.
  Strides dense_strides(int64_t width) const {
    return conversion_.by_pixel ? Strides{0, 1, width * block_channels_, block_channels_}
                                : Strides{0, width, width * block_channels_, 1};
  }

  void choose_blocks() {
    const bool pixels = channels_ > 1 && (x_.strides.channel == 1 || y_.strides.channel == 1);
    const int64_t line = kCacheLine / std::min(x_.element_size, y_.element_size);
    const int64_t plane_bytes =
        height_.in_size * in_width_ * x_.element_size + height_.out_size * out_width_ * y_.element_size;
    const int64_t most =
        pixels ? std::max<int64_t>(line, 16) : std::max<int64_t>(1, kBlockBytes / plane_bytes);
    block_channels_ = std::min(channels_, most);
    // A block reads a row or two more than its share, which the next one reads again: a few rows at least.
    const int64_t in_per_out = (height_.in_size - 1) / height_.out_size + 1;
    const int64_t row_bytes =
        (conversion_.packs_x ? in_per_out * x_row_bytes() : 0) + (conversion_.unpacks_y ? y_row_bytes() : 0);
    const int64_t few = conversion_.packs_x ? 4 * ((height_.out_size - 1) / height_.in_size + 1) : 1;
    block_rows_ = std::min(height_.out_size, std::max(few, kBlockBytes / row_bytes));
    most_source_rows_ = 0;
    for (int64_t first = 0; conversion_.packs_x && first < height_.out_size; first += block_rows_) {
      const auto [low, high] = source_rows(first);
      most_source_rows_ = std::max(most_source_rows_, high - low);
    }
  }

  int64_t rows_end(int64_t first) const { return std::min(first + block_rows_, height_.out_size); }

  // The source rows that the block of result rows from `first` on reads.
  std::pair<int64_t, int64_t> source_rows(int64_t first) const {
    const int64_t *begin = height_.index + height_.offset[first],
                  *end = height_.index + height_.offset[rows_end(first)];
    if (begin == end) return {0, 0};
    const auto [low, high] = std::minmax_element(begin, end);
    return {*low, *high + 1};
  }

  void run_block(int64_t unit, void* scratch, char* packed, char* result) const {
    const int64_t first = unit % row_blocks() * block_rows_, last = rows_end(first);
    const int64_t plane = unit / row_blocks(), n = plane / channel_blocks();
    const int64_t c = plane % channel_blocks() * block_channels_;
    const int64_t channels = std::min(block_channels_, channels_ - c);
    const bool is_rest = channels < block_channels_ && planned_rest_;
    ResampleParams<acc> params = (is_rest ? *planned_rest_ : *planned_).params();

    params.x = x_.at(n, c, 0);
    if (conversion_.packs_x) {
      const auto [low, high] = source_rows(first);
      // All rows at once, or each that is read.
      const int64_t step = few_rows_ ? 1 : std::max<int64_t>(1, high - low);
      for (int64_t row = low; row < high; row += step) {
        const CopyParams copy{x_.at(n, c, few_rows_ ? rows_[row] : row),
                              packed + (row - low) * x_row_bytes(),
                              channels,
                              step,
                              in_width_,
                              x_.strides,
                              dense_strides(in_width_),
                              column_list_};
        active_level().copy(copy, x_.element_size);
      }
      params.x = before_first_row(packed, low, x_row_bytes());
    }
    if (conversion_.unpacks_y) {
      params.y = before_first_row(result, first, y_row_bytes());
    } else {
      params.y = const_cast<char*>(y_.at(n, c, 0));
    }
    if (conversion_.by_pixel) {
      kernel_.rows(params, first, last, scratch);
    } else if (last - first == height_.out_size) {
      kernel_.rows(params, 0, channels * height_.out_size, scratch);
    } else {
      for (int64_t i = 0; i < channels; ++i) {
        kernel_.rows(params, i * height_.out_size + first, i * height_.out_size + last, scratch);
      }
    }
    if (conversion_.unpacks_y) {
      const CopyParams copy{result,     const_cast<char*>(y_.at(n, c, first)),
                            channels,   last - first,
                            out_width_, dense_strides(out_width_),
                            y_.strides, nullptr};
      active_level().copy(copy, y_.element_size, streams_);
    }
  }

  const ResampleKernel<acc>& kernel_;
  const Conversion conversion_;
  const Image x_, y_;
  const int64_t batch_, channels_;
  AxisTaps<acc> height_;
  const std::vector<int64_t> rows_, columns_;  // those that are read
  std::optional<AxisOfCall<acc>> few_rows_;    // the height's table for these alone, unless they are all
  std::optional<AxisOfCall<acc>> few_;         // the width's table for these alone, unless they are all
  const int64_t* column_list_;
  int64_t in_width_, out_width_, block_channels_, block_rows_, most_source_rows_;
  bool streams_;
  std::optional<PlannedResample<acc>> planned_, planned_rest_;
};

// How many elements of x are read.
template <class acc>
int64_t elements_read(const ResampleParams<acc>& p) {
  return p.batch * p.channels * samples_read(p.height) * samples_read(p.width);
}

// Whether all pixels of a plane are one number in memory, such as those of the gradient of a sum, and so many
// that one row in memory pays.
inline bool is_expanded_plane(const at::Tensor& image) {
  constexpr int64_t kMany = 1 << 11;
  return image.size(3) > 1 && image.stride(3) == 0 && (image.stride(2) == 0 || image.size(2) == 1) &&
         image.numel() > kMany;
}

// The same image, of which one row (of one image, if all are one) is in memory, in the order of `other`.
inline at::Tensor with_one_row(const at::Tensor& image, const at::Tensor& other) {
  const int64_t batch = image.stride(0) == 0 ? std::min<int64_t>(1, image.size(0)) : image.size(0);
  const bool by_pixel = image.size(1) > 1 && other.stride(1) == 1;
  return image.narrow(0, 0, batch)
      .narrow(2, 0, 1)
      .contiguous(by_pixel ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous)
      .expand(image.sizes());
}

// output = A_h input A_w^T, finished by the kernel's epilogue. Both images may have any strides; a stride of
// a size-1 dimension is never used. `params` carries what the images and tables do not determine: stream, and
// the operands of the epilogue.
template <class acc>
void run_resample(const ResampleKernel<acc>& kernel, const at::Tensor& input, const at::Tensor& output,
                  const AxisOfCall<acc>& height, const AxisOfCall<acc>& width, ResampleParams<acc> params) {
  if (input.size(3) == 1 && output.size(3) == 1 && output.size(2) > 1) {  // a column is treated as a row
    params.height_forward = {};
    return run_resample(kernel, input.transpose(2, 3), output.transpose(2, 3), width, height, params);
  }
  if (is_expanded_plane(input)) {
    return run_resample(kernel, with_one_row(input, output), output, height, width, params);
  }
  params.x = input.const_data_ptr();
  params.y = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.x_strides = strides_of(input);
  params.y_strides = strides_of(output);
  params.height = height.taps();
  params.width = width.taps();
  const bool few_pixels = reads_few_pixels(params.height, params.width);
  const auto run_on_pixels_read = [&] {
    const auto read = PixelsRead<acc>::of(input, height, width);
    params.height_forward = {};
    run_resample<acc>(kernel, read.image, output, read.height, read.width, params);
  };
  const Conversion conversion = choose_conversion(params, !kernel.reads_y);
  // (Of a column that is read, a conversion copies all rows.)
  if (conversion.packs_x && params.x_strides.by_column() && few_pixels) return run_on_pixels_read();
  if (conversion.any()) {
    return ConvertedResample<acc>(kernel, input, output, height, width, params, conversion).run();
  }
  const PlannedResample<acc> planned(kernel, params, width);
  if (planned.scratch_bytes() > kMuchScratch && few_pixels) return run_on_pixels_read();
  const int64_t rows = planned.params().rows();
  parallel_for(0, rows, grain_of(rows, std::max({elements_read(params), output.numel(), 32 * rows})),
               [&](int64_t begin, int64_t end) {
                 ScratchBuffer<16384> scratch(planned.scratch_bytes());
                 kernel.rows(planned.params(), begin, end, scratch.data());
               });
}

// The same by a kernel whose epilogue takes operands.
template <class acc, class Operands>
void run_resample(const FusedKernel<acc, Operands>& kernel, const at::Tensor& input, const at::Tensor& output,
                  const AxisOfCall<acc>& height, const AxisOfCall<acc>& width, const Operands& operands,
                  bool stream) {
  ResampleParams<acc> params{};
  params.stream = stream;
  params.operands = &operands;
  run_resample<acc>(kernel, input, output, height, width, params);
}

// Bilinear resize into `output`, which has the input's dtype and any strides; `stream`: it is part of a
// result too large to stay in cache.
void upsample_into(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w, bool stream);
// The same of images (N, C, H, W) in any mode and dtype.
struct ResampleSettings;
void resize_plane_into(const at::Tensor& input, const at::Tensor& output, const ResampleSettings& settings,
                       bool stream);

}  // namespace upsample_ext

#include "copy_pixels.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "copy_choice.h"
#include "levels.h"
#include "parallel.h"
#include "tensor_view.h"

namespace upsample_ext {

using at::Tensor;

namespace {

// A row of both images that is adjacent in memory, of `count` elements.
using CopyRow = void (*)(const void* from, void* to, int64_t count, bool stream);

// Elements that a thread copies at least, and in one go.
constexpr int64_t kCopyGrain = 1 << 16;
constexpr int64_t kBlockElements = 1 << 14;

// memcpy for rows of a few vectors, such as the channels of a pixel: a call for each would take longer.
void copy_bytes(const char* from, char* to, int64_t bytes, bool stream) {
  constexpr int64_t kVector = 16, kFew = 128;
  if (bytes > kFew) return active_level().same_size.u8.row(from, to, bytes, stream);
  if (bytes < kVector) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  for (int64_t i = 0; i + kVector <= bytes; i += kVector) std::memcpy(to + i, from + i, kVector);
  std::memcpy(to + bytes - kVector, from + bytes - kVector, kVector);
}

void copy_rows(const CopyDimensions& loops, const char* from, char* to, int64_t size, CopyRow copy,
               bool stream) {
  const int64_t parts = (loops.row() + kCopyGrain - 1) / kCopyGrain;
  const int64_t grain = std::max<int64_t>(1, kCopyGrain / loops.row());
  parallel_for(0, loops.rows() * parts, grain, [&](int64_t begin, int64_t end) {
    int64_t from_start = 0, to_start = 0, left = 0;  // the row's, and how many follow it at equal distances
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = parts == 1 ? 0 : i % parts * kCopyGrain;
      const int64_t count = std::min(kCopyGrain, loops.row() - first);
      if (left > 0) {
        from_start += loops.next().from_stride;
        to_start += loops.next().to_stride;
        --left;
      } else {
        std::tie(from_start, to_start) = loops.start(i / parts);
        if (parts == 1) left = loops.next().size - i % loops.next().size - 1;
      }
      const char* source = from + (from_start + first) * size;
      char* target = to + (to_start + first) * size;
      if (copy) {
        copy(source, target, count, stream);
      } else {
        copy_bytes(source, target, count * size, stream);
      }
    }
  });
}

// `finish` for each row of a block of `to`, in place: a row of a plane, the channels of a pixel, or one
// element.
void finish_block(const CopyParams& block, int64_t size, CopyRow finish) {
  const Strides& strides = block.to_strides;
  const bool by_pixel = block.channels > 1 && strides.channel == 1, by_row = strides.width == 1;
  const int64_t channels = by_pixel ? 1 : block.channels, pixels = !by_pixel && by_row ? 1 : block.width;
  const int64_t count = by_pixel ? block.channels : by_row ? block.width : 1;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < block.height; ++y) {
      for (int64_t x = 0; x < pixels; ++x) {
        char* row = static_cast<char*>(block.to) +
                    (c * strides.channel + y * strides.height + x * strides.width) * size;
        finish(row, row, count, false);
      }
    }
  }
}

// Of different orders, a block at a time; `finish` then treats the rows of `to` in place.
void copy_blocks(const Tensor& from, const Tensor& to, CopyRow finish, bool stream) {
  const int64_t size = from.element_size();
  const int64_t channels = to.size(1), height = to.size(2), width = to.size(3);
  const bool pixels = channels > 1 && (from.stride(1) == 1 || to.stride(1) == 1);
  const int64_t line = std::max<int64_t>(16, 64 / size);  // of channels
  const int64_t most =
      std::min(channels, pixels ? line : std::max<int64_t>(1, kBlockElements / (height * width)));
  const int64_t channel_blocks = (channels + most - 1) / most;
  const int64_t rows = std::min(height, std::max<int64_t>(1, kBlockElements / (width * most)));
  const int64_t row_blocks = (height + rows - 1) / rows;
  const Strides from_strides = strides_of(from), to_strides = strides_of(to);
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  const int64_t blocks = to.size(0) * channel_blocks * row_blocks;
  parallel_for(0, blocks, std::max<int64_t>(1, kCopyGrain / (rows * width * most)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t row = i % row_blocks * rows, plane = i / row_blocks;
                   const int64_t n = plane / channel_blocks, c = plane % channel_blocks * most;
                   const auto offset = [&](const Strides& strides) {
                     return (n * strides.batch + c * strides.channel + row * strides.height) * size;
                   };
                   const CopyParams block{source + offset(from_strides),
                                          target + offset(to_strides),
                                          std::min(most, channels - c),
                                          std::min(rows, height - row),
                                          width,
                                          from_strides,
                                          to_strides,
                                          nullptr};
                   active_level().copy(block, size, stream);
                   if (finish) finish_block(block, size, finish);
                 }
               });
}

// As the gradient of a sum is.
bool is_one_number(const Tensor& image) {
  for (int64_t d = 0; d < image.dim(); ++d) {
    if (image.size(d) > 1 && image.stride(d) != 0) return false;
  }
  return image.numel() > 1;
}

void copy(const Tensor& from, const Tensor& to, CopyRow row, bool stream) {
  if (to.numel() == 0) return;
  if (is_one_number(from)) {
    to.fill_(from.as_strided({}, {}, from.storage_offset()));
    if (row) copy(to, to, row, stream);
    return;
  }
  const Strides from_strides = strides_of(from), to_strides = strides_of(to);
  if (to.size(1) > 1 && ((from_strides.by_column() && to_strides.channel == 1) ||
                         (to_strides.by_column() && from_strides.channel == 1))) {
    return copy(from.transpose(2, 3), to.transpose(2, 3), row, stream);
  }
  const CopyDimensions loops(from.sizes().data(), from.strides().data(), to.strides().data(), to.dim());
  if (loops.in_rows()) {
    copy_rows(loops, static_cast<const char*>(from.const_data_ptr()),
              static_cast<char*>(to.mutable_data_ptr()), from.element_size(), row, stream);
  } else {
    copy_blocks(from, to, row, stream && !row);
  }
}

}  // namespace

void copy_pixels(const Tensor& from, const Tensor& to, bool stream) { copy(from, to, nullptr, stream); }

void resize_to_same_size(const Tensor& from, const Tensor& to, bool stream) {
  if (from.scalar_type() == at::kByte) return copy_pixels(from, to, stream);
  dispatch_floating("upsample_bilinear2d", from.scalar_type(), [&](auto scalar, auto) {
    copy(from, to, active_level().same_size.of(storage_of<decltype(scalar)>{}).row, stream);
  });
}

}  // namespace upsample_ext

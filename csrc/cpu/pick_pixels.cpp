#include "pick_pixels.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "copy_pixels.h"
#include "levels.h"
#include "pick_choice.h"
#include "run_resample.h"
#include "scratch.h"
#include "tensor_view.h"

namespace upsample_ext {

using at::Tensor;

namespace {

// Bytes of the result that a thread gets at least, and that are picked before they change their order.
constexpr int64_t kPickGrain = 1 << 19, kPickBlock = 1 << 15, kCacheLine = 64;

ImageLayout layout_of(const Tensor& image) {
  return {image.size(0), image.size(1), image.size(2), image.size(3), strides_of(image)};
}

// One pixel after the other, from any strides: of an image in another order that is too large to copy whole.
template <class Word>
void pick_one_by_one(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column) {
  const Strides f = strides_of(from), t = strides_of(to);
  const Word* source = static_cast<const Word*>(from.const_data_ptr());
  Word* target = static_cast<Word*>(to.mutable_data_ptr());
  const int64_t channels = to.size(1), height = to.size(2), width = to.size(3);
  const bool pixels = layout_of(to).by_pixel();
  const int64_t grain = std::max<int64_t>(1, kPickGrain / (to.element_size() * channels * width));
  parallel_for(0, to.size(0) * height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / height, y = i % height;
      const Word* from_row = source + n * f.batch + row[y] * f.height;
      Word* to_row = target + n * t.batch + y * t.height;
      for (int64_t outer = 0; outer < (pixels ? width : channels); ++outer) {
        for (int64_t inner = 0; inner < (pixels ? channels : width); ++inner) {
          const int64_t x = pixels ? outer : inner, c = pixels ? inner : outer;
          to_row[c * t.channel + x * t.width] = from_row[c * f.channel + column[x] * f.width];
        }
      }
    }
  });
}

// What a kernel picks into, rows of planes or of pixels `to_row` bytes apart, and its plan.
class PlannedPick {
 public:
  PlannedPick(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column, bool pixels,
              int64_t to_row, bool stream)
      : planes_(pixels ? 1 : to.size(1)), params_{} {
    const int64_t size = to.element_size();
    params_.row = row;
    params_.column = column;
    params_.from_pixels = from.size(3);
    params_.to_pixels = to.size(3);
    params_.pixel_bytes = pixels ? size * to.size(1) : size;
    params_.from_row = from.stride(2) * size;
    params_.to_row = to_row;
    params_.rows = to.size(0) * planes_ * to.size(2);
    params_.stream = stream;
    plan_.emplace(kernel_.plan_bytes(params_));
    kernel_.build_plan(params_, plan_->data());
    params_.plan = plan_->data();
  }

  const PickParams& params() const { return params_; }
  int64_t planes() const { return planes_; }
  int64_t rows() const { return params_.rows; }
  int64_t row_bytes() const { return params_.to_pixels * params_.pixel_bytes; }
  // Rows begin .. end of a plane of the result, which starts at `to`.
  void rows_of_plane(const char* from, char* to, int64_t begin, int64_t end) const {
    kernel_.rows(params_, from, to, begin, end);
  }

 private:
  const PickKernel& kernel_ = active_level().pick;
  int64_t planes_;
  PickParams params_;
  std::optional<ScratchBuffer<4096>> plan_;
};

// Between rows and pixels: some rows are picked in the order of `from`, and then copied into that of `to`.
void pick_and_turn(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column,
                   bool from_pixels) {
  const int64_t size = to.element_size(), channels = to.size(1), height = to.size(2), width = to.size(3);
  const int64_t row_bytes = channels * width * size;
  const int64_t rows = std::min(height, std::max<int64_t>(1, kPickBlock / row_bytes));
  const int64_t blocks = (height + rows - 1) / rows;
  const Strides f = strides_of(from), t = strides_of(to);
  const Strides block =
      from_pixels ? Strides{0, 1, channels * width, channels} : Strides{0, rows * width, width, 1};
  const PlannedPick pick(from, to, row, column, from_pixels, block.height * size, false);
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  parallel_for(0, to.size(0) * blocks, std::max<int64_t>(1, kPickGrain / (rows * row_bytes)),
               [&](int64_t begin, int64_t end) {
                 ScratchBuffer<kPickBlock> picked(rows * row_bytes);
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t n = i / blocks, first = i % blocks * rows,
                                 last = std::min(height, first + rows);
                   // As if the whole plane were there, of which only these rows are written.
                   char* const plane = static_cast<char*>(picked.data()) - first * block.height * size;
                   for (int64_t c = 0; c < pick.planes(); ++c) {
                     pick.rows_of_plane(source + (n * f.batch + c * f.channel) * size,
                                        plane + c * block.channel * size, first, last);
                   }
                   active_level().copy({picked.data(), target + (n * t.batch + first * t.height) * size,
                                        channels, last - first, width, block, t, nullptr},
                                       size);
                 }
               });
}

// Between columns and rows of planes: some columns are picked, and then become rows.
void pick_and_transpose(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column) {
  const Tensor from_turned = from.transpose(2, 3), to_turned = to.transpose(2, 3);
  const int64_t size = to.element_size(), planes = to.size(0) * to.size(1), length = to.size(2),
                count = to.size(3);
  const int64_t columns = std::min(count, std::max(kCacheLine, kPickBlock / length) / size);
  const int64_t blocks = (count + columns - 1) / columns;
  const Strides f = strides_of(from), t = strides_of(to);
  const PlannedPick pick(from_turned, to_turned, column, row, false, length * size, false);
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  parallel_for(0, planes * blocks, std::max<int64_t>(1, kPickGrain / (columns * length * size)),
               [&](int64_t begin, int64_t end) {
                 ScratchBuffer<kPickBlock> picked(columns * length * size);
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t plane = i / blocks, n = plane / to.size(1), c = plane % to.size(1);
                   const int64_t first = i % blocks * columns, last = std::min(count, first + columns);
                   // As if the whole plane were there, of which only these columns are written.
                   pick.rows_of_plane(source + (n * f.batch + c * f.channel) * size,
                                      static_cast<char*>(picked.data()) - first * length * size, first, last);
                   char* const block = target + (n * t.batch + c * t.channel + first * t.width) * size;
                   active_level().copy(
                       {picked.data(), block, 1, length, last - first, {0, 0, 1, length}, t, nullptr}, size);
                 }
               });
}

// Both in the order of `to`.
void pick_in_order(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column,
                   bool pixels, bool stream) {
  const int64_t size = to.element_size();
  const Strides f = strides_of(from), t = strides_of(to);
  const PlannedPick pick(from, to, row, column, pixels, t.height * size, stream);
  const int64_t height = to.size(2);
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  const int64_t grain = std::max<int64_t>(1, kPickGrain / pick.row_bytes());
  parallel_for(0, pick.rows(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t plane = i / height, first = i % height, last = std::min(height, first + end - i);
      const int64_t n = plane / pick.planes(), c = plane % pick.planes();
      pick.rows_of_plane(source + (n * f.batch + c * f.channel) * size,
                         target + (n * t.batch + c * t.channel) * size, first, last);
      i += last - first;
    }
  });
}

}  // namespace

// A row is picked into cache, and added to the rows of the addend that it belongs to.
bool pick_into_sum(const Tensor& from, const Tensor& addend, const Tensor& to, const int64_t* row,
                   const int64_t* column, bool stream) {
  if (!can_pick_into(to)) return false;
  const PickLoops loops = choose_pick(layout_of(from), layout_of(to));
  const bool pixels = loops == PickLoops::kPixels;
  const bool in_order = pixels || loops == PickLoops::kRows;
  if (!in_order || !(pixels ? layout_of(addend).by_pixel() : layout_of(addend).by_row())) return false;
  const int64_t size = to.element_size(), height = to.size(2);
  const Strides f = strides_of(from), a = strides_of(addend), t = strides_of(to);
  const PlannedPick pick(from, to, row, column, pixels, 0, false);
  const char *source = static_cast<const char*>(from.const_data_ptr()),
             *other = static_cast<const char*>(addend.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  dispatch_floating("upsample_add", to.scalar_type(), [&](auto scalar, auto) {
    const auto& kernel = active_level().pick_sum.of(storage_of<decltype(scalar)>{});
    parallel_for(
        0, pick.rows(), std::max<int64_t>(1, kPickGrain / pick.row_bytes()), [&](int64_t begin, int64_t end) {
          ScratchBuffer<kPickBlock> picked(pick.row_bytes());
          for (int64_t i = begin; i < end;) {
            const int64_t plane = i / height, first = i % height, last = std::min(height, first + end - i);
            const int64_t n = plane / pick.planes(), c = plane % pick.planes();
            const PickedSum sum{source + (n * f.batch + c * f.channel) * size,
                                other + (n * a.batch + c * a.channel) * size,
                                target + (n * t.batch + c * t.channel) * size,
                                a.height * size,
                                t.height * size,
                                stream};
            kernel.rows(pick.params(), sum, first, last, picked.data());
            i += last - first;
          }
        });
  });
  return true;
}

bool can_pick_into(const Tensor& to) { return layout_of(to).by_pixel() || layout_of(to).by_row(); }

void pick_pixels(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column,
                 bool stream) {
  const int64_t size = to.element_size();
  switch (choose_pick(layout_of(from), layout_of(to))) {
    case PickLoops::kRows:
      return pick_in_order(from, to, row, column, false, stream);
    case PickLoops::kPixels:
      return pick_in_order(from, to, row, column, true, stream);
    case PickLoops::kRowsTurned:
      return pick_and_turn(from, to, row, column, false);
    case PickLoops::kPixelsTurned:
      return pick_and_turn(from, to, row, column, true);
    case PickLoops::kColumnsTurned:
      return pick_and_transpose(from, to, row, column);
    case PickLoops::kOneByOne:
      if (size == 1) return pick_one_by_one<uint8_t>(from, to, row, column);
      if (size == 2) return pick_one_by_one<uint16_t>(from, to, row, column);
      if (size == 4) return pick_one_by_one<uint32_t>(from, to, row, column);
      return pick_one_by_one<uint64_t>(from, to, row, column);
    case PickLoops::kFromOrdered: {
      const bool pixels = layout_of(to).by_pixel();
      const Tensor ordered =
          at::empty(from.sizes(), from.options(),
                    pixels ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
      copy_pixels(from, ordered);
      return pick_in_order(ordered, to, row, column, pixels, stream);
    }
  }
}

}  // namespace upsample_ext

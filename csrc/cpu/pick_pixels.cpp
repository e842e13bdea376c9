#include <torch_headers.h>

#include "pick_pixels.h"

#include <algorithm>
#include <optional>

#include "copy_pixels.h"
#include "levels.h"
#include "run_resample.h"
#include "scratch.h"
#include "tensor_view.h"

namespace upsample_ext {

using at::Tensor;

namespace {

// Bytes of the result that a thread gets at least.
constexpr int64_t kPickGrain = 1 << 19;

bool by_pixel(const Tensor& image) {
  return image.size(1) > 1 && image.stride(1) == 1 &&
         (image.size(3) == 1 || image.stride(3) == image.size(1));
}
bool by_row(const Tensor& image) { return image.size(3) == 1 || image.stride(3) == 1; }

// One pixel after the other, from any strides: of an image in another order that is too large to copy whole.
template <class Word>
void pick_one_by_one(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column) {
  const Strides f = strides_of(from), t = strides_of(to);
  const Word* source = static_cast<const Word*>(from.const_data_ptr());
  Word* target = static_cast<Word*>(to.mutable_data_ptr());
  const int64_t channels = to.size(1), height = to.size(2), width = to.size(3);
  const bool pixels = by_pixel(to);
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

}  // namespace

void pick_pixels(const Tensor& from, const Tensor& to, const int64_t* row, const int64_t* column,
                 bool stream) {
  const bool pixels = by_pixel(to);
  const int64_t size = to.element_size();
  if (!(pixels ? by_pixel(from) : by_row(from))) {
    if (from.numel() > to.numel()) {
      if (size == 1) return pick_one_by_one<uint8_t>(from, to, row, column);
      if (size == 2) return pick_one_by_one<uint16_t>(from, to, row, column);
      if (size == 4) return pick_one_by_one<uint32_t>(from, to, row, column);
      return pick_one_by_one<uint64_t>(from, to, row, column);
    }
    const Tensor ordered = at::empty(from.sizes(), from.options(),
                                     pixels ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    copy_pixels(from, ordered);
    return pick_pixels(ordered, to, row, column, stream);
  }
  const Strides f = strides_of(from), t = strides_of(to);
  PickParams params{row,
                    column,
                    from.size(3),
                    to.size(3),
                    pixels ? size * to.size(1) : size,
                    f.height * size,
                    t.height * size,
                    stream,
                    nullptr};
  const PickKernel& kernel = active_level().pick;
  ScratchBuffer<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.plan = plan.data();
  const int64_t planes_each = pixels ? 1 : to.size(1), height = to.size(2);
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  const int64_t grain = std::max<int64_t>(1, kPickGrain / (params.to_pixels * params.pixel_bytes));
  parallel_for(0, to.size(0) * planes_each * height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t plane = i / height, first = i % height, last = std::min(height, first + end - i);
      const int64_t n = plane / planes_each, c = plane % planes_each;
      kernel.rows(params, source + (n * f.batch + c * f.channel) * size,
                  target + (n * t.batch + c * t.channel) * size, first, last);
      i += last - first;
    }
  });
}

}  // namespace upsample_ext

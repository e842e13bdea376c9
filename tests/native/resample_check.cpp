// Runs the resample kernels without torch and compares every element with a plain double sum over the tables;
// those with an epilogue too.
// test_levels.py builds it natively under sanitizers, for each level, and for aarch64.
//
// All memory is on the heap in blocks of the exact size, so that a sanitizer sees one element too many.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "cpu/levels.h"
#include "cpu/resample_choice.h"
#include "cpu/scratch.h"
#include "geometry/axis_table.h"
#include "images.h"

namespace upsample_ext {
namespace {

// How far a result may be from the exact one, relative to the largest value.
constexpr double kLargest = 255.0;
double tolerance(double) { return kLargest * 1e-14; }
double tolerance(float) { return kLargest * 1e-6; }
double tolerance(half_t) { return kLargest * 0x1p-11 + 1e-3; }
double tolerance(bfloat16_t) { return kLargest * 0x1p-8 + 1e-3; }
double tolerance(uint8_t) { return 0.5 + 1e-3; }
// Bytes that are enlarged are blended in fixed point.
double fixed_point_tolerance(bool enlarged) { return enlarged ? 0.02 : 0.0; }

template <class acc>
double exact_tap_sum(const AxisTaps<acc>& height, const AxisTaps<acc>& width, int64_t oy, int64_t ox,
                     const std::vector<int>& plane) {
  double sum = 0.0;
  for (int64_t ty = height.offset[oy]; ty < height.offset[oy + 1]; ++ty) {
    for (int64_t tx = width.offset[ox]; tx < width.offset[ox + 1]; ++tx) {
      const int value = plane[height.index[ty] * width.in_size + width.index[tx]];
      sum += static_cast<double>(height.weight[ty]) * static_cast<double>(width.weight[tx]) * value;
    }
  }
  return sum;
}

// Streamed results must be aligned for the widest vector; a block of this kind has no byte to spare either.
template <class T>
std::unique_ptr<T[], decltype(&std::free)> aligned_array(int64_t count) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, count * sizeof(T)) != 0) std::abort();
  std::memset(memory, 0x55, count * sizeof(T));
  return {static_cast<T*>(memory), &std::free};
}

struct Case {
  Layout layout;
  int64_t channels;
  bool stream;
  bool splits = false;  // pixels to planes
};

// The layout of a case's images, in the order in which the kernel wants them.
template <class acc>
void lay_out(const Case& of, const ResampleKernel<acc>& kernel, ResampleParams<acc>& p) {
  const Layout layout = of.splits ? Layout::kChannelsLast : of.layout;
  p.x_strides = strides_of(layout, p.channels, p.height.in_size, p.width.in_size);
  p.y_strides = strides_of(of.layout, p.channels, p.height.out_size, p.width.out_size);
  p.channels_last = of.layout == Layout::kChannelsLast;
  p.stream = of.stream;
  if (of.splits) p.split = choose_split(p);
  if (choose_order(p, kernel.lanes, kernel.takes_words) == PixelOrder::kWords) {
    p.split = Split::kWords;
    p.channels_last = false;
  }
}

// Two threads' worth of rows, one after the other.
template <class acc>
void run(const ResampleKernel<acc>& kernel, ResampleParams<acc> p) {
  ScratchBuffer<1> plan(kernel.plan_bytes(p));
  kernel.build_plan(p, plan.data());
  p.plan = plan.data();
  ScratchBuffer<1> scratch(kernel.scratch_bytes(p));
  const int64_t middle = p.rows() / 3;
  kernel.rows(p, 0, middle, scratch.data());
  kernel.rows(p, middle, p.rows(), scratch.data());
}

template <class F>
void for_each_element(const Strides& strides, int64_t batch, int64_t channels, int64_t height, int64_t width,
                      F&& f) {
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x) {
          f(n * strides.batch + c * strides.channel + y * strides.height + x * strides.width);
        }
      }
    }
  }
}

// The epilogues, against the plain kernel of the same values in acc: the comparison must be that of what it
// stores; the sum, of which only what is added is rounded away, within the storage type's rounding, and the
// same bits where the result itself is what is added to.
template <class T, class acc>
int wrong_fused_elements(const AxisTable<acc>& height, const AxisTable<acc>& width, const Case& of) {
  ResampleParams<acc> p{};
  p.batch = 2;
  p.channels = of.channels;
  p.height = height.taps();
  p.width = width.taps();
  lay_out(of, active_level().resample.of(acc{}), p);
  const int64_t in_count = p.batch * p.x_strides.batch, out_count = p.batch * p.y_strides.batch;
  const auto each_output = [&](auto&& f) {
    for_each_element(p.y_strides, p.batch, p.channels, p.height.out_size, p.width.out_size, f);
  };

  const std::unique_ptr<T[]> input(new T[in_count]());
  const std::unique_ptr<acc[]> wide(new acc[in_count]());
  uint32_t random = 1;
  const auto next = [&] { return static_cast<int>((random = random * 1664525u + 1013904223u) >> 24); };
  for_each_element(p.x_strides, p.batch, p.channels, p.height.in_size, p.width.in_size, [&](int64_t i) {
    const int value = next();
    encode(value, &input[i]);
    encode(value, &wide[i]);
  });
  const auto plain = aligned_array<acc>(out_count);
  p.x = wide.get();
  p.y = plain.get();
  run(active_level().resample.of(acc{}), p);
  p.x = input.get();

  const auto other = aligned_array<T>(out_count), sum = aligned_array<T>(out_count),
             in_place = aligned_array<T>(out_count);
  each_output([&](int64_t i) {
    encode(next(), &other[i]);
    in_place[i] = other[i];
  });
  const auto add = [&](const T* addend, T* result) {
    const AddOperands operands{addend, result};
    p.y = result;
    p.operands = &operands;
    run<acc>(active_level().add.of(T{}), p);
  };
  add(other.get(), sum.get());
  add(in_place.get(), in_place.get());
  int wrong = 0;
  each_output([&](int64_t i) {
    const double exact = static_cast<double>(plain[i]) + decode(other[i]);
    wrong += !(std::fabs(decode(sum[i]) - exact) <= 2 * tolerance(T{}));
    wrong += decode(sum[i]) != decode(in_place[i]);
  });

  if constexpr (sizeof(acc) == sizeof(float)) {
    const auto above = aligned_array<uint8_t>(out_count);
    const ThresholdOperands<acc> operands{plain[0]};  // equal somewhere
    p.y = above.get();
    p.operands = &operands;
    run<acc>(active_level().threshold.of(T{}), p);
    each_output([&](int64_t i) { wrong += above[i] != (plain[i] > operands.threshold); });
  }
  return wrong;
}

template <class T, class acc>
int wrong_elements(const AxisTable<acc>& height, const AxisTable<acc>& width,
                   const AxisTaps<acc>& height_forward, const Case& of) {
  constexpr int64_t kBatch = 2;
  const int64_t channels = of.channels;
  const ResampleKernel<acc>& kernel = active_level().resample.of(T{});
  ResampleParams<acc> p{};
  p.batch = kBatch;
  p.channels = channels;
  p.height = height.taps();
  p.width = width.taps();
  p.height_forward = height_forward;
  lay_out(of, kernel, p);

  const int64_t in_plane = p.height.in_size * p.width.in_size;
  std::vector<std::vector<int>> planes(kBatch * channels, std::vector<int>(in_plane));
  const std::unique_ptr<T[]> input(new T[kBatch * p.x_strides.batch]());
  const auto output = aligned_array<T>(kBatch * p.y_strides.batch);
  uint32_t random = 1;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < in_plane; ++i) {
        random = random * 1664525u + 1013904223u;
        const int value = static_cast<int>(random >> 24);
        planes[n * channels + c][i] = value;
        const int64_t y = i / p.width.in_size, x = i % p.width.in_size;
        encode(value, &input[n * p.x_strides.batch + c * p.x_strides.channel + y * p.x_strides.height +
                             x * p.x_strides.width]);
      }
    }
  }
  p.x = input.get();
  p.y = output.get();

  run(kernel, p);

  int wrong = 0;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < p.height.out_size; ++y) {
        for (int64_t x = 0; x < p.width.out_size; ++x) {
          double exact = exact_tap_sum(p.height, p.width, y, x, planes[n * channels + c]);
          if (sizeof(T) == 1) exact = exact < kLargest ? exact : kLargest;
          const T got = output[n * p.y_strides.batch + c * p.y_strides.channel + y * p.y_strides.height +
                               x * p.y_strides.width];
          // Adjoint tables gather several outputs, so that a sum may exceed the largest input.
          const double allowed =
              sizeof(T) == 1 ? tolerance(T{}) + fixed_point_tolerance(p.height.out_size >= p.height.in_size)
                             : tolerance(T{}) * std::fmax(1.0, exact / kLargest);
          wrong += !(std::fabs(decode(got) - exact) <= allowed);
        }
      }
    }
  }
  return wrong;
}

template <class T, class acc>
int wrong_results(const char* type) {
  const std::vector<acc> kernel = {acc(0.25), acc(0.75), acc(0.75), acc(0.25)};
  const auto deconv = [&](int64_t in_size, bool replicate) {
    return AxisTable<acc>::conv_transpose({in_size, 4, 2, 1, 0, 1, replicate}, kernel.data());
  };
  const auto linear = [](int64_t in_size, int64_t out_size, bool align_corners = false) {
    return AxisTable<acc>::linear(in_size, out_size, align_corners, 0.0);
  };
  struct Pair {
    const char* name;
    AxisTable<acc> height, width;
    bool gradient = false;
    bool resize() const { return height.taps().interpolates && width.taps().interpolates && !gradient; }
  };
  const Pair pairs[] = {
      {"x2", linear(5, 10), linear(9, 18)},
      {"x2, wide", linear(3, 6), linear(70, 140)},
      {"x8", linear(3, 24), linear(18, 144)},
      {"up, align_corners", linear(3, 10, true), linear(37, 129, true)},
      {"down", linear(12, 5), linear(71, 20)},
      {"down, a little", linear(9, 7), linear(150, 90)},
      {"down, a little, along the width", linear(6, 7), linear(150, 90)},
      {"down, far", linear(8, 3), linear(300, 21)},
      {"one sample", linear(1, 3), linear(1, 17)},
      {"transposed convolution", deconv(4, false), deconv(19, false)},
      {"transposed convolution, a short row", deconv(4, false), deconv(7, false)},
      {"transposed convolution, wide", deconv(4, false), deconv(67, false)},
      {"transposed convolution, replicate", deconv(4, true), deconv(19, true)},
      {"gradient of up", linear(5, 12), linear(33, 70), true},
      {"gradient of x2", linear(5, 10), linear(70, 140), true},
      {"gradient of x4", linear(3, 12), linear(33, 132), true},
      {"gradient of x8", linear(4, 32), linear(17, 136), true},
      {"gradient of down", linear(12, 5), linear(150, 90), true},
      {"gradient of down, far", linear(50, 4), linear(300, 21), true},
      {"gradient of down, far, pixels of 3 values", linear(9, 1), linear(100, 11).interleaved(3), true},
      {"gradient of the same height", linear(4, 4), linear(5, 11), true},
      {"gradient of transposed convolution", deconv(5, false), deconv(35, false), true},
      {"gradient of transposed convolution, a short row", deconv(5, false), deconv(6, false), true},
  };
  const Case cases[] = {
      {Layout::kPlanar, 5, false},        {Layout::kPlanar, 2, true},
      {Layout::kChannelsLast, 3, false},  {Layout::kChannelsLast, 32, true},
      {Layout::kChannelsLast, 37, false}, {Layout::kEverySecondColumn, 5, false},
      {Layout::kPlanar, 2, false, true},  {Layout::kPlanar, 3, true, true},
      {Layout::kPlanar, 4, false, true},  {Layout::kChannelsLast, 4, false},
      {Layout::kChannelsLast, 4, true},
  };
  int wrong = 0;
  for (const Pair& pair : pairs) {
    for (const Case& of : cases) {
      int elements = pair.gradient ? wrong_elements<T>(pair.height.transposed(), pair.width.transposed(),
                                                       pair.height.taps(), of)
                                   : wrong_elements<T>(pair.height, pair.width, AxisTaps<acc>{}, of);
      if constexpr (!std::is_same_v<T, uint8_t>) {
        if (pair.resize()) elements += wrong_fused_elements<T>(pair.height, pair.width, of);
      }
      if (elements != 0) {
        std::printf("%s, %s, layout %d, %d channels: %d elements are wrong\n", type, pair.name,
                    static_cast<int>(of.layout), static_cast<int>(of.channels), elements);
      }
      wrong += elements;
    }
  }
  return wrong;
}

// Gradients of images that fit in a vector or two, on either side.
template <class T, class acc>
int wrong_small_gradients(const char* type) {
  const auto linear = [](int64_t size, double factor) {
    return AxisTable<acc>::linear(size, std::max<int64_t>(1, static_cast<int64_t>(size * factor)), false,
                                  0.0);
  };
  const Case cases[] = {
      {Layout::kPlanar, 3, false},
      {Layout::kPlanar, 2, true},
      {Layout::kChannelsLast, 3, false},
      {Layout::kEverySecondColumn, 2, false},
  };
  int wrong = 0;
  for (const double factor : {0.05, 0.1, 0.2, 0.37, 1.4}) {
    for (int64_t size = 2; size <= 40; ++size) {
      const auto height = linear(43 - size, factor), width = linear(size, factor);
      for (const Case& of : cases) {
        const int elements = wrong_elements<T>(height.transposed(), width.transposed(), height.taps(), of);
        if (elements != 0) {
          std::printf("%s, gradient of x%g, width %d, layout %d, %d channels: %d elements are wrong\n", type,
                      factor, static_cast<int>(size), static_cast<int>(of.layout),
                      static_cast<int>(of.channels), elements);
        }
        wrong += elements;
      }
    }
  }
  return wrong;
}

// Bytes by filters: along the width and then along the height, rounded each time, in integers.
std::vector<int> filtered(const AxisTaps<float>& axis, const std::vector<int>& lines) {
  const int64_t count = static_cast<int64_t>(lines.size()) / axis.in_size;
  const int64_t one = int64_t{1} << axis.weight_bits;
  std::vector<int> results;
  for (int64_t line = 0; line < count; ++line) {
    for (int64_t o = 0; o < axis.out_size; ++o) {
      int64_t sum = one / 2;
      for (int64_t t = axis.offset[o]; t < axis.offset[o + 1]; ++t) {
        sum += static_cast<int64_t>(axis.weight[t] * static_cast<float>(one)) *
               lines[line * axis.in_size + axis.index[t]];
      }
      results.push_back(static_cast<int>(std::clamp<int64_t>(sum >> axis.weight_bits, 0, 255)));
    }
  }
  return results;
}
std::vector<int> turned(const std::vector<int>& plane, int64_t height, int64_t width) {
  std::vector<int> result;
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t y = 0; y < height; ++y) result.push_back(plane[y * width + x]);
  }
  return result;
}

int wrong_filtered_bytes(const AxisTable<float>& height, const AxisTable<float>& width, const Case& of) {
  constexpr int64_t kBatch = 2;
  const auto& kernel = active_level().resample.u8;
  ResampleParams<float> p{};
  p.rounds_between = true;
  p.stream = of.stream;
  p.batch = kBatch;
  p.channels = of.channels;
  p.height = height.taps();
  p.width = width.taps();
  p.x_strides = strides_of(of.layout, of.channels, p.height.in_size, p.width.in_size);
  p.y_strides = strides_of(of.layout, of.channels, p.height.out_size, p.width.out_size);
  const Strides from = p.x_strides, to = p.y_strides;
  const std::unique_ptr<uint8_t[]> input(new uint8_t[kBatch * from.batch]());
  const auto output = aligned_array<uint8_t>(kBatch * to.batch);
  uint32_t random = 1;
  for (int64_t i = 0; i < kBatch * from.batch; ++i) {
    random = random * 1664525u + 1013904223u;
    input[i] = static_cast<uint8_t>((random >> 24) % 3 == 0 ? random >> 16 : random >> 31 ? 255 : 0);
  }
  p.x = input.get();
  p.y = output.get();

  // As a launcher: the plan is of a row of all values, and counts the channels of its pixels.
  const bool pixels = of.layout == Layout::kChannelsLast;
  const AxisTable<float> values = width.interleaved(pixels ? of.channels : 1);
  p.width = values.taps();
  p.channels = pixels ? of.channels : 1;
  ScratchBuffer<1> plan(kernel.plan_bytes(p));
  kernel.build_plan(p, plan.data());
  p.plan = plan.data();
  p.channels = pixels ? 1 : of.channels;
  p.x_strides.width = p.y_strides.width = 1;
  ScratchBuffer<1> scratch(kernel.scratch_bytes(p));
  const int64_t middle = p.rows() / 3;
  kernel.rows(p, 0, middle, scratch.data());
  kernel.rows(p, middle, p.rows(), scratch.data());

  int wrong = 0;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t c = 0; c < of.channels; ++c) {
      std::vector<int> plane;
      const auto keep = [&](int64_t i) { plane.push_back(input[n * from.batch + c * from.channel + i]); };
      for_each_element({0, 0, from.height, from.width}, 1, 1, height.taps().in_size, width.taps().in_size,
                       keep);
      const auto wide = turned(filtered(width.taps(), plane), height.taps().in_size, width.taps().out_size);
      const auto expected =
          turned(filtered(height.taps(), wide), width.taps().out_size, height.taps().out_size);
      size_t next = 0;
      for_each_element(
          {0, 0, to.height, to.width}, 1, 1, height.taps().out_size, width.taps().out_size,
          [&](int64_t i) { wrong += output[n * to.batch + c * to.channel + i] != expected[next++]; });
    }
  }
  return wrong;
}

int wrong_filtered_bytes() {
  if (!active_level().resample.u8.rounds_between) return 0;
  const Case cases[] = {{Layout::kPlanar, 2, true},        {Layout::kPlanar, 1, false},
                        {Layout::kChannelsLast, 2, false}, {Layout::kChannelsLast, 3, true},
                        {Layout::kChannelsLast, 3, false}, {Layout::kChannelsLast, 4, true}};
  const int64_t sizes[][4] = {{5, 70, 10, 140}, {5, 70, 10, 128}, {5, 9, 7, 64},   {9, 150, 6, 100},
                              {30, 150, 9, 40}, {60, 300, 4, 21}, {7, 2000, 3, 9}, {3, 1, 5, 30},
                              {40, 5, 3, 2},    {4, 33, 4, 80},   {4, 64, 9, 64},  {20, 3, 40, 1},
                              {12, 700, 5, 77}};
  int wrong = 0;
  for (const auto& size : sizes) {
    for (const auto& [mode, antialias] :
         {std::pair{Mode::kCubic, false}, {Mode::kCubic, true}, {Mode::kLinear, true}}) {
      const auto axis = [&](int64_t in, int64_t out) {
        return AxisTable<float>::of(
            in == out ? copied_axis(in)
                      : AxisSpec{mode, antialias, in, out, false, 0.0, NativeRules::kCpuBytes});
      };
      for (const Case& of : cases) {
        const int elements = wrong_filtered_bytes(axis(size[0], size[2]), axis(size[1], size[3]), of);
        if (elements == 0) continue;
        std::printf(
            "bytes by filter %d, antialias %d, %dx%d to %dx%d, layout %d, %d channels: %d are wrong\n",
            static_cast<int>(mode), antialias, static_cast<int>(size[0]), static_cast<int>(size[1]),
            static_cast<int>(size[2]), static_cast<int>(size[3]), static_cast<int>(of.layout),
            static_cast<int>(of.channels), elements);
        wrong += elements;
      }
    }
  }
  return wrong;
}

}  // namespace
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext;
  return report([] {
    return wrong_results<double, double>("float64") + wrong_results<float, float>("float32") +
           wrong_results<half_t, float>("float16") + wrong_results<bfloat16_t, float>("bfloat16") +
           wrong_results<uint8_t, float>("uint8") + wrong_filtered_bytes() +
           wrong_small_gradients<double, double>("float64") + wrong_small_gradients<float, float>("float32") +
           wrong_small_gradients<half_t, float>("float16") +
           wrong_small_gradients<bfloat16_t, float>("bfloat16");
  });
}

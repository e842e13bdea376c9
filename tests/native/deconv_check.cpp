// Runs the depthwise transposed convolution and the channel sum without torch and compares every element with
// a plain double loop. test_levels.py builds it natively under sanitizers, for each level, and for aarch64.
//
// All memory is on the heap in blocks of the exact size, so that a sanitizer sees one element too many.
// Values are small whole numbers, so that sums are exact and only the rounding to a half type may show.
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "cpu/levels.h"
#include "cpu/scratch.h"
#include "images.h"

namespace upsample_ext {
namespace {

double relative_tolerance(double) { return 0.0; }
double relative_tolerance(float) { return 0.0; }
double relative_tolerance(half_t) { return 0x1p-11; }
double relative_tolerance(bfloat16_t) { return 0x1p-8; }

struct Random {
  uint32_t state = 1;
  int next() {  // -4 .. 4
    state = state * 1664525u + 1013904223u;
    return static_cast<int>((state >> 24) % 9) - 4;
  }
};

// An image or the weights, as numbers in order of (n, c, y, x) and as the kernel sees them.
template <class T>
struct Tensor {
  int64_t batch, channels, height, width;
  Strides strides;
  std::unique_ptr<T[]> data;
  std::vector<double> value;

  Tensor(Layout layout, int64_t n, int64_t c, int64_t h, int64_t w)
      : batch(n), channels(c), height(h), width(w), strides(strides_of(layout, c, h, w)) {
    data.reset(new T[batch * strides.batch]());
    value.assign(batch * channels * height * width, 0.0);
  }
  int64_t number(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return ((n * channels + c) * height + y) * width + x;
  }
  double& at(int64_t n, int64_t c, int64_t y, int64_t x) { return value[number(n, c, y, x)]; }
  template <class Each>
  void each(Each each) {
    for (int64_t i = 0; i < static_cast<int64_t>(value.size()); ++i) {
      const int64_t x = i % width, y = i / width % height, plane = i / width / height;
      const int64_t n = plane / channels, c = plane % channels;
      each(value[i], data[n * strides.batch + c * strides.channel + y * strides.height + x * strides.width]);
    }
  }
  void randomize(Random& random) {
    each([&](double& value, T& element) {
      const int whole = random.next();
      value = whole;
      encode(whole, &element);
    });
  }
  // What was written against what should have been.
  int wrong() {
    int wrong = 0;
    each([&](double& exact, T& element) {
      wrong += !(std::fabs(decode(element) - exact) <= std::fabs(exact) * relative_tolerance(T{}));
    });
    return wrong;
  }
};

struct Case {
  const char* name;
  int64_t batch, channels;
  ConvTransposeAxis height, width;
};

// Two threads' worth, one after the other.
template <class T>
void run(const DeconvKernel<T>& kernel, DeconvParams& p) {
  ScratchBuffer<1> plan(kernel.plan_bytes(p));
  kernel.build_plan(p, plan.data());
  p.plan = plan.data();
  ScratchBuffer<1> scratch(kernel.scratch_bytes(p));
  const int64_t count = kernel.rows(p);
  kernel.run(p, 0, count / 3, scratch.data());
  kernel.run(p, count / 3, count, scratch.data());
}

// Calls tap(oy, ox, iy, ix, ky, kx) for every product of a plane.
template <class Tap>
void each_tap(const Case& c, Tap tap) {
  for (int64_t oy = 0; oy < c.height.out_size(); ++oy) {
    for (int64_t ky = 0; ky < c.height.kernel_size; ++ky) {
      int64_t y, iy;
      if (!c.height.source(oy, ky, &y) || !c.height.sample(y, &iy)) continue;
      for (int64_t ox = 0; ox < c.width.out_size(); ++ox) {
        for (int64_t kx = 0; kx < c.width.kernel_size; ++kx) {
          int64_t x, ix;
          if (c.width.source(ox, kx, &x) && c.width.sample(x, &ix)) tap(oy, ox, iy, ix, ky, kx);
        }
      }
    }
  }
}

using Pass = DeconvPass;

template <class T>
int wrong_elements(const Case& c, Layout layout, Pass pass, bool stream) {
  const auto& kernel = active_level().deconv.of(T{});
  Random random;
  Tensor<T> input(layout, c.batch, c.channels, c.height.in_size, c.width.in_size);
  Tensor<T> output(layout, c.batch, c.channels, c.height.out_size(), c.width.out_size());
  Tensor<T> weight(Layout::kPlanar, 1, c.channels, c.height.kernel_size, c.width.kernel_size);
  Tensor<T> bias(Layout::kPlanar, 1, c.channels, 1, 1);
  if (pass != Pass::kBackwardInput) input.randomize(random);
  if (pass != Pass::kForward) output.randomize(random);
  if (pass != Pass::kBackwardWeight) weight.randomize(random);
  bias.randomize(random);

  DeconvParams p{};
  p.pass = pass;
  p.batch = c.batch;
  p.channels = c.channels;
  p.height = c.height;
  p.width = c.width;
  p.in = input.strides;
  p.out = output.strides;
  p.weight_channel = weight.strides.channel;
  p.weight_height = weight.strides.height;
  p.weight_width = weight.strides.width;
  p.channels_last = layout == Layout::kChannelsLast;
  p.stream = stream;
  p.input = input.data.get();
  p.output = output.data.get();
  p.weight = weight.data.get();

  if (pass == Pass::kForward) {
    p.bias = bias.data.get();
    p.bias_stride = 1;
  }
  run(kernel, p);

  for (int64_t n = 0; n < c.batch; ++n) {
    for (int64_t ch = 0; ch < c.channels; ++ch) {
      for (int64_t i = 0; pass == Pass::kForward && i < output.height * output.width; ++i) {
        output.at(n, ch, i / output.width, i % output.width) = bias.at(0, ch, 0, 0);
      }
      each_tap(c, [&](int64_t oy, int64_t ox, int64_t iy, int64_t ix, int64_t ky, int64_t kx) {
        double &in = input.at(n, ch, iy, ix), &out = output.at(n, ch, oy, ox);
        double& w = weight.at(0, ch, ky, kx);
        if (pass == Pass::kForward) out += in * w;
        if (pass == Pass::kBackwardInput) in += out * w;
        if (pass == Pass::kBackwardWeight) w += in * out;
      });
    }
  }
  return pass == Pass::kForward ? output.wrong()
                                : (pass == Pass::kBackwardInput ? input.wrong() : weight.wrong());
}

template <class T>
int wrong_channel_sums(const Case& c, Layout layout) {
  Random random;
  Tensor<T> image(layout, c.batch, c.channels, c.height.out_size(), c.width.out_size());
  Tensor<T> sum(Layout::kPlanar, 1, c.channels, 1, 1);
  image.randomize(random);
  ChannelSumParams p{};
  p.input = image.data.get();
  p.output = sum.data.get();
  p.batch = image.batch;
  p.channels = image.channels;
  p.height = image.height;
  p.width = image.width;
  p.in = image.strides;
  p.channels_last = layout == Layout::kChannelsLast;
  active_level().deconv.of(T{}).channel_sum(p, 0, active_level().deconv.of(T{}).channel_sum_rows(p));
  for (int64_t i = 0; i < static_cast<int64_t>(image.value.size()); ++i) {
    sum.value[i / (p.height * p.width) % p.channels] += image.value[i];
  }
  return sum.wrong();
}

template <class T>
int wrong_results(const char* type) {
  // in_size, kernel_size, stride, padding, output_padding, dilation, replicate
  const Case cases[] = {
      {"x2", 2, 5, {5, 4, 2, 1, 0, 1, false}, {9, 4, 2, 1, 0, 1, false}},
      {"x2, rows longer than vectors", 1, 3, {6, 4, 2, 1, 0, 1, false}, {67, 4, 2, 1, 0, 1, false}},
      {"x2, rows of whole vectors", 1, 3, {4, 4, 2, 1, 0, 1, false}, {64, 4, 2, 1, 0, 1, false}},
      {"x2, many channels", 1, 37, {3, 4, 2, 1, 0, 1, false}, {11, 4, 2, 1, 0, 1, false}},
      {"x2, replicate", 2, 3, {4, 4, 2, 1, 0, 1, true}, {35, 4, 2, 1, 0, 1, true}},
      {"x2, output padding", 1, 2, {4, 3, 2, 1, 1, 1, false}, {33, 3, 2, 1, 1, 1, false}},
      {"x2, much padding", 1, 2, {6, 4, 2, 5, 0, 1, false}, {40, 4, 2, 5, 0, 1, false}},
      {"x2, dilated", 1, 2, {5, 3, 2, 1, 0, 2, false}, {21, 3, 2, 1, 0, 3, false}},
      {"x2, long kernel", 1, 2, {5, 8, 2, 3, 0, 1, false}, {37, 8, 2, 3, 0, 1, false}},
      {"x2, long kernel, replicate", 1, 2, {5, 8, 2, 3, 0, 1, true}, {37, 8, 2, 3, 0, 1, true}},
      {"x4, one tap each", 1, 2, {3, 4, 4, 0, 0, 1, false}, {33, 4, 4, 0, 0, 1, false}},
      {"x3", 2, 3, {4, 5, 3, 1, 0, 1, false}, {23, 5, 3, 1, 0, 1, false}},
      {"x4", 1, 3, {4, 8, 4, 2, 0, 1, false}, {37, 8, 4, 2, 0, 1, false}},
      {"x4, replicate", 1, 3, {3, 8, 4, 2, 0, 1, true}, {18, 8, 4, 2, 0, 1, true}},
      {"x8", 1, 3, {3, 16, 8, 4, 0, 1, false}, {21, 16, 8, 4, 0, 1, false}},
      {"x8, replicate", 1, 2, {2, 16, 8, 4, 0, 1, true}, {5, 16, 8, 4, 0, 1, true}},
      {"x16", 1, 2, {2, 32, 16, 8, 0, 1, false}, {5, 32, 16, 8, 0, 1, false}},
      {"x11", 1, 2, {2, 12, 11, 3, 0, 1, false}, {4, 12, 11, 3, 0, 1, false}},
      {"stride 1", 1, 3, {4, 3, 1, 1, 0, 1, false}, {39, 5, 1, 2, 0, 1, false}},
      {"stride 1, tiles", 1, 19, {37, 5, 1, 2, 0, 1, false}, {70, 7, 1, 3, 0, 1, false}},
      {"stride 1, long rows", 1, 1, {3, 3, 1, 1, 0, 1, false}, {1100, 9, 1, 4, 0, 1, false}},
      {"stride 1, short rows", 2, 37, {7, 31, 1, 15, 0, 1, false}, {5, 9, 1, 4, 0, 1, false}},
      {"stride 1, much padding", 1, 2, {12, 3, 1, 5, 0, 1, false}, {30, 5, 1, 9, 0, 1, false}},
      {"x2, channels beyond a vector", 1, 19, {5, 3, 2, 1, 1, 1, false}, {23, 3, 2, 1, 1, 1, false}},
      {"gaps", 1, 3, {3, 1, 2, 0, 0, 1, false}, {18, 2, 4, 0, 1, 1, false}},
      {"one sample", 1, 2, {1, 4, 2, 1, 0, 1, false}, {1, 4, 2, 1, 0, 1, false}},
      {"one sample, replicate", 1, 2, {1, 4, 2, 1, 0, 1, true}, {1, 16, 8, 4, 0, 1, true}},
  };
  int wrong = 0;
  for (const Case& c : cases) {
    for (const Layout layout : {Layout::kPlanar, Layout::kChannelsLast, Layout::kEverySecondColumn}) {
      int elements = wrong_channel_sums<T>(c, layout);
      for (const Pass pass : {Pass::kForward, Pass::kBackwardInput, Pass::kBackwardWeight}) {
        for (const bool stream : {false, true}) elements += wrong_elements<T>(c, layout, pass, stream);
      }
      if (elements != 0) {
        std::printf("%s, %s, layout %d: %d elements are wrong\n", type, c.name, static_cast<int>(layout),
                    elements);
      }
      wrong += elements;
    }
  }
  return wrong;
}

}  // namespace
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext;
  return report([] {
    return wrong_results<double>("float64") + wrong_results<float>("float32") +
           wrong_results<half_t>("float16") + wrong_results<bfloat16_t>("bfloat16");
  });
}

// Which CUDA kernel a call takes: the tables at the top of the kernels' headers, as assertions. No memory is
// read; test_cuda_emulation.py builds and runs it.
#include <cstdio>
#include <initializer_list>
#include <vector>

#include "../../csrc/cuda/kernels/argmax.cuh"
#include "../../csrc/cuda/kernels/concat.cuh"
#include "../../csrc/cuda/kernels/cross_entropy_backward.cuh"
#include "../../csrc/cuda/kernels/cross_entropy_forward.cuh"
#include "../../csrc/cuda/kernels/deconv_backward_input.cuh"
#include "../../csrc/cuda/kernels/deconv_backward_weight.cuh"
#include "../../csrc/cuda/kernels/deconv_channel_sum.cuh"
#include "../../csrc/cuda/kernels/deconv_forward.cuh"
#include "../../csrc/cuda/kernels/epilogue.cuh"
#include "../../csrc/cuda/kernels/resample_backward.cuh"
#include "../../csrc/cuda/kernels/resample_forward.cuh"
#include "../../csrc/cuda/kernels/resample_nearest.cuh"
#include "../../csrc/cuda/kernels/resample_table.cuh"
#include "../../csrc/cuda/resample_choice.h"

namespace upsample_ext {
namespace gpu {
namespace {

int wrong = 0;

struct Image {
  int64_t batch, channels, height, width;
  bool channels_last = false;
  int64_t gap = 0;     // elements between rows
  int64_t offset = 0;  // of the first element from an aligned address, in bytes

  Strides strides() const {
    if (channels_last) {
      const int64_t row = width * channels + gap;
      return {height * row, 1, row, channels};
    }
    return {channels * height * (width + gap), height * (width + gap), width + gap, 1};
  }
};

void* address(int64_t offset) { return reinterpret_cast<void*>(static_cast<uintptr_t>(4096 + offset)); }

template <class Chosen>
void expect(const char* op, const char* what, Chosen expected, Chosen chosen) {
  if (chosen == expected) return;
  std::printf("%s, %s: expected %d, got %d\n", op, what, static_cast<int>(expected),
              static_cast<int>(chosen));
  ++wrong;
}

// ---- resize -----------------------------------------------------------------------------------------------

template <class acc>
LinearAxis<acc> linear(int64_t in, int64_t out) {
  return LinearAxis<acc>(in, out, false, 0.0, NativeRules::kCuda);
}

template <class acc>
ResampleParams<acc, LinearAxis<acc>> params_of(const Image& input, const Image& output) {
  return {{address(input.offset), address(output.offset), input.batch, input.channels, input.strides(),
           output.strides(), linear<acc>(input.height, output.height),
           linear<acc>(input.width, output.width)}};
}

template <class T>
void forward(const char* what, const Image& input, const Image& output, ForwardKernel expected) {
  expect("forward", what, expected, choose_forward<T>(params_of<acc_of<T>>(input, output), Store<T>()));
}

template <class T>
void add(const char* what, const Image& input, const Image& output, int64_t offset, ForwardKernel expected) {
  const auto params = params_of<acc_of<T>>(input, output);
  const Add<T> epilogue(AddOperands{address(offset), params.output});
  expect("add", what, expected, choose_forward<T>(params, epilogue));
}

template <class T>
void threshold(const char* what, const Image& input, const Image& output, ForwardKernel expected) {
  const Threshold<T> epilogue(ThresholdOperands<acc_of<T>>{acc_of<T>(0)});
  expect("threshold", what, expected, choose_forward<T>(params_of<acc_of<T>>(input, output), epilogue));
}

template <class T>
void backward(const char* what, const Image& input, const Image& output, BackwardKernel expected) {
  expect("backward", what, expected, choose_backward<T>(params_of<acc_of<T>>(input, output)));
}

void check_forward() {
  using K = ForwardKernel;
  forward<float>("empty batch", {0, 3, 8, 8}, {0, 3, 16, 16}, K::kNone);
  forward<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  forward<half_t>("x2 of halves", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  forward<half_t>("x2 of rows that are not aligned", {2, 3, 8, 9, false, 1}, {2, 3, 16, 18}, K::kStaged);
  forward<float>("x2 of an input with gaps of one", {2, 3, 8, 8, false, 1}, {2, 3, 16, 16}, K::kVector);
  forward<float>("x3", {2, 3, 8, 8}, {2, 3, 24, 24}, K::kVector);
  forward<half_t>("x4 along the width", {2, 3, 8, 8}, {2, 3, 11, 32}, K::kQuadrupled);
  forward<double>("x4 of two a vector", {2, 3, 8, 8}, {2, 3, 32, 32}, K::kVector);
  forward<uint8_t>("x2 of bytes", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  forward<uint8_t>("x2 of rows of 24 bytes", {2, 3, 8, 12}, {2, 3, 16, 24}, K::kStaged);
  forward<uint8_t>("channels-last of 3 bytes", {2, 3, 8, 8, true}, {2, 3, 11, 16, true}, K::kPixels);
  forward<float>("odd width", {2, 3, 8, 8}, {2, 3, 11, 13}, K::kStaged);
  forward<float>("odd width with gaps", {2, 3, 8, 8}, {2, 3, 11, 13, false, 3}, K::kScattered);
  forward<float>("output at an odd address", {2, 3, 8, 8}, {2, 3, 24, 24, false, 0, 4}, K::kScattered);
  forward<float>("channels-last", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, K::kChannelsLast);
  forward<float>("channels-last of 3", {2, 3, 8, 8, true}, {2, 3, 16, 16, true}, K::kPixels);
  forward<float>("channels-last of 3, odd", {2, 3, 8, 8, true}, {2, 3, 11, 13, true}, K::kChannelsLastSingle);
  forward<float>("channels-last into planar", {2, 16, 8, 8, true}, {2, 16, 24, 24}, K::kVector);
  forward<float>("beyond 32 bits", {1, 1, 1 << 15, 1 << 16}, {1, 1, 1 << 16, 1 << 16}, K::kBeyond32Bits);
  add<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, 0, K::kDoubled);
  add<float>("x2, of an image at an odd address", {2, 3, 8, 8}, {2, 3, 16, 16}, 4, K::kStaged);
  add<float>("channels-last, the same", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, 4,
             K::kChannelsLastSingle);
  threshold<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  threshold<float>("x4", {2, 3, 8, 8}, {2, 3, 32, 32}, K::kQuadrupled);
  threshold<float>("x4 of an input with gaps of one", {2, 3, 8, 8, false, 1}, {2, 3, 32, 32}, K::kVector);
  threshold<half_t>("x2, rows of 12 bytes", {2, 3, 8, 6}, {2, 3, 16, 12}, K::kStaged);
  threshold<float>("channels-last", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, K::kChannelsLast);
  threshold<float>("channels-last of 8", {2, 8, 8, 8, true}, {2, 8, 24, 24, true}, K::kPixels);
}

// Concat of images with some layout, of which the first is followed by the others: how many one launch takes.
template <class T>
void concat(const char* what, const Image& output, std::initializer_list<Image> inputs, ConcatKernel expected,
            int64_t expected_count) {
  std::vector<ResampleParams<acc_of<T>, LinearAxis<acc_of<T>>>> images;
  int64_t first = 0;
  for (const Image& input : inputs) {
    auto p = params_of<acc_of<T>>(input, output);
    const NativeRules rules = cuda_rules(input.height, input.width, output.height, output.width);
    p.height = LinearAxis<acc_of<T>>(input.height, output.height, false, 0.0, rules);
    p.width = LinearAxis<acc_of<T>>(input.width, output.width, false, 0.0, rules);
    p.output = address(first * output.strides().channel * static_cast<int64_t>(sizeof(T)));
    first += input.channels;
    images.push_back(p);
  }
  expect("concat", what, expected, choose_concat<T>(images[0]));
  expect("concat, images", what, expected_count,
         count_images<T>(images.data(), static_cast<int64_t>(images.size())));
}

void check_concat() {
  using K = ConcatKernel;
  const Image output{2, 40, 16, 16}, pixels{2, 40, 16, 16, true};
  concat<float>("a copy, x2, x4, x16", output, {{2, 3, 16, 16}, {2, 5, 8, 8}, {2, 8, 4, 4}, {2, 4, 1, 1}},
                K::kPlanar, 4);
  concat<half_t>("channels-last into planar", output, {{2, 3, 8, 8}, {2, 8, 4, 4, true}}, K::kPlanar, 2);
  concat<float>("a copy that cannot be read in vectors", output, {{2, 3, 8, 8}, {2, 8, 16, 16, true}},
                K::kPlanar, 1);
  concat<float>("more than eight", output,
                {{2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8},
                 {2, 1, 8, 8}},
                K::kPlanar, 8);
  concat<float>("odd widths", {2, 40, 15, 15}, {{2, 3, 8, 8}, {2, 3, 8, 8}}, K::kAlone, 1);
  concat<float>("channels-last", pixels, {{2, 8, 16, 16, true}, {2, 16, 8, 8, true}}, K::kChannelsLast, 2);
  concat<half_t>("channels-last, slices not aligned", pixels, {{2, 8, 8, 8, true}, {2, 3, 8, 8, true}},
                 K::kChannelsLast, 1);
}

void check_backward() {
  using K = BackwardKernel;
  backward<float>("empty batch", {0, 3, 8, 8}, {0, 3, 16, 16}, K::kNone);
  backward<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  backward<half_t>("x3", {2, 3, 8, 8}, {2, 3, 24, 24}, K::kVector);
  backward<float>("odd width", {2, 3, 8, 8}, {2, 3, 11, 13}, K::kScattered);
  backward<float>("channels-last", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, K::kChannelsLast);
  backward<float>("channels-last of 3", {2, 3, 8, 8, true}, {2, 3, 16, 16, true}, K::kChannelsLastSingle);
  backward<float>("a factor of 40", {2, 3, 8, 8}, {2, 3, 320, 320}, K::kLargeVector);
  backward<half_t>("a factor of 80 along the width", {2, 3, 8, 8}, {2, 3, 8, 640}, K::kLargeVector);
  backward<float>("a large factor, odd width", {2, 3, 8, 8}, {2, 3, 320, 321}, K::kLargeScattered);
  backward<float>("a large factor, channels-last", {2, 16, 8, 8, true}, {2, 16, 256, 256, true},
                  K::kLargeChannels);
  backward<float>("a large factor, channels-last of 21", {2, 21, 8, 8, true}, {2, 21, 256, 256, true},
                  K::kLargePixels);
  backward<float>("a large factor, channels-last of 21, odd width", {2, 21, 8, 8, true},
                  {2, 21, 256, 255, true}, K::kLargeChannelsSingle);
  backward<float>("beyond 32 bits", {1, 1, 1 << 15, 1 << 16}, {1, 1, 1 << 16, 1 << 16}, K::kOneSource);
}

// Nearest: the kernel, the bytes of what a thread copies or sums, and how many of them a pixel has.
void nearest(const char* what, int64_t element, bool is_forward, const Image& input, const Image& output,
             NearestChoice expected) {
  const auto axis = [](int64_t in, int64_t out) {
    return NearestAxis<float>(in, out, false, 0.0, NativeRules::kCuda);
  };
  const NearestParams p{
      {address(input.offset), address(output.offset), input.batch, input.channels, input.strides(),
       output.strides(), axis(input.height, output.height), axis(input.width, output.width)},
      axis(1, 1)};
  const NearestChoice chosen = choose_nearest(p, element, is_forward);
  const char* const op = is_forward ? "nearest" : "nearest, backward";
  expect(op, what, expected.kernel, chosen.kernel);
  expect(op, what, expected.bytes, chosen.bytes);
  expect(op, what, expected.parts, chosen.parts);
  expect(op, what, expected.planes, chosen.planes);
}

void check_nearest() {
  using K = NearestKernel;
  nearest("empty batch", 4, true, {0, 3, 8, 8}, {0, 3, 16, 16}, {K::kNone, 4, 1, 1});
  nearest("x2", 4, true, {2, 3, 8, 8}, {2, 3, 16, 16}, {K::kRows, 4, 1, 3});
  nearest("x2 of bytes", 1, true, {2, 3, 8, 8}, {2, 3, 16, 16}, {K::kRows, 1, 1, 3});
  nearest("odd width", 2, true, {2, 3, 8, 8}, {2, 3, 11, 13}, {K::kPixels, 2, 1, 3});
  nearest("at an odd address", 2, true, {2, 3, 8, 8}, {2, 3, 16, 16, false, 0, 2}, {K::kPixels, 2, 1, 3});
  nearest("channels-last", 2, true, {2, 16, 8, 8, true}, {2, 16, 11, 13, true}, {K::kPixels, 16, 2, 1});
  nearest("channels-last of 6 halves", 2, true, {2, 6, 8, 8, true}, {2, 6, 9, 16, true}, {K::kRows, 4, 3, 1});
  nearest("channels-last of 3 bytes", 1, true, {2, 3, 8, 8, true}, {2, 3, 9, 13, true},
          {K::kPixels, 1, 3, 1});
  nearest("channels-last into planar", 2, true, {2, 16, 8, 8, true}, {2, 16, 16, 16}, {K::kRows, 2, 1, 16});
  nearest("beyond 32 bits", 4, true, {1, 1, 1 << 15, 1 << 16}, {1, 1, 1 << 16, 1 << 16},
          {K::kBeyond32Bits, 4, 1, 1});
  nearest("x2", 2, false, {2, 3, 8, 8}, {2, 3, 16, 16}, {K::kDoubled, 2, 1, 3});
  nearest("x3", 2, false, {2, 3, 8, 8}, {2, 3, 24, 24}, {K::kPixels, 2, 1, 3});
  nearest("channels-last", 2, false, {2, 16, 8, 8, true}, {2, 16, 11, 13, true}, {K::kPixels, 16, 2, 1});
  nearest("channels-last of 6", 2, false, {2, 6, 8, 8, true}, {2, 6, 16, 16, true}, {K::kPixels, 2, 6, 1});
}

// By tables: the channels and the columns of a tile.
void table(const char* what, const Image& input, const Image& output, TableTiles expected) {
  TableParams<DeviceTable<float>> p{};
  p.batch = input.batch;
  p.channels = input.channels;
  p.x_strides = input.strides();
  p.y_strides = output.strides();
  p.height.rows = output.height;
  p.width.rows = output.width;
  const TableTiles tiles = choose_table_tiles(p);
  expect("table, order", what, expected.channels_last, tiles.channels_last);
  expect("table, channels", what, expected.channels, tiles.channels);
  expect("table, columns", what, expected.columns, tiles.columns);
}

void check_tables() {
  table("long rows", {2, 64, 8, 8}, {2, 64, 9, 300}, {false, 1, 128});
  table("short rows", {2, 64, 8, 8}, {2, 64, 9, 9}, {false, 14, 9});
  table("channels-last", {2, 64, 8, 8, true}, {2, 64, 9, 9, true}, {true, 32, 4});
  table("channels-last of 3", {2, 3, 8, 8, true}, {2, 3, 9, 9, true}, {true, 3, 42});
  table("channels-last into planar", {2, 64, 8, 8, true}, {2, 64, 9, 9}, {false, 14, 9});
}

// ---- transposed convolution -------------------------------------------------------------------------------

constexpr ConvTransposeAxis kTwice{8, 4, 2, 1, 0, 1, false}, kTwiceReplicated{8, 4, 2, 1, 0, 1, true};
constexpr ConvTransposeAxis kThreeTimes{8, 3, 3, 0, 0, 1, false}, kFourTimes{8, 8, 4, 2, 0, 1, false};
constexpr ConvTransposeAxis kManyTaps{8, 7, 2, 3, 1, 1, false}, kDilated{8, 3, 2, 1, 0, 2, false};

DeconvParams deconv_of(int64_t batch, int64_t channels, const ConvTransposeAxis& height,
                       const ConvTransposeAxis& width, bool channels_last = false, int64_t offset = 0) {
  DeconvParams p{};
  p.batch = batch;
  p.channels = channels;
  p.height = height;
  p.width = width;
  p.input = address(0);
  p.output = address(offset);
  p.in = Image{batch, channels, height.in_size, width.in_size, channels_last}.strides();
  p.out = Image{batch, channels, height.out_size(), width.out_size(), channels_last}.strides();
  p.channels_last = channels_last;
  return p;
}

void check_deconv_forward() {
  using K = DeconvForwardKernel;
  const auto takes = [](const char* what, K expected, const DeconvParams& p) {
    expect("deconv", what, expected, choose_deconv_forward<float>(p));
  };
  const ConvTransposeAxis far{1 << 15, 4, 2, 1, 0, 1, false};
  takes("empty batch", K::kNone, deconv_of(0, 3, kTwice, kTwice));
  takes("x2", K::kVector, deconv_of(2, 3, kTwice, kTwice));
  takes("x2 at an odd address", K::kScattered, deconv_of(2, 3, kTwice, kTwice, false, 4));
  takes("x2, replicate", K::kVector, deconv_of(2, 3, kTwiceReplicated, kTwiceReplicated));
  takes("x2, channels-last", K::kChannelsLast, deconv_of(2, 16, kTwice, kTwice, true));
  takes("x2, channels-last of 3", K::kChannelsLastSingle, deconv_of(2, 3, kTwice, kTwice, true));
  takes("four taps", K::kGeneral, deconv_of(2, 3, kTwice, kManyTaps));
  takes("beyond 32 bits", K::kGeneralBeyond32Bits, deconv_of(1, 1, far, far));
}

void check_deconv_gradients() {
  using Input = DeconvBackwardInputKernel;
  using Weight = DeconvBackwardWeightKernel;
  const auto takes = [](const char* what, Input input, Weight weight, const DeconvParams& p) {
    expect("deconv, gradient of the input", what, input, choose_deconv_backward_input<float>(p));
    expect("deconv, gradient of the weight", what, weight, choose_deconv_backward_weight<float>(p));
  };
  const ConvTransposeAxis far{1 << 15, 4, 2, 1, 0, 1, false};
  const ConvTransposeAxis even{8, 4, 4, 0, 0, 1, false}, odd{8, 4, 2, 0, 1, 1, false};
  takes("x2", Input::kDoubled, Weight::kDoubled, deconv_of(2, 3, kTwice, kTwice));
  takes("x4", Input::kRollingPairs, Weight::kPairs, deconv_of(2, 3, kFourTimes, kFourTimes));
  takes("x4, loads of 4", Input::kRollingMost, Weight::kMost, deconv_of(2, 3, kFourTimes, even));
  takes("x2, an odd width", Input::kRolling, Weight::kSingle, deconv_of(2, 3, kTwice, odd));
  takes("x2, channels-last", Input::kRolling, Weight::kSingle, deconv_of(2, 3, kTwice, kTwice, true));
  takes("x2, replicate", Input::kGeneral, Weight::kSingle, deconv_of(2, 3, kTwiceReplicated, kTwice));
  takes("no row is shared", Input::kGeneral, Weight::kSingle, deconv_of(2, 3, kThreeTimes, kThreeTimes));
  takes("dilated", Input::kGeneral, Weight::kSingle, deconv_of(2, 3, kDilated, kDilated));
  takes("beyond 32 bits", Input::kGeneralBeyond32Bits, Weight::kBeyond32Bits, deconv_of(1, 1, far, far));
  expect("deconv, gradient of the input", "empty batch", Input::kNone,
         choose_deconv_backward_input<float>(deconv_of(0, 3, kTwice, kTwice)));
}

void check_separable() {
  using K = SeparableKernel;
  expect("separable", "x2", K::kTwoTaps, choose_separable(kTwice, kTwice));
  expect("separable", "x2, replicate", K::kTwoTaps, choose_separable(kTwiceReplicated, kTwice));
  expect("separable", "four taps", K::kTables, choose_separable(kTwice, kManyTaps));
  expect("separable", "dilated", K::kTables, choose_separable(kDilated, kTwice));
}

void check_channel_sum() {
  using K = ChannelSumKernel;
  const auto takes = [](const char* what, K expected, const Image& image) {
    ChannelSumParams p{};
    p.input = address(image.offset);
    p.batch = image.batch;
    p.channels = image.channels;
    p.height = image.height;
    p.width = image.width;
    p.in = image.strides();
    p.channels_last = image.channels_last;
    expect("channel sum", what, expected, choose_channel_sum<float>(with_long_rows(p)));
  };
  takes("rows of whole vectors", K::kVector, {2, 3, 5, 8});
  takes("planes of whole vectors", K::kVector, {2, 3, 4, 7});
  takes("an odd plane", K::kSingle, {2, 3, 5, 7});
  takes("an odd address", K::kSingle, {2, 3, 5, 8, false, 0, 4});
  takes("channels-last", K::kSingle, {2, 16, 5, 8, true});
  takes("beyond 32 bits", K::kBeyond32Bits, {1, 1, 1 << 15, 1 << 15});
}

// ---- reductions over the classes of a pixel ---------------------------------------------------------------

template <class acc>
LogitsParams<acc> logits_of(const Image& input, int64_t height, int64_t width) {
  return {address(input.offset),
          input.batch,
          input.channels,
          input.strides(),
          linear<acc>(input.height, height),
          linear<acc>(input.width, width)};
}

void expect_classes(const char* op, const char* what, const ClassesChoice& expected,
                    const ClassesChoice& chosen) {
  expect(op, what, expected.fits_32_bits, chosen.fits_32_bits);
  expect(op, what, expected.rows, chosen.rows);
  expect(op, what, expected.classes, chosen.classes);
}

template <class T>
void argmax(const char* what, const Image& input, int64_t height, int64_t width, bool with_score,
            ClassesChoice expected, int multiprocessors = 1) {
  float score;
  const ArgmaxParams p{logits_of<float>(input, height, width), nullptr, 1, with_score ? &score : nullptr};
  Device device;
  device.multiprocessors = multiprocessors;
  expect_classes("argmax", what, expected, choose_argmax<T>(p, device));
}

void check_argmax() {
  argmax<float>("x2", {2, 21, 64, 64}, 128, 128, false, {true, 2, 1});
  argmax<float>("x8", {2, 21, 64, 64}, 512, 512, false, {true, 8, 1});
  argmax<float>("x8, with its probability", {2, 21, 64, 64}, 512, 512, true, {true, 4, 1});
  argmax<float>("x8 of a small image", {1, 21, 8, 8}, 64, 64, false, {true, 2, 1}, 132);
  argmax<float>("channels-last", {2, 24, 64, 64, true}, 128, 128, false, {true, 4, 4});
  argmax<float>("channels-last of 22", {2, 22, 64, 64, true}, 128, 128, false, {true, 4, 2});
  argmax<float>("channels-last of 21", {2, 21, 64, 64, true}, 128, 128, false, {true, 2, 1});
  argmax<float>("beyond 32 bits", {1, 2, 1 << 14, 1 << 14}, 1 << 16, 1 << 15, false, {false, 2, 1});
}

template <class T, class acc>
void cross_entropy(const char* what, const Image& input, int64_t height, int64_t width,
                   ClassesChoice expected) {
  expect_classes("cross-entropy", what, expected,
                 choose_cross_entropy<T>(logits_of<acc>(input, height, width)));
}

void gradient(const char* what, const Image& input, int64_t height, int64_t width, GradientKernel expected) {
  const auto logits = logits_of<float>(input, height, width);
  expect("cross-entropy, gradient", what, expected, choose_gradient<float>(logits, false, Device{}).kernel);
}

template <class T, class acc>
void gradient_group(const char* what, int64_t classes, bool channels_last, bool smooth, int expected) {
  const auto logits = logits_of<acc>({1, classes, 16, 16, channels_last}, 64, 64);
  expect("cross-entropy, classes of a group", what, expected,
         choose_gradient<T>(logits, smooth, Device{}).group);
}

void check_groups_of_classes() {
  for (const int64_t few : {1, 2, 4}) gradient_group<float, float>("few", few, false, false, 4);
  gradient_group<float, float>("7", 7, false, false, 7);
  gradient_group<float, float>("8", 8, false, false, 8);
  gradient_group<float, float>("19", 19, false, false, 10);
  gradient_group<float, float>("21", 21, false, false, 7);
  gradient_group<half_t, float>("150", 150, false, false, 10);
  gradient_group<float, float>("150, channels-last in twos", 150, true, false, 10);
  gradient_group<float, float>("20, channels-last in fours", 20, true, false, 8);
  gradient_group<float, float>("19, smoothed", 19, false, true, 8);
  gradient_group<double, double>("19, double", 19, false, false, 4);
}

// Tiles that run at once end together, and few source rows are computed twice.
void check_tile_rows() {
  expect("cross-entropy, tiles", "one round", int64_t{16}, tile_rows(128, 45, 3 * 132));
  expect("cross-entropy, tiles", "two rounds", int64_t{10}, tile_rows(128, 57, 3 * 132));
  expect("cross-entropy, tiles", "few rows", int64_t{1}, tile_rows(1, 1, 3));
  expect("cross-entropy, tiles", "more tiles than multiprocessors", int64_t{32}, tile_rows(512, 1000, 3));
}

void check_cross_entropy() {
  cross_entropy<float, float>("x2", {2, 21, 64, 64}, 128, 128, {true, 2, 1});
  cross_entropy<float, float>("x8", {2, 21, 64, 64}, 512, 512, {true, 4, 1});
  cross_entropy<half_t, float>("channels-last", {2, 24, 64, 64, true}, 512, 512, {true, 4, 4});
  cross_entropy<float, float>("channels-last of 22", {2, 22, 64, 64, true}, 128, 128, {true, 2, 2});
  cross_entropy<double, double>("double", {2, 24, 64, 64, true}, 512, 512, {true, 2, 1});
  cross_entropy<float, float>("beyond 32 bits", {1, 2, 1 << 14, 1 << 14}, 1 << 16, 1 << 15, {false, 2, 1});
  check_groups_of_classes();
  check_tile_rows();
  using K = GradientKernel;
  gradient("empty batch", {0, 21, 64, 64}, 128, 128, K::kNone);
  gradient("x2", {2, 21, 64, 64}, 128, 128, K::kTiles);
  gradient("a factor beyond a block", {2, 21, 4, 4}, 4000, 4000, K::kOneSource);
  gradient("beyond 32 bits", {1, 2, 1 << 14, 1 << 14}, 1 << 16, 1 << 15, K::kOneSource);
}

}  // namespace
}  // namespace gpu
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext::gpu;
  check_forward();
  check_concat();
  check_backward();
  check_nearest();
  check_tables();
  check_deconv_forward();
  check_deconv_gradients();
  check_separable();
  check_channel_sum();
  check_argmax();
  check_cross_entropy();
  if (wrong == 0) std::printf("all choices are right\n");
  return wrong != 0;
}

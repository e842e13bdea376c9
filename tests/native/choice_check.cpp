// Which loops of the CPU a call takes: the functions that launchers and kernels ask, as assertions. Those of
// the kernels are compiled here a fourth time, for vectors of 16 bytes, in a namespace of their own. No
// memory is read. test_levels.py builds and runs it.
#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdio>

#include "cpu/copy_choice.h"
#include "cpu/grain.h"
#include "cpu/logits_choice.h"
#include "cpu/pick_choice.h"
#include "cpu/resample_choice.h"
#include "geometry/axis_table.h"
#include "images.h"

#define UPSAMPLE_LEVEL choice_check
#define UPSAMPLE_VECTOR_BYTES 16
#define UPSAMPLE_HAS_FMA 0
#include "cpu/kernels/chain_argmax.h"
#include "cpu/kernels/copy_image.h"
#include "cpu/kernels/cross_entropy.h"
#include "cpu/kernels/deconv.h"
#include "cpu/kernels/pick_pixels.h"

namespace upsample_ext {
namespace {

template <class Chosen>
int differs(const char* what, Chosen expected, Chosen chosen) {
  if (chosen == expected) return 0;
  std::printf("%s: expected %d, got %d\n", what, static_cast<int>(expected), static_cast<int>(chosen));
  return 1;
}

AxisTable<float> linear(int64_t in_size, int64_t out_size) {
  return AxisTable<float>::linear(in_size, out_size, false, 0.0);
}

// ---- resize -----------------------------------------------------------------------------------------------

// Which order a pair of images is taken in, by vectors of 16.
int wrong_orders() {
  struct Choice {
    const char* what;
    int64_t channels, in_width, out_width;
    Strides x, y;
    PixelOrder expected;
    int64_t height = 8;
    bool takes_words = false;
  };
  const auto planar = [](int64_t channels, int64_t width) {
    return Strides{channels * 8 * width, 8 * width, width, 1};
  };
  const auto by_pixel = [](int64_t channels, int64_t width, int64_t gap = 0) {
    return Strides{(channels + gap) * 8 * width, 1, (channels + gap) * width, channels + gap};
  };
  const Choice choices[] = {
      {"planar", 3, 9, 18, planar(3, 9), planar(3, 18), PixelOrder::kPlanar},
      {"one channel", 1, 9, 18, by_pixel(1, 9), by_pixel(1, 18), PixelOrder::kPlanar},
      {"pixels of 3 values", 3, 9, 18, by_pixel(3, 9), by_pixel(3, 18), PixelOrder::kInterleaved},
      {"... with gaps", 3, 9, 18, by_pixel(3, 9, 1), by_pixel(3, 18), PixelOrder::kChannelsLast},
      {"... in one column", 3, 1, 18, by_pixel(3, 1, 1), by_pixel(3, 18), PixelOrder::kInterleaved},
      {"... far apart", 3, 90, 18, by_pixel(3, 90), by_pixel(3, 18), PixelOrder::kChannelsLast},
      {"... written by plane", 3, 9, 18, by_pixel(3, 9), planar(3, 18), PixelOrder::kSplit},
      {"... written by plane, far apart", 3, 90, 18, by_pixel(3, 90), planar(3, 18), PixelOrder::kSplit},
      {"pixels of 5 values, written by plane", 5, 9, 18, by_pixel(5, 9), planar(5, 18), PixelOrder::kPlanar},
      {"pixels of a vector", 16, 9, 18, by_pixel(16, 9), by_pixel(16, 18), PixelOrder::kChannelsLast},
      {"wide", 3, 12263, 18394, by_pixel(3, 12263), by_pixel(3, 18394), PixelOrder::kInterleaved},
      {"a line", 3, 12263, 18394, by_pixel(3, 12263), by_pixel(3, 18394), PixelOrder::kChannelsLast, 1},
      {"pixels of 4 values", 4, 32, 18, by_pixel(4, 32), by_pixel(4, 18), PixelOrder::kInterleaved},
      {"pixels of 4 bytes", 4, 32, 18, by_pixel(4, 32), by_pixel(4, 18), PixelOrder::kWords, 8, true},
      {"... with gaps", 4, 32, 18, by_pixel(4, 32, 1), by_pixel(4, 18), PixelOrder::kChannelsLast, 8, true},
      {"... of a short row", 4, 31, 18, by_pixel(4, 31), by_pixel(4, 18), PixelOrder::kInterleaved, 8, true},
      {"... far apart", 4, 40, 20, by_pixel(4, 40), by_pixel(4, 20), PixelOrder::kInterleaved, 8, true},
      {"pixels of 3 bytes", 3, 32, 18, by_pixel(3, 32), by_pixel(3, 18), PixelOrder::kInterleaved, 8, true},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    const auto height = AxisTable<float>::linear(of.height, of.height, false, 0.0);
    const auto width = AxisTable<float>::linear(of.in_width, of.out_width, false, 0.0);
    ResampleParams<float> p{};
    p.batch = 2;
    p.channels = of.channels;
    p.x_strides = of.x;
    p.y_strides = of.y;
    p.height = height.taps();
    p.width = width.taps();
    wrong += differs(of.what, of.expected, choose_order(p, 16, of.takes_words));
  }
  return wrong;
}

// Which image is converted into another memory order.
int wrong_conversions() {
  struct Size {
    int64_t height, width;
  };
  constexpr Size kSmall{8, 9}, kLarge{16, 18};
  enum Order { kPlanes, kPixels, kGaps, kColumns, kOneOfPixels };
  struct Choice {
    const char* what;
    int64_t channels;
    Size in, out;
    Order x, y;
    Conversion expected;
    bool may_unpack = true;
  };
  const auto strides_in = [](Order order, int64_t channels, Size size) -> Strides {
    const int64_t pixels = size.height * size.width;
    switch (order) {
      case kPlanes:
        return {channels * pixels, pixels, size.width, 1};
      case kPixels:
        return {channels * pixels, 1, channels * size.width, channels};
      case kGaps:
        return {channels * pixels * 4, pixels * 4, size.width * 4, 1};
      case kColumns:
        return {channels * pixels, pixels, 1, size.height};
      default:  // one channel of pixels of three
        return {channels * pixels * 3, pixels * 3, size.width * 3, 3};
    }
  };
  constexpr Conversion kNone{false, false, false}, kNoneOfPixels{true, false, false};
  constexpr Conversion kRowsOfX{false, true, false}, kRowsOfY{false, false, true},
      kRowsOfBoth{false, true, true};
  constexpr Conversion kPixelsOfX{true, true, false}, kPixelsOfY{true, false, true};
  const Choice choices[] = {
      {"rows", 3, kSmall, kLarge, kPlanes, kPlanes, kNone},
      {"rows with gaps", 3, kSmall, kLarge, kGaps, kPlanes, kNone},
      {"rows, to gaps", 3, kLarge, kSmall, kPlanes, kGaps, kNone},
      {"pixels", 3, kSmall, kLarge, kPixels, kPixels, kNoneOfPixels},
      {"pixels of few values to planes, which the kernel splits", 3, kSmall, kLarge, kPixels, kPlanes, kNone},
      {"pixels to planes, up", 8, kSmall, kLarge, kPixels, kPlanes, kRowsOfX},
      {"pixels to planes, down", 8, kLarge, kSmall, kPixels, kPlanes, kPixelsOfY},
      {"pixels to planes, far down: a few pixels are read",
       8,
       {800, 900},
       {8, 9},
       kPixels,
       kPlanes,
       kPixelsOfY},
      {"planes to pixels, up", 8, kSmall, kLarge, kPlanes, kPixels, kPixelsOfX},
      {"planes to pixels, down", 8, kLarge, kSmall, kPlanes, kPixels, kRowsOfY},
      {"transposed to planes, up", 3, kSmall, kLarge, kColumns, kPlanes, kRowsOfX},
      {"transposed to planes, down", 3, kLarge, kSmall, kColumns, kPlanes, kRowsOfX},
      {"planes to transposed", 3, kSmall, kLarge, kPlanes, kColumns, kRowsOfY},
      {"transposed to transposed", 3, kSmall, kLarge, kColumns, kColumns, kRowsOfBoth},
      {"pixels to transposed", 3, kSmall, kLarge, kPixels, kColumns, kPixelsOfY},
      {"one channel of pixels", 1, kSmall, kLarge, kOneOfPixels, kPlanes, kRowsOfX},
      {"one column", 3, {8, 1}, {16, 1}, kOneOfPixels, kOneOfPixels, kNone},
      {"planes to pixels, y is read", 8, kLarge, kSmall, kPlanes, kPixels, kPixelsOfX, false},
      {"pixels to planes, y is read", 8, kLarge, kSmall, kPixels, kPlanes, kRowsOfX, false},
      {"planes to transposed, y is read", 3, kSmall, kLarge, kPlanes, kColumns, kNone, false},
      {"pixels to transposed, y is read", 3, kSmall, kLarge, kPixels, kColumns, kRowsOfX, false},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    const auto height = AxisTable<float>::linear(of.in.height, of.out.height, false, 0.0);
    const auto width = AxisTable<float>::linear(of.in.width, of.out.width, false, 0.0);
    ResampleParams<float> p{};
    p.batch = 2;
    p.channels = of.channels;
    p.x_strides = strides_in(of.x, of.channels, of.in);
    p.y_strides = strides_in(of.y, of.channels, of.out);
    p.height = height.taps();
    p.width = width.taps();
    const Conversion got = choose_conversion(p, of.may_unpack), &expected = of.expected;
    if (got.by_pixel == expected.by_pixel && got.packs_x == expected.packs_x &&
        got.unpacks_y == expected.unpacks_y) {
      continue;
    }
    std::printf("%s: expected by pixel %d, packs x %d, unpacks y %d, got %d, %d, %d\n", of.what,
                expected.by_pixel, expected.packs_x, expected.unpacks_y, got.by_pixel, got.packs_x,
                got.unpacks_y);
    ++wrong;
  }
  return wrong;
}

// ---- copies, and pixels picked ----------------------------------------------------------------------------

// What is adjacent in memory, from the innermost on.
enum class Order { kPlanes, kPixels, kColumns, kGaps };

ImageLayout image(Order order, int64_t channels, int64_t height, int64_t width) {
  const int64_t pixels = height * width;
  switch (order) {
    case Order::kPlanes:
      return {2, channels, height, width, {channels * pixels, pixels, width, 1}};
    case Order::kPixels:
      return {2, channels, height, width, {channels * pixels, 1, channels * width, channels}};
    case Order::kColumns:
      return {2, channels, height, width, {channels * pixels, pixels, 1, height}};
    default:
      return {2, channels, height, width, {channels * pixels * 2, pixels * 2, width * 2, 2}};
  }
}

int wrong_copies() {
  using choice_check::CopyLoops;
  struct Choice {
    const char* what;
    int64_t channels;
    Order from, to;
    bool in_rows;     // the image at once, otherwise by blocks, and
    CopyLoops loops;  // those of a block
    bool picks_columns = false;
  };
  const Choice choices[] = {
      {"copy rows", 3, Order::kPlanes, Order::kPlanes, true, CopyLoops::kRows},
      {"copy pixels", 3, Order::kPixels, Order::kPixels, true, CopyLoops::kRows},
      {"copy columns", 3, Order::kColumns, Order::kColumns, true, CopyLoops::kRows},
      {"copy pixels to planes", 3, Order::kPixels, Order::kPlanes, false, CopyLoops::kPixelsToPlanes},
      {"copy planes to pixels", 3, Order::kPlanes, Order::kPixels, false, CopyLoops::kPlanesToPixels},
      {"copy some columns of planes to pixels", 3, Order::kPlanes, Order::kPixels, false, CopyLoops::kRows,
       true},
      {"copy some columns of pixels to planes", 3, Order::kPixels, Order::kPlanes, false,
       CopyLoops::kPixelsToPlanes, true},
      {"copy columns to rows", 3, Order::kColumns, Order::kPlanes, false, CopyLoops::kColumnsToRows},
      {"copy rows to columns", 3, Order::kPlanes, Order::kColumns, false, CopyLoops::kRowsToColumns},
      {"copy some columns of rows to columns", 3, Order::kPlanes, Order::kColumns, false, CopyLoops::kRows,
       true},
      {"copy elements with gaps", 3, Order::kGaps, Order::kPlanes, false, CopyLoops::kRows},
      {"copy one channel", 1, Order::kPixels, Order::kPlanes, true, CopyLoops::kRows},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    const ImageLayout from = image(of.from, of.channels, 5, 7), to = image(of.to, of.channels, 5, 7);
    const auto strides = [](const ImageLayout& layout) {
      const Strides& s = layout.strides;
      return std::array<int64_t, 4>{s.batch, s.channel, s.height, s.width};
    };
    const std::array<int64_t, 4> size{to.batch, to.channels, to.height, to.width};
    const CopyDimensions dimensions(size.data(), strides(from).data(), strides(to).data(), 4);
    const int64_t columns[] = {0};
    CopyParams p{};
    p.channels = of.channels;
    p.height = 5;
    p.width = 7;
    p.from_strides = from.strides;
    p.to_strides = to.strides;
    p.column = of.picks_columns ? columns : nullptr;
    wrong += differs(of.what, of.in_rows, dimensions.in_rows());
    wrong += differs(of.what, of.loops, choice_check::choose_copy(p));
  }
  return wrong;
}

int wrong_picks() {
  struct Choice {
    const char* what;
    Order from, to;
    int64_t size;  // of the result, from an image of 8 x 8
    PickLoops expected;
    int64_t channels = 3;
  };
  const Choice choices[] = {
      {"pick of rows", Order::kPlanes, Order::kPlanes, 16, PickLoops::kRows},
      {"pick of pixels", Order::kPixels, Order::kPixels, 16, PickLoops::kPixels},
      {"pick of pixels of one value", Order::kPixels, Order::kPixels, 16, PickLoops::kRows, 1},
      {"pick of rows into pixels", Order::kPlanes, Order::kPixels, 16, PickLoops::kRowsTurned},
      {"pick of pixels into rows", Order::kPixels, Order::kPlanes, 16, PickLoops::kPixelsTurned},
      {"pick of columns, up", Order::kColumns, Order::kPlanes, 16, PickLoops::kFromOrdered},
      {"pick of columns, down", Order::kColumns, Order::kPlanes, 4, PickLoops::kColumnsTurned},
      {"pick of columns into pixels, down", Order::kColumns, Order::kPixels, 4, PickLoops::kOneByOne},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    wrong +=
        differs(of.what, of.expected,
                choose_pick(image(of.from, of.channels, 8, 8), image(of.to, of.channels, of.size, of.size)));
  }
  // Sixteen bytes at a time, where the processor permutes them, by a plan that some rows share.
  PickParams p{};
  p.pixel_bytes = 3;
  p.rows = 100;
  wrong += differs("pick, many rows", choice_check::kShufflesBytes, choice_check::picks_blocks(p));
  p.rows = 5;
  wrong += differs("pick, few rows", false, choice_check::picks_blocks(p));
  p.rows = 100;
  p.pixel_bytes = 64;
  wrong += differs("pick, pixels of many bytes", false, choice_check::picks_blocks(p));
  return wrong;
}

// ---- transposed convolution -------------------------------------------------------------------------------

DeconvParams deconv(DeconvPass pass, const ConvTransposeAxis& axis, bool channels_last) {
  DeconvParams p{};
  p.pass = pass;
  p.batch = 2;
  p.channels = 32;
  p.height = p.width = axis;
  p.channels_last = channels_last;
  return p;
}

int wrong_deconvs() {
  using Pass = DeconvPass;
  using Loops = DeconvLoops;
  // in_size, kernel_size, stride, padding, output_padding, dilation, replicate
  constexpr ConvTransposeAxis kTwice{8, 4, 2, 1, 0, 1, false}, kThrice{8, 6, 3, 1, 0, 1, false};
  constexpr ConvTransposeAxis kSixteen{8, 32, 16, 8, 0, 1, false};
  constexpr ConvTransposeAxis kSame{8, 3, 1, 1, 0, 1, false}, kSmall{8, 2, 1, 0, 0, 1, false};
  constexpr ConvTransposeAxis kFive{8, 5, 1, 2, 0, 1, false};
  constexpr ConvTransposeAxis kSameDilated{8, 3, 1, 2, 0, 2, false}, kSameReplicated{8, 3, 1, 1, 0, 1, true};
  constexpr ConvTransposeAxis kManyTaps{200, 65, 1, 32, 0, 1, false}, kBeyondImage{8, 65, 1, 32, 0, 1, false};
  struct Choice {
    const char* what;
    ConvTransposeAxis axis;
    bool channels_last;
    Loops forward, backward_input;  // the gradient of the weight never slides
  };
  const Choice choices[] = {
      {"x2", kTwice, false, Loops::kPlanar, Loops::kPlanarWindows},
      {"x2, channels last", kTwice, true, Loops::kChannelsLast, Loops::kChannelsLast},
      {"x3", kThrice, false, Loops::kPlanar, Loops::kPlanar},
      {"x16", kSixteen, false, Loops::kPlanar, Loops::kPlanar},
      {"stride 1", kSame, false, Loops::kSliding, Loops::kSliding},
      {"stride 1, channels last", kFive, true, Loops::kSliding, Loops::kSliding},
      {"stride 1, 9 taps, channels last", kSame, true, Loops::kChannelsLast, Loops::kChannelsLast},
      {"stride 1, few taps", kSmall, false, Loops::kPlanar, Loops::kPlanarWindows},
      {"stride 1, few taps, channels last", kSmall, true, Loops::kChannelsLast, Loops::kChannelsLast},
      {"stride 1, dilated", kSameDilated, false, Loops::kPlanar, Loops::kPlanarWindows},
      {"stride 1, replicate", kSameReplicated, true, Loops::kChannelsLast, Loops::kChannelsLast},
      {"stride 1, very many taps", kManyTaps, false, Loops::kPlanar, Loops::kPlanarWindows},
      {"stride 1, most taps outside the image", kBeyondImage, false, Loops::kSliding, Loops::kSliding},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    const auto chosen = [&](Pass pass) {
      return choice_check::choose_deconv(deconv(pass, of.axis, of.channels_last));
    };
    wrong += differs(of.what, of.forward, chosen(Pass::kForward));
    wrong += differs(of.what, of.backward_input, chosen(Pass::kBackwardInput));
    const Loops tap_by_tap = of.channels_last ? Loops::kChannelsLast : Loops::kPlanar;
    wrong += differs(of.what, tap_by_tap, chosen(Pass::kBackwardWeight));
  }
  return wrong;
}

// Vectors of channels or of columns, of 4 lanes, for rows of `extent` results of 9 taps.
int wrong_sliding_lanes() {
  struct Choice {
    const char* what;
    int64_t channels, extent;
    Order from, to;
    int64_t wide, single;
  };
  const Choice choices[] = {
      {"slide over planes", 32, 64, Order::kPlanes, Order::kPlanes, 0, 32},
      {"slide over pixels", 32, 64, Order::kPixels, Order::kPixels, 8, 0},
      {"slide over pixels, channels left over", 33, 64, Order::kPixels, Order::kPixels, 8, 1},
      {"slide over pixels, many left over", 35, 64, Order::kPixels, Order::kPixels, 9, 0},
      {"slide over short rows of planes", 32, 5, Order::kPlanes, Order::kPlanes, 8, 0},
      {"slide over one channel", 1, 64, Order::kPlanes, Order::kPlanes, 0, 1},
      {"slide over columns", 32, 64, Order::kColumns, Order::kColumns, 8, 0},
  };
  int wrong = 0;
  for (const Choice& of : choices) {
    const auto lanes = choice_check::choose_sliding_lanes<float>(
        of.channels, 9, of.extent, image(of.from, of.channels, 9, of.extent).strides,
        image(of.to, of.channels, 9, of.extent).strides);
    wrong += differs(of.what, of.wide, lanes.wide) + differs(of.what, of.single, lanes.single);
  }
  return wrong;
}

int wrong_separables() {
  constexpr ConvTransposeAxis kTwice{8, 4, 2, 1, 0, 1, false}, kLong{8, 9, 2, 1, 0, 1, false};
  const auto call = [](int64_t channels, Order order, const ConvTransposeAxis& axis, bool replicate) {
    Deconv p{};
    p.channels = channels;
    p.in = image(order, channels, 8, 8).strides;
    p.out = image(order, channels, 16, 16).strides;
    p.height = p.width = axis;
    p.height.replicate = p.width.replicate = replicate;
    return p;
  };
  using Loops = SeparableLoops;
  const Deconv pixels = call(32, Order::kPixels, kTwice, false);
  return differs("separable, pixels", Loops::kTapByTap, choose_separable<float>(pixels)) +
         differs("separable, pixels of doubles", Loops::kTables, choose_separable<double>(pixels)) +
         differs("separable, planes", Loops::kTables,
                 choose_separable<float>(call(32, Order::kPlanes, kTwice, false))) +
         differs("separable, few channels", Loops::kTables,
                 choose_separable<float>(call(8, Order::kPixels, kTwice, false))) +
         differs("separable, many taps", Loops::kTables,
                 choose_separable<float>(call(32, Order::kPixels, kLong, false))) +
         differs("separable, replicate", Loops::kTables,
                 choose_separable<float>(call(32, Order::kPixels, kTwice, true)));
}

// ---- reductions over the classes of a pixel ---------------------------------------------------------------

int wrong_logits() {
  const AxisStage twice{{Mode::kLinear, false, 16, 32, false, 0.0, NativeRules::kCpu}, 0, 32};
  const AxisStage again{{Mode::kLinear, false, 32, 48, false, 0.0, NativeRules::kCpu}, 0, 48};
  const AxisStage stages[] = {twice, again};
  const auto up = linear(16, 64), same = linear(16, 16), down = linear(16, 12), far = linear(64, 8);
  const auto chain = AxisTable<float>::chain(stages, 2);
  const auto chosen = [](const AxisTable<float>& height, const AxisTable<float>& width,
                         bool by_column = false) {
    return choose_logits(height.taps(), width.taps(), by_column);
  };
  using Loops = LogitsLoops;
  return differs("logits, up", Loops::kTwoTaps, chosen(up, up)) +
         differs("logits, the same size", Loops::kTwoTaps, chosen(same, up)) +
         differs("logits, down", Loops::kTwoTaps, chosen(down, down)) +
         differs("logits, far down", Loops::kPixelsRead, chosen(far, far)) +
         differs("logits by column, down", Loops::kTwoTaps, chosen(down, down, true)) +
         differs("logits by column, half", Loops::kPixelsRead, chosen(linear(32, 10), up, true)) +
         differs("logits, half", Loops::kTwoTaps, chosen(linear(32, 10), up)) +
         differs("logits, far down and up", Loops::kPixelsRead, chosen(far, up)) +
         differs("logits of a chain", Loops::kTables, chosen(chain, up));
}

// Strips of columns that fit a cache, and rows that are computed together.
int wrong_strips() {
  const auto height = linear(8, 32), twice = linear(8, 16), thrice = linear(8, 24);
  const auto width = linear(4096, 8192), tall = linear(16, 16);
  ArgmaxParams argmax{};
  argmax.logits.height = height.taps();
  argmax.logits.width = width.taps();
  CrossEntropyParams<float> loss{};
  loss.logits.height = height.taps();
  loss.logits.width = width.taps();
  const auto strips_of_argmax = [&](int64_t classes) {
    argmax.logits.channels = classes;
    return choice_check::count_strips(argmax.logits, choice_check::argmax_column_bytes(argmax));
  };
  const auto strips_of_loss = [&](int64_t classes, void* gradient) {
    loss.logits.channels = classes;
    loss.grad_input = gradient;
    return choice_check::count_strips(loss.logits, choice_check::cross_entropy_column_bytes(loss));
  };
  const auto group = [](const AxisTable<float>& axis, int64_t first) {
    return choice_check::choose_group(TwoTapRows<float>(axis.taps()), first, axis.taps().out_size);
  };
  ChainLogits chain{};
  chain.width = width.taps();
  chain.channels = 150;
  return differs<int64_t>("strips of argmax, few classes", 1, strips_of_argmax(21)) +
         differs<int64_t>("strips of argmax, many classes", 5, strips_of_argmax(150)) +
         differs<int64_t>("strips of a loss", 5, strips_of_loss(150, nullptr)) +
         differs<int64_t>("strips of a loss with its gradient", 19, strips_of_loss(150, &loss)) +
         differs<int64_t>("strips of a chain", 10, choice_check::count_chain_strips(chain)) +
         differs("rows after the last source", 2, group(height, 30)) +
         differs("rows between two sources, x4", 4, group(height, 6)) +
         differs("rows between two sources, x3", 2, group(thrice, 1)) +
         differs("rows between two sources, x2", 2, group(twice, 1)) +
         differs("rows of the same height", 1, group(tall, 3));
}

// ---- threads ----------------------------------------------------------------------------------------------

// How many of 100 units a thread gets, before and after it had to wait for other programs.
int wrong_grains() {
  using std::chrono::milliseconds;
  const auto now = TakenCores::Clock::now();
  TakenCores::report(now - milliseconds(10), now);
  TakenCores::report(now - milliseconds(20), now - milliseconds(10));  // parts of unequal work
  const int wrong = differs<int64_t>("little work", 100, grain_of(100, 1 << 16)) +
                    differs<int64_t>("work of 80 us", 12, grain_of(100, 1 << 18)) +
                    differs<int64_t>("much work", 1, grain_of(100, 1 << 24));
  TakenCores::report(now - milliseconds(10000), now - milliseconds(9999));
  return wrong + differs<int64_t>("work of 80 us, cores taken", 100, grain_of(100, 1 << 18)) +
         differs<int64_t>("work of 160 us, cores taken", 25, grain_of(100, 1 << 19)) +
         differs<int64_t>("much work, cores taken", 1, grain_of(100, 1 << 24));
}

}  // namespace
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext;
  return report([] {
    return wrong_orders() + wrong_conversions() + wrong_copies() + wrong_picks() + wrong_deconvs() +
           wrong_sliding_lanes() + wrong_separables() + wrong_logits() + wrong_strips() + wrong_grains();
  });
}

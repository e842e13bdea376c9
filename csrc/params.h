// What a launcher passes to a kernel: pointers, sizes, strides (in elements) and the tables of both axes. No
// tensor, no dtype: the kernel's own template parameters say what the pointers hold.
#pragma once

#include "geometry/axis.h"

namespace upsample_ext {

// Half types as storage only; kernels compute in float.
struct half_t {
  uint16_t bits;
};
struct bfloat16_t {
  uint16_t bits;
};

struct Strides {
  int64_t batch, channel, height, width;

  // Whether the elements of a column are adjacent, and those of a row are not.
  bool by_column() const { return height == 1 && width != 1; }
};

// to[c, y, x] = from[c, y, column[x]], or from[c, y, x] where there is no list of columns.
struct CopyParams {
  const void* from;
  void* to;
  int64_t channels, height, width;
  Strides from_strides, to_strides;  // of one image: the batch's is not used
  const int64_t* column;
};

// Planes whose pixels are picked from other planes: to[y, x] = from[row[y], column[x]], pixel_bytes each. The
// pixels of a row are adjacent. `plan`: built by the kernel itself (build_plan) in memory that the launcher
// provides, and read by all threads.
struct PickParams {
  const int64_t *row, *column;
  int64_t from_pixels, to_pixels, pixel_bytes;  // of a row; of a pixel
  int64_t from_row, to_row;                     // strides, in bytes
  int64_t rows;                                 // of all planes
  bool stream;  // the result is too large to stay in cache: use streaming stores
  const void* plan;
};

// Pixels of at most this many channels fit in four lanes, and are split into planes by permuting vectors.
constexpr int64_t kFewChannels = 4;

// An x with pixels of a few adjacent channels where y has planes: its rows are split into those of planes,
// or, if the columns that are read are far apart, its pixels are taken one by one. kWords: pixels of four
// bytes become such pixels, and are taken whole.
enum class Split { kNone, kRows, kPixels, kWords };

// The images of an op that resizes, in their roles of the forward pass, whichever of them is read and which
// is written; and what an output reads along each axis.
template <class Axis>
struct ImagePair {
  void* input;
  void* output;
  int64_t batch, channels;
  Strides in, out;
  Axis height, width;
};

// y = A_h x A_w^T for every plane of an image x (N, C, H, W), by the tables of its axes. Forward, x is the
// input and y the output; backward, with transposed tables, x is grad_output and y grad_input.
template <class Table>
struct TableParams {
  const void* x;
  void* y;
  int64_t batch, channels;
  Strides x_strides, y_strides;
  Table height, width;
};

// The same on the CPU, where acc is the type of weights and sums.
template <class acc>
struct ResampleParams : TableParams<AxisTaps<acc>> {
  // If `height` is the transpose of another table, that table; otherwise empty.
  AxisTaps<acc> height_forward;
  // Rows of work are (n, c, row of y), or (n, row of y) with all channels at once if the channels of a pixel
  // are adjacent in both images.
  bool channels_last;
  Split split;  // unless it is kNone, rows of work are (n, row of y) too
  // Bytes are rounded to bytes between the passes, of which that along the width is the first, and weights to
  // integers: as native does for filters of more than two taps.
  bool rounds_between;
  // y is too large to stay in cache: use streaming stores.
  bool stream;
  // The epilogue's operands (epilogue_operands.h), of the type that its kernel expects; null if it has none.
  const void* operands;
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;

  int64_t rows() const {
    return this->batch * (channels_last || split != Split::kNone ? 1 : this->channels) *
           this->height.out_size;
  }
};

// A line by bilinear: y[o] from x, whose samples are adjacent as its own are. `adds_zero`: of each sample 0
// times it is added, as by an axis that stays as it is (LinearAxis); infinities become NaN then.
struct LineParams {
  const void* x;
  void* y;
  LinearAxis<float> axis;
  bool adds_zero;
};

// Depthwise transposed convolution: every channel has its own kernel. With o = i * stride - padding + k *
// dilation along both axes, summed over all taps that contribute to the element written:
//   forward          output[o] = bias + sum of input[i] * weight[k]
//   backward_input   input[i]  = sum of output[o] * weight[k]
//   backward_weight  weight[k] = sum of input[i] * output[o], over the batch too
// One geometry for the three; each reads two of the images and weights and writes the third.
struct Deconv : ImagePair<ConvTransposeAxis> {
  void* weight;                                         // (channels, kernel height, kernel width)
  int64_t weight_channel, weight_height, weight_width;  // strides, 0 where one kernel serves all channels
  const void* bias;                                     // (channels), or null
  int64_t bias_stride;
  // The channels of a pixel are adjacent in both images: vectors run over channels, not along rows.
  bool channels_last;
};

// The same on the CPU.
enum class DeconvPass { kForward, kBackwardInput, kBackwardWeight };
struct DeconvParams : Deconv {
  DeconvPass pass;
  // The result is too large to stay in cache: use streaming stores.
  bool stream;
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;
};

// Which loops compute it there: what choose_deconv (cpu/kernels/deconv.h) decides.
enum class DeconvLoops {
  kPlanar,         // vectors of neighbouring outputs of a plane, tap by tap
  kPlanarWindows,  // the input's gradient, at strides that are a power of two: windows of those vectors
  kChannelsLast,   // vectors of the channels of a pixel, tap by tap
  kSliding         // at stride 1: a window slides over a copy of the image, whatever its order
};

// output[c] = sum of input[:, c, :, :].
struct ChannelSumParams {
  const void* input;
  void* output;
  int64_t batch, channels, height, width;
  Strides in;
  bool channels_last;
};

// The low-resolution logits of the ops that reduce over the classes of a pixel, `channels` classes, and the
// axes of the resize that the reduction sees.
template <class Axis>
struct Logits {
  const void* input;
  int64_t batch, channels;
  Strides in;
  Axis height, width;
};

// The same on the CPU.
template <class acc>
struct LogitsParams : Logits<TwoTapRows<acc>> {
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;
};

// index[n, y, x] = the class with the largest resized logit; compared in float32.
template <class Logits>
struct ArgmaxOf {
  Logits logits;
  void* index;          // (batch, height, width), contiguous
  int64_t index_bytes;  // of one index: 1, 2, 4 or 8
  float* score;         // the softmax probability of that class, of the same shape; or null
};
using ArgmaxParams = ArgmaxOf<LogitsParams<float>>;

// The same of a chain of resizes on the CPU, whose outputs have a few taps. Logits are float32, and columns
// adjacent.
struct ChainLogits : Logits<AxisTaps<float>> {
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;
};
using ChainArgmaxParams = ArgmaxOf<ChainLogits>;

// Cross-entropy of the resized logits with one target class a pixel, and its gradient to the logits. Images
// of pixels are (batch, height, width), contiguous.
//   loss = (1 - smoothing) * weight[target] * -log p[target] + smoothing / classes * sum of weight * -log p
template <class acc, class Logits>
struct CrossEntropyOf {
  Logits logits;
  const int64_t* target = nullptr;  // each a class or ignore_index
  int64_t ignore_index = 0;         // such pixels have no loss and no gradient
  const acc* weight = nullptr;      // of each class, or null
  acc smoothing = 0;
  acc* loss = nullptr;  // of each pixel; or null
  // The gradient of the loss with respect to the logits, or null. Upstream gradient per pixel, or one number
  // for all pixels (`scale`, below) if null.
  void* grad_input = nullptr;
  Strides grad = {};
  const acc* grad_output = nullptr;
};

// The same on the CPU.
template <class acc>
struct CrossEntropyParams : CrossEntropyOf<acc, LogitsParams<acc>> {
  acc weight_sum = 0;          // of all classes: their number where there is no weight
  double* row_loss = nullptr;  // the sum over the pixels of each unit of work
  acc scale = 0;
  AxisTaps<acc> width_transposed = {};
  const void* plan_transposed = nullptr;
};

}  // namespace upsample_ext

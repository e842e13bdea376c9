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
};

// output = A_h input A_w^T for every plane of an (N, C, H, W) image; acc is the type of weights and sums.
template <class acc>
struct ResampleParams {
  const void* input;
  void* output;
  int64_t batch, channels;
  Strides in, out;
  AxisTaps<acc> height, width;
  // If `height` is the transpose of another table, that table; otherwise empty.
  AxisTaps<acc> height_forward;
  // Rows of work are (n, c, output row), or (n, output row) with all channels at once if the channels of a
  // pixel are adjacent in both images.
  bool channels_last;
  // The output is too large to stay in cache: use streaming stores.
  bool stream;
  // Operands of the fused kernels: an image with the output's strides, and a number.
  const void* other;
  acc threshold;
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;

  int64_t rows() const { return batch * (channels_last ? 1 : channels) * height.out_size; }
};

// Depthwise transposed convolution: every channel has its own kernel. With o = i * stride - padding + k *
// dilation along both axes, summed over all taps that contribute to the element written:
//   forward          output[o] = bias + sum of input[i] * weight[k]
//   backward_input   input[i]  = sum of output[o] * weight[k]
//   backward_weight  weight[k] = sum of input[i] * output[o], over the batch too
// One geometry for the three; each reads two of the images and weights and writes the third.
struct DeconvParams {
  void* input;
  void* output;
  void* weight;      // (channels, kernel height, kernel width)
  const void* bias;  // (channels), or null
  int64_t batch, channels;
  Strides in, out;
  int64_t weight_channel, weight_height, weight_width;  // strides, 0 where one kernel serves all channels
  int64_t bias_stride;
  ConvTransposeAxis height, width;
  // The channels of a pixel are adjacent in both images: vectors run over channels, not along rows.
  bool channels_last;
  // The result is too large to stay in cache: use streaming stores.
  bool stream;
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;
};

// output[c] = sum of input[:, c, :, :].
struct ChannelSumParams {
  const void* input;
  void* output;
  int64_t batch, channels, height, width;
  Strides in;
  bool channels_last;
};

// The low-resolution logits of the ops that reduce over the classes of a pixel, and the resize that the
// reduction sees: `channels` classes, resized by both tables.
template <class acc>
struct LogitsParams {
  const void* input;
  int64_t batch, channels;
  Strides in;
  TwoTapRows<acc> height, width;
  // Prepared by the kernel itself (build_plan) in memory the launcher gives, read by all threads.
  const void* plan;
};

// index[n, y, x] = the class with the largest resized logit; compared in float32.
struct ArgmaxParams {
  LogitsParams<float> logits;
  void* index;          // (batch, height, width), contiguous
  int64_t index_bytes;  // of one index: 1, 2, 4 or 8
  float* score;         // the softmax probability of that class, of the same shape; or null
};

// Cross-entropy of the resized logits with one target class a pixel, and its gradient to the logits.
//   loss = (1 - smoothing) * weight[target] * -log p[target] + smoothing / classes * sum of weight * -log p
template <class acc>
struct CrossEntropyParams {
  LogitsParams<acc> logits;
  const int64_t* target;  // (batch, height, width), contiguous; each a class or ignore_index
  int64_t ignore_index;   // such pixels have no loss and no gradient
  const acc* weight;      // of each class, or null
  acc weight_sum;         // of all classes: their number where there is no weight
  acc smoothing;
  acc* loss;         // of each pixel, (batch, height, width), contiguous; or null
  double* row_loss;  // the sum over the pixels of each unit of work
  // The gradient of the loss with respect to the logits, or null. Upstream gradient per pixel, (batch,
  // height, width), or `scale` for all pixels if null.
  void* grad_input;
  Strides grad;
  const acc* grad_output;
  acc scale;
  AxisTaps<acc> width_transposed;
  const void* plan_transposed;
};

}  // namespace upsample_ext

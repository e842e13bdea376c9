// The arguments of csrc/cuda's host functions: numbers, pointers to device memory, and the geometry of both
// axes as it is computed on the device. No tensor, no dtype: template parameters say what pointers hold.
#pragma once

#include "../params.h"

namespace upsample_ext {
namespace gpu {

// output = A_h input A_w^T for every plane of an (N, C, H, W) image, or input = A_h^T output A_w: whichever
// of the two is written. Axis is one of geometry/axis.h: what an output reads along one axis.
template <class acc, class Axis>
struct ResampleParams {
  void* input;
  void* output;
  int64_t batch, channels;
  Strides in, out;
  Axis height, width;
  // Operands of the fused kernels: an image with the output's strides, and a number.
  const void* other;
  acc threshold;
};

// A table of one axis in device memory: row r sums the taps begin[r] .. end[r] - 1, in ascending order of
// their indices. Rows need not follow each other without gaps.
template <class acc>
struct DeviceTable {
  int64_t rows;
  int64_t *begin, *end;
  int64_t* index;
  acc* weight;
};

// output = A_h input A_w^T by tables, which in a backward op are the transposed ones: `input` is what is read
// and `output` what is written.
template <class acc>
struct TableParams {
  const void* input;
  void* output;
  int64_t batch, channels;
  Strides in, out;
  DeviceTable<acc> height, width;
};

// The low-resolution logits of the ops that reduce over the classes of a pixel, and the resize that the
// reduction sees. Results are (batch, height, width), contiguous.
template <class acc>
struct LogitsParams {
  const void* input;
  int64_t batch, channels;
  Strides in;
  LinearAxis<acc> height, width;
};

// index = the class whose resized logit is the largest; compared in float32.
struct ArgmaxParams {
  LogitsParams<float> logits;
  void* index;
  int64_t index_bytes;  // of one index: 1, 2, 4 or 8
  float* score;         // the softmax probability of that class; or null
};

// What the backward pass of a softmax needs for each pixel: p = exp(logit - maximum) / sum.
template <class acc>
struct alignas(2 * sizeof(acc)) SoftmaxOfPixel {
  acc maximum;
  acc factor;  // total weight of the pixel / sum: multiplies exp(logit - maximum) in the gradient
};

// Cross-entropy of the resized logits with one target class a pixel, and its gradient to the logits.
//   loss = (1 - smoothing) * weight[target] * -log p[target] + smoothing / classes * sum of weight * -log p
template <class acc>
struct CrossEntropyParams {
  LogitsParams<acc> logits;
  const int64_t* target = nullptr;  // each a class or ignore_index
  int64_t ignore_index = 0;         // such pixels have no loss and no gradient
  const acc* weight = nullptr;      // of each class, or null
  const acc* weight_sum = nullptr;  // of all classes; null without weights, where it is their number
  acc smoothing = 0;
  // The forward pass writes those that are not null.
  acc* loss = nullptr;        // of each pixel
  double* partial = nullptr;  // of each block: the sum of its losses, and of its targets' weights
  SoftmaxOfPixel<acc>* softmax = nullptr;  // of each pixel; the backward pass reads it
  // The backward pass: upstream gradient per pixel, or if that is null *scale for all pixels.
  void* grad_input = nullptr;
  Strides grad = {};
  const acc* grad_output = nullptr;
  const acc* scale = nullptr;
};

// The last step of a reduced loss: the sum of all blocks' partial sums, divided by that of the weights if it
// is a mean.
template <class T, class acc>
struct LossSumParams {
  const double* partial;
  int64_t blocks;
  bool mean;
  T* loss = nullptr;               // or null
  acc* scale = nullptr;            // what the gradient of a pixel's loss is multiplied by; or null
  const T* grad_output = nullptr;  // of the loss; null for 1
};

}  // namespace gpu
}  // namespace upsample_ext

// The arguments of csrc/cuda's host functions: numbers, pointers to device memory, and the geometry of both
// axes as it is computed on the device. No tensor, no dtype: template parameters say what pointers hold.
#pragma once

#include "../epilogue_operands.h"
#include "../params.h"

namespace upsample_ext {
namespace gpu {

// output = A_h input A_w^T for every plane of an (N, C, H, W) image, or input = A_h^T output A_w: whichever
// of the two is written. Axis is one of geometry/axis.h.
template <class acc, class Axis>
struct ResampleParams : ImagePair<Axis> {};

// The same of nearest neighbours, with whole rows of slices: those of a volume follow each other, and an
// image is one slice.
struct NearestParams : ImagePair<NearestAxis<float>> {
  NearestAxis<float> depth;
};

using DeconvParams = Deconv;

// A table of one axis in device memory: row r sums the taps begin[r] .. end[r] - 1, in ascending order of
// their indices. Rows need not follow each other without gaps.
template <class acc>
struct DeviceTable {
  int64_t rows;
  int64_t *begin, *end;
  int64_t* index;
  acc* weight;
};

template <class acc>
using LogitsParams = Logits<LinearAxis<acc>>;
using ArgmaxParams = ArgmaxOf<LogitsParams<float>>;

// What the backward pass of a softmax needs for each pixel: p = exp(logit - maximum) / sum.
template <class acc>
struct alignas(2 * sizeof(acc)) SoftmaxOfPixel {
  acc maximum, sum;
};

template <class acc>
struct CrossEntropyParams : CrossEntropyOf<acc, LogitsParams<acc>> {
  const acc* weight_sum = nullptr;  // of all classes; null without weights, where it is their number
  // The forward pass writes those that are not null.
  double* partial = nullptr;  // of each block: the sum of its losses, and of its targets' weights
  SoftmaxOfPixel<acc>* softmax = nullptr;  // of each pixel; the backward pass reads it
  int grad_step = 1;                       // 0 if grad_output is one number for all pixels
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

// Depthwise transposed convolution of planar images, forward and both gradients.
//
// Vectors run along the rows of the output image, also in backward. For a block of outputs and a slot t (the
// t-th tap of each of its outputs) there are a vector of sources S_t, picked from a source row by one
// permutation, and for every kernel row a vector of weights W_t, which repeats from block to block. With them
//
//   forward          out = bias + sum over kernel rows and slots of S_t * W_t. Output rows that read the same
//                    source rows are summed together and share the picked sources.
//   backward_input   differs, see deconv_planar_backward_input.h: sums of grad_output * weights in the order
//                    of the outputs, over all kernel rows; only then are the lanes of a source added.
//   backward_weight  G_t += S_t * grad_output for several kernel rows at once, over all rows of a channel; a
//                    weight is the sum of its lanes of G_t.
//
// A replicated border is handled outside of the taps: a source row is extended by its edge samples
// beforehand, and a gradient row is folded onto its edge samples afterwards.
#pragma once

#include "deconv_planar_backward_input.h"
#include "deconv_planar_backward_weight.h"
#include "deconv_planar_forward.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class acc>
int64_t planar_scratch_bytes(const DeconvParams& p) {
  DeconvPlan<acc> plan;
  Arrays plan_arrays(nullptr), scratch(nullptr);
  take_plan(plan, p, plan_arrays);
  if (p.pass == DeconvPass::kForward) forward_scratch(p, plan, scratch);
  if (p.pass == DeconvPass::kBackwardInput) backward_input_scratch(p, plan, scratch);
  if (p.pass == DeconvPass::kBackwardWeight) backward_weight_scratch(p, plan, scratch);
  return scratch.bytes();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

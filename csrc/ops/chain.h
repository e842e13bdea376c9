// A chain of bilinear resizes, each of whose results is cropped: what the launchers of both devices need of
// the ops that compute one, or what follows it, from the first image.
#pragma once

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>
#include <vector>

namespace upsample_ext {

// The arguments of a chain as the ops take them, stage after stage: 2 sizes, 4 numbers of a crop (top, left,
// height, width), one align_corners, and 2 scale factors, 0 where there is none.
struct ChainArgs {
  c10::SymIntArrayRef sizes, crops;
  const c10::List<bool>& align_corners;
  std::optional<at::ArrayRef<double>> scale_factors;
};

// One stage in numbers; along axis 0, the height, and 1, the width.
struct ChainStage {
  std::array<int64_t, 2> size, first, count;  // of the result, and what the crop keeps of it
  std::array<std::optional<double>, 2> scale;
  bool align_corners;

  bool crops() const { return count != size; }
};

// Checks the arguments for an input (N, C, H, W), and returns the size of the last crop; `op` is named in the
// messages.
std::array<c10::SymInt, 2> check_chain(const char* op, const at::Tensor& input, const ChainArgs& args);
std::vector<ChainStage> chain_stages(const ChainArgs& args);  // checked

// Allocate what the ops return, after checking their arguments.
at::Tensor make_chain_output(const at::Tensor& input, const ChainArgs& args);
at::Tensor make_chain_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size,
                                 const ChainArgs& args);
at::Tensor make_chain_mask(const at::Tensor& input, const ChainArgs& args);
at::Tensor make_chain_index(const at::Tensor& input, const ChainArgs& args, at::ScalarType dtype);

// One stage after the other, by the ops of single resizes: the image that the last leaves, and the gradient
// of the first.
at::Tensor chain_by_stages(const at::Tensor& input, const std::vector<ChainStage>& stages);
at::Tensor chain_backward_by_stages(const at::Tensor& grad_output, c10::IntArrayRef input_size,
                                    const std::vector<ChainStage>& stages);

}  // namespace upsample_ext

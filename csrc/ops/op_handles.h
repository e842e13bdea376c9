// Typed handles of our ops: a call through one goes through the dispatcher without boxing or lookup by name.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <tuple>

#include "torch_versions.h"

namespace upsample_ext {

template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

using UpsampleSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, bool, std::optional<double>,
                                     std::optional<double>);
// Returns nothing: functionalization does not support custom ops whose output aliases an argument.
using UpsampleOutSignature = void(const at::Tensor&, c10::SymIntArrayRef, bool, std::optional<double>,
                                  std::optional<double>, at::Tensor&);
using ResampleSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, string_view, bool, bool,
                                     std::optional<at::ArrayRef<double>>);
using SeparableSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                      c10::SymIntArrayRef, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                      c10::SymIntArrayRef, bool, bool);
using SeparableBackwardSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                              c10::SymIntArrayRef, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                              c10::SymIntArrayRef, bool, std::optional<bool>, bool);
using DepthwiseSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                      c10::SymIntArrayRef, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                      c10::SymIntArrayRef, bool);
using DepthwiseBackwardSignature = at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymIntArrayRef,
                                              c10::SymIntArrayRef, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                              bool, std::optional<bool>);
using AddSignature = at::Tensor(const at::Tensor&, const at::Tensor&, bool, string_view);
using ConcatSignature = at::Tensor(at::TensorList, c10::SymIntArrayRef, bool, string_view);
using ThresholdSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, bool, std::optional<double>,
                                      std::optional<double>, double, string_view);

using ArgmaxSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, bool, std::optional<double>,
                                   std::optional<double>, at::ScalarType, string_view);
using ArgmaxWithScoreSignature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, c10::SymIntArrayRef,
                                                                    bool, std::optional<double>,
                                                                    std::optional<double>, at::ScalarType,
                                                                    string_view);
using CrossEntropySignature = at::Tensor(const at::Tensor&, const at::Tensor&,
                                         const std::optional<at::Tensor>&, int64_t, int64_t, double, bool);
using CrossEntropyWithGradientSignature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&,
                                                                             const at::Tensor&,
                                                                             const std::optional<at::Tensor>&,
                                                                             int64_t, int64_t, double, bool);
using CrossEntropyBackwardSignature = at::Tensor(const at::Tensor&, const std::optional<at::Tensor>&,
                                                 const at::Tensor&, const at::Tensor&,
                                                 const std::optional<at::Tensor>&, int64_t, int64_t, double,
                                                 bool);

using ChainSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                  at::IntArrayRef, std::optional<at::ArrayRef<double>>);
using ChainBackwardSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                          c10::SymIntArrayRef, at::IntArrayRef,
                                          std::optional<at::ArrayRef<double>>);
using ChainThresholdSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                           at::IntArrayRef, std::optional<at::ArrayRef<double>>, double);
using ChainArgmaxSignature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, c10::SymIntArrayRef,
                                        at::IntArrayRef, std::optional<at::ArrayRef<double>>, at::ScalarType);
using ChainArgmaxWithScoreSignature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&,
                                                                         c10::SymIntArrayRef,
                                                                         c10::SymIntArrayRef, at::IntArrayRef,
                                                                         std::optional<at::ArrayRef<double>>,
                                                                         at::ScalarType);

inline const auto& upsample_op() {
  static const auto op = find_op<UpsampleSignature>("upsample_ext::upsample_bilinear2d");
  return op;
}
inline const auto& upsample_out_op() {
  static const auto op = find_op<UpsampleOutSignature>("upsample_ext::upsample_bilinear2d", "out");
  return op;
}
inline const auto& upsample_backward_op() {
  static const auto op = find_op<UpsampleSignature>("upsample_ext::upsample_bilinear2d_backward");
  return op;
}
inline const auto& resample_op() {
  static const auto op = find_op<ResampleSignature>("upsample_ext::resample");
  return op;
}
inline const auto& resample_backward_op() {
  static const auto op = find_op<ResampleSignature>("upsample_ext::resample_backward");
  return op;
}
inline const auto& separable_op() {
  static const auto op = find_op<SeparableSignature>("upsample_ext::separable_conv_transpose2d");
  return op;
}
inline const auto& separable_backward_op() {
  static const auto op =
      find_op<SeparableBackwardSignature>("upsample_ext::separable_conv_transpose2d_backward");
  return op;
}
inline const auto& depthwise_op() {
  static const auto op = find_op<DepthwiseSignature>("upsample_ext::depthwise_conv_transpose2d");
  return op;
}
inline const auto& depthwise_backward_input_op() {
  static const auto op =
      find_op<DepthwiseBackwardSignature>("upsample_ext::depthwise_conv_transpose2d_backward_input");
  return op;
}
inline const auto& depthwise_backward_weight_op() {
  static const auto op =
      find_op<DepthwiseBackwardSignature>("upsample_ext::depthwise_conv_transpose2d_backward_weight");
  return op;
}
inline const auto& channel_sum_op() {
  static const auto op = find_op<at::Tensor(const at::Tensor&)>("upsample_ext::channel_sum");
  return op;
}
inline const auto& argmax_op() {
  static const auto op = find_op<ArgmaxSignature>("upsample_ext::upsample_argmax");
  return op;
}
inline const auto& argmax_with_score_op() {
  static const auto op = find_op<ArgmaxWithScoreSignature>("upsample_ext::upsample_argmax_with_score");
  return op;
}
inline const auto& cross_entropy_op() {
  static const auto op = find_op<CrossEntropySignature>("upsample_ext::upsample_cross_entropy");
  return op;
}
inline const auto& cross_entropy_with_gradient_op() {
  static const auto op =
      find_op<CrossEntropyWithGradientSignature>("upsample_ext::upsample_cross_entropy_with_gradient");
  return op;
}
inline const auto& cross_entropy_backward_op() {
  static const auto op =
      find_op<CrossEntropyBackwardSignature>("upsample_ext::upsample_cross_entropy_backward");
  return op;
}
inline const auto& upsample_add_op() {
  static const auto op = find_op<AddSignature>("upsample_ext::upsample_add");
  return op;
}
inline const auto& upsample_concat_op() {
  static const auto op = find_op<ConcatSignature>("upsample_ext::upsample_concat");
  return op;
}
inline const auto& upsample_threshold_op() {
  static const auto op = find_op<ThresholdSignature>("upsample_ext::upsample_threshold");
  return op;
}
inline const auto& chain_op() {
  static const auto op = find_op<ChainSignature>("upsample_ext::upsample_chain");
  return op;
}
inline const auto& chain_backward_op() {
  static const auto op = find_op<ChainBackwardSignature>("upsample_ext::upsample_chain_backward");
  return op;
}
inline const auto& chain_threshold_op() {
  static const auto op = find_op<ChainThresholdSignature>("upsample_ext::upsample_chain_threshold");
  return op;
}
inline const auto& chain_argmax_op() {
  static const auto op = find_op<ChainArgmaxSignature>("upsample_ext::upsample_chain_argmax");
  return op;
}
inline const auto& chain_argmax_with_score_op() {
  static const auto op =
      find_op<ChainArgmaxWithScoreSignature>("upsample_ext::upsample_chain_argmax_with_score");
  return op;
}

}  // namespace upsample_ext

// Autograd for our ops: the only user of torch's Node, whose versions torch_versions.h distinguishes.
//
// A rule defines what an op's backward needs and computes; RuleNode turns it into a node of the graph, whose
// saved tensors are released after backward and which has compiled autograd's two hooks. The rules call the
// ops through the dispatcher, so that second order, forward mode, functorch transforms and tracing all take
// the same path. (torch::autograd::Function, the documented way, does not support functorch and forward
// mode.)
//
// A rule has:
//   static constexpr const char* name;
//   template <class F> void visit(F&& f);   calls f on every field
//   void backward(const at::Tensor& grad, const NeedsGradient& needs, variable_list& grads);
#pragma once

#include <ATen/ops/add.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "torch_versions.h"

namespace upsample_ext {

// Which inputs of an op need a gradient in this backward, one bit each.
struct NeedsGradient {
  int64_t mask;
  bool operator()(size_t input) const { return (mask >> input) & 1; }
};

template <class Rule>
struct RuleNode final : CompilableNode<RuleNode<Rule>> {
  Rule rule;

  std::string name() const override { return Rule::name; }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(this->mutex_);
    return run(*this, grads, needed(), this->num_outputs());
  }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(this->mutex_);
    rule.visit([](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) field.reset_data();
    });
  }

  // For compiled autograd, see CompilableNode.
  template <class F>
  void visit(F&& f) {
    rule.visit(f);
  }
  int64_t needed() const {
    int64_t mask = 0;
    for (size_t i = 0; i < this->num_outputs(); ++i)
      mask |= int64_t{this->task_should_compute_output(i)} << i;
    return mask;
  }
  static variable_list run(RuleNode& node, const variable_list& grads, int64_t needed, size_t inputs) {
    variable_list result(inputs);
    if (grads[0].defined()) node.rule.backward(grads[0], NeedsGradient{needed}, result);
    return result;
  }
};

// Makes `output` the result of a new node, of which `fill` sets the rule's fields.
template <class Rule, class Fill, class... Inputs>
void record_node(const at::Tensor& output, Fill&& fill, const Inputs&... inputs) {
  NodePointer<RuleNode<Rule>> node = make_node<RuleNode<Rule>>();
  node->set_next_edges(torch::autograd::collect_next_edges(inputs...));
  fill(node->rule);
  torch::autograd::set_history(output, node);
}

// The forward half: calls the op below autograd, which checks its arguments, and creates a node if an input
// requires grad. `fill` is called only if the node is created.
template <class Rule, class Call, class Fill, class... Inputs>
at::Tensor with_history(Call&& call, Fill&& fill, const Inputs&... inputs) {
  at::Tensor output;
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    output = call();
  }
  if (torch::autograd::compute_requires_grad(inputs...)) record_node<Rule>(output, fill, inputs...);
  return output;
}

// Forward mode: the tangents of the inputs are mapped and added up to the output's tangent.
inline bool has_tangent(const at::Tensor& t) { return t.defined() && t._fw_grad(/*level=*/0).defined(); }

inline void add_tangent(at::Tensor& sum, const at::Tensor& part) {
  sum = sum.defined() ? at::add(sum, part) : part;
}

inline void set_tangent(at::Tensor& output, const at::Tensor& tangent) {
  if (tangent.defined()) output._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
}

}  // namespace upsample_ext

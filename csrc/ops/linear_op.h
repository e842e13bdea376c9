// Autograd for our ops: the only user of torch's Node.
//
// A rule says what an op's backward needs and computes; RuleNode makes it a node of the graph, with its saved
// tensors released after backward and with compiled autograd's two hooks. The rules call the ops through the
// dispatcher, so that second order, forward mode, functorch transforms and tracing all go through the same
// door. (torch::autograd::Function, the documented way, refuses functorch and forward mode.)
//
// A rule has:
//   static constexpr const char* name;
//   template <class F> void visit(F&& f);   calls f on every field
//   void backward(const at::Tensor& grad, const NeedsGradient& needs, variable_list& grads);
#pragma once

#include <ATen/ops/add.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

namespace upsample_ext {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Which inputs of an op want a gradient in this backward.
struct NeedsGradient {
  int64_t mask;
  bool operator()(size_t input) const { return (mask >> input) & 1; }
};

template <class Field>
constexpr bool is_saved_variable = std::is_same_v<std::decay_t<Field>, SavedVariable>;

template <class Rule>
struct RuleNode final : torch::autograd::Node {
  Rule rule;

  std::string name() const override { return Rule::name; }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return run(rule, grads, needs(), num_outputs());
  }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    rule.visit([](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) field.reset_data();
    });
  }

  // Compiled autograd, 1: what a compiled backward is specialised on or given as an input.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    const_cast<Rule&>(rule).visit([&args](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) {
        args.collect(field, /*is_output=*/false);
      } else {
        args.collect(field);
      }
    });
  }

  // Compiled autograd, 2: put a call of `apply_packed` into its graph, the rule's fields packed as arguments.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& saved) override {
    using namespace torch::dynamo::autograd;
    rule.visit([&saved](auto& field) { saved.before(field); });
    PackedArgs packed;
    std::vector<at::TypePtr> types;
    const auto pack = [&](const auto& value) {
      packed.pack(value);
      types.push_back(IValuePacker<std::decay_t<decltype(value)>>::packed_type());
    };
    pack(static_cast<int64_t>(num_outputs()));
    pack(needs().mask);
    rule.visit([&](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) {
        pack(field.unpack());
      } else {
        pack(field);
      }
    });
    const auto& python = getPyCompilerInterface();
    const std::string function =
        python->bind_function(saved.get_py_compiler(), typeid(Rule).name(), apply_packed, types,
                              /*is_custom_function=*/true, /*is_traceable=*/true);
    variable_list result =
        python->call_function(saved.get_py_compiler(), "apply_functional", function, grads, packed.vec(),
                              IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
                                  get_input_metadata(next_edges())));
    rule.visit([&saved](auto& field) { saved.after(field); });
    return result;
  }

 private:
  static variable_list run(Rule& rule, const variable_list& grads, NeedsGradient needs, size_t inputs) {
    variable_list result(inputs);
    if (grads[0].defined()) rule.backward(grads[0], needs, result);
    return result;
  }

  static variable_list apply_packed(const variable_list& grads, const std::vector<at::IValue>& args) {
    torch::dynamo::autograd::PackedArgs packed(args);
    const auto inputs = packed.unpack<int64_t>();
    const NeedsGradient needs{packed.unpack<int64_t>()};
    Rule rule;
    rule.visit([&packed](auto& field) {
      using Field = std::decay_t<decltype(field)>;
      if constexpr (is_saved_variable<Field>) {
        field = SavedVariable(packed.unpack<at::Tensor>(), /*is_output=*/false);
      } else {
        field = packed.unpack<Field>();
      }
    });
    return run(rule, grads, needs, static_cast<size_t>(inputs));
  }

  NeedsGradient needs() const {
    NeedsGradient result{0};
    for (size_t i = 0; i < num_outputs(); ++i) result.mask |= int64_t{task_should_compute_output(i)} << i;
    return result;
  }
};

// The forward half: a node when some input wants a gradient, the op itself below autograd, its history.
// `fill` sets the rule's fields and runs only when the node is made.
template <class Rule, class Call, class Fill, class... Inputs>
at::Tensor with_history(Call&& call, Fill&& fill, const Inputs&... inputs) {
  c10::intrusive_ptr<RuleNode<Rule>> node;
  if (torch::autograd::compute_requires_grad(inputs...)) {
    node = c10::make_intrusive<RuleNode<Rule>>();
    node->set_next_edges(torch::autograd::collect_next_edges(inputs...));
    fill(node->rule);
  }
  at::Tensor output;
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    output = call();
  }
  if (node) torch::autograd::set_history(output, node);
  return output;
}

// Forward mode: what the tangents of the inputs add to the output's tangent. `part` is called with each
// tangent.
inline bool has_tangent(const at::Tensor& t) { return t.defined() && t._fw_grad(/*level=*/0).defined(); }

inline void add_tangent(at::Tensor& sum, const at::Tensor& part) {
  sum = sum.defined() ? at::add(sum, part) : part;
}

inline void set_tangent(at::Tensor& output, const at::Tensor& tangent) {
  if (tangent.defined()) output._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
}

}  // namespace upsample_ext

// Differences between the C++ interfaces of torch 2.5 to 2.14, and nothing else: the rest of the code is
// written for the newest of them. When a version is no longer supported, its code here is the first to go.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/version.h>

#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#define UPSAMPLE_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

namespace upsample_ext {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// ---- strings among an op's arguments ------------------------------------------------------------

#if UPSAMPLE_TORCH_AT_LEAST(2, 7)
using string_view = std::string_view;
#else
using string_view = c10::string_view;
#endif

// ---- modes of F.interpolate ---------------------------------------------------------------------

#if __has_include(<ATen/ops/_upsample_lanczos2d_aa.h>)
#define UPSAMPLE_HAS_LANCZOS 1
#else
#define UPSAMPLE_HAS_LANCZOS 0
#endif

// ---- how a node of the graph is held ------------------------------------------------------------
//
// Since 2.13 a node counts its references itself; before, a shared_ptr does, which needs a deleter that does
// not overflow the stack if a graph is deep.

#if UPSAMPLE_TORCH_AT_LEAST(2, 13)
template <class Node>
using NodePointer = c10::intrusive_ptr<Node>;

template <class Node>
NodePointer<Node> make_node() {
  return c10::make_intrusive<Node>();
}
#else
template <class Node>
using NodePointer = std::shared_ptr<Node>;

template <class Node>
NodePointer<Node> make_node() {
  return NodePointer<Node>(new Node, torch::autograd::deleteNode);
}
#endif

// ---- compiled autograd --------------------------------------------------------------------------
//
// CompilableNode adds its two hooks to a node that has
//   template <class F> void visit(F&& f);                      calls f on every field that backward reads
//   variable_list apply(variable_list&&);                      backward
//   int64_t needed() const;                                    which inputs want a gradient, a bit each
//   static variable_list run(Node& fields, const variable_list& grads, int64_t needed, size_t inputs);
// run being what apply does with the fields of `fields`, which may be those of a node that was never part of
// a graph.

template <class Field>
constexpr bool is_saved_variable = std::is_same_v<std::decay_t<Field>, SavedVariable>;

template <class Derived>
struct CompilableNode : torch::autograd::Node {
  // Collects what a compiled backward is specialised on or takes as an input. Two overloads, because torch
  // has declared it const since 2.7: the one that torch declares is the override.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const {
    const_cast<CompilableNode*>(this)->compiled_args(args);
  }
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) {
    derived().visit([&args](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) {
        args.collect(field, /*is_output=*/false);
      } else {
        args.collect(field);
      }
    });
  }

#if UPSAMPLE_TORCH_AT_LEAST(2, 7)
  // Puts a call of `apply_packed` into the compiled graph, the fields packed as arguments.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& saved) override {
    using namespace torch::dynamo::autograd;
    derived().visit([&saved](auto& field) { saved.before(field); });
    PackedArgs packed;
    std::vector<at::TypePtr> types;
    const auto pack = [&](const auto& value) {
      packed.pack(value);
      types.push_back(IValuePacker<std::decay_t<decltype(value)>>::packed_type());
    };
    pack(static_cast<int64_t>(num_outputs()));
    pack(derived().needed());
    derived().visit([&](auto& field) {
      if constexpr (is_saved_variable<decltype(field)>) {
        pack(field.unpack());
      } else {
        pack(field);
      }
    });
    const auto& python = getPyCompilerInterface();
    const std::string function =
        python->bind_function(saved.get_py_compiler(), typeid(Derived).name(), apply_packed, types,
                              /*is_custom_function=*/true, /*is_traceable=*/true);
    variable_list result =
        python->call_function(saved.get_py_compiler(), "apply_functional", function, grads, packed.vec(),
                              IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
                                  get_input_metadata(next_edges())));
    derived().visit([&saved](auto& field) { saved.after(field); });
    return result;
  }

 private:
  static variable_list apply_packed(const variable_list& grads, const std::vector<at::IValue>& args) {
    torch::dynamo::autograd::PackedArgs packed(args);
    const auto inputs = packed.unpack<int64_t>();
    const auto needed = packed.unpack<int64_t>();
    Derived fields;
    fields.visit([&packed](auto& field) {
      using Field = std::decay_t<decltype(field)>;
      if constexpr (is_saved_variable<Field>) {
        field = SavedVariable(packed.unpack<at::Tensor>(), /*is_output=*/false);
      } else {
        field = packed.unpack<Field>();
      }
    });
    return Derived::run(fields, grads, needed, static_cast<size_t>(inputs));
  }
#else
  // Runs backward on tensors that record the operations on them.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& saved) override {
    derived().visit([&saved](auto& field) { saved.before(field); });
    variable_list result = derived().apply(variable_list(grads));
    derived().visit([&saved](auto& field) { saved.after(field); });
    return result;
  }

 private:
#endif
  Derived& derived() { return static_cast<Derived&>(*this); }
};

}  // namespace upsample_ext

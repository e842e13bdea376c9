// The override of aten::upsample_bilinear2d (functional and .out) and aten::upsample_bilinear2d_backward
// (functional and .grad_input) below autograd, on the keys of the devices that this build has kernels for.
//
// On a GPU that the build has no machine code for, calls go to PyTorch's kernels.
//
// Everything above those keys stays native: PyTorch's autograd formula, vmap rules, autocast and tracing run
// as before and call this with plain tensors; the backward op too. Calls that are not clearly valid (rank,
// empty sizes, dtypes we have no kernel for, aliased results) go to the native kernel, called directly and
// not through the dispatcher, so that the errors are exactly PyTorch's.
#include <torch_headers.h>

#include "dispatcher_override.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/upsample_bilinear2d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_cpu_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_cuda_dispatch.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ops/op_handles.h"
#include "our_devices.h"

namespace upsample_ext {
namespace {

using at::Tensor;
using c10::IntArrayRef;
using std::optional;

bool differentiable_dtype(const Tensor& tensor) {
  const auto type = tensor.scalar_type();
  return type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16;
}

// Four dimensions, of which only the batch may be empty: what native's own check accepts.
bool plain_image(IntArrayRef sizes) {
  return sizes.size() == 4 && sizes[0] >= 0 && sizes[1] > 0 && sizes[2] > 0 && sizes[3] > 0;
}

bool plain_extent(IntArrayRef size) { return size.size() == 2 && size[0] > 0 && size[1] > 0; }

// A result that our kernels may write and about which native would raise or warn nothing.
bool plain_result(const Tensor& result, const Tensor& source) {
  return result.scalar_type() == source.scalar_type() && result.device() == source.device() &&
         at::has_internal_overlap(result) != at::MemOverlap::Yes &&
         (!result.is_alias_of(source) || at::get_overlap_status(result, source) == at::MemOverlapStatus::No);
}

bool takes_forward(const Tensor& input, IntArrayRef output_size) {
  return on_our_device(input) && plain_image(input.sizes()) && plain_extent(output_size) &&
         (differentiable_dtype(input) || input.scalar_type() == at::kByte);
}

bool takes_backward(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size) {
  return on_our_device(grad_output) && plain_image(input_size) && plain_extent(output_size) &&
         differentiable_dtype(grad_output) && grad_output.dim() == 4 &&
         grad_output.size(0) == input_size[0] && grad_output.size(1) == input_size[1] &&
         grad_output.size(2) == output_size[0] && grad_output.size(3) == output_size[1];
}

// Calls our op through the dispatcher (so that profilers show the op that really ran), below autograd, which
// the caller of the native kernel has already handled.
Tensor run_backward(const Tensor& grad_output, IntArrayRef input_size, bool align_corners,
                    optional<double> scale_h, optional<double> scale_w) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  return upsample_backward_op().call(grad_output, c10::fromIntArrayRefSlow(input_size.slice(2)),
                                     align_corners, scale_h, scale_w);
}

// The native kernels of one device.
struct NativeCpu {
  static constexpr auto key = c10::DispatchKey::CPU;
  static constexpr auto forward = at::cpu::upsample_bilinear2d;
  static constexpr auto forward_out = at::cpu::upsample_bilinear2d_outf;
  static constexpr auto backward = at::cpu::upsample_bilinear2d_backward;
  static constexpr auto backward_out = at::cpu::upsample_bilinear2d_backward_outf;
};
#if defined(UPSAMPLE_EXT_WITH_CUDA)
struct NativeCuda {
  static constexpr auto key = c10::DispatchKey::CUDA;
  static constexpr auto forward = at::cuda::upsample_bilinear2d;
  static constexpr auto forward_out = at::cuda::upsample_bilinear2d_outf;
  static constexpr auto backward = at::cuda::upsample_bilinear2d_backward;
  static constexpr auto backward_out = at::cuda::upsample_bilinear2d_backward_outf;
};
#endif

// The replacements of one device's native kernels.
template <class Native>
struct Replacement {
  static Tensor forward(const Tensor& input, IntArrayRef output_size, bool align_corners,
                        optional<double> scale_h, optional<double> scale_w) {
    if (!takes_forward(input, output_size)) {
      return Native::forward(input, output_size, align_corners, scale_h, scale_w);
    }
    const at::AutoDispatchBelowADInplaceOrView guard;
    return upsample_op().call(input, c10::fromIntArrayRefSlow(output_size), align_corners, scale_h, scale_w);
  }

  static Tensor& forward_out(const Tensor& input, IntArrayRef output_size, bool align_corners,
                             optional<double> scale_h, optional<double> scale_w, Tensor& out) {
    if (!takes_forward(input, output_size) || !plain_result(out, input)) {
      return Native::forward_out(input, output_size, align_corners, scale_h, scale_w, out);
    }
    const at::AutoDispatchBelowADInplaceOrView guard;
    upsample_out_op().call(input, c10::fromIntArrayRefSlow(output_size), align_corners, scale_h, scale_w,
                           out);
    return out;
  }

  static Tensor backward(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size,
                         bool align_corners, optional<double> scale_h, optional<double> scale_w) {
    if (!takes_backward(grad_output, output_size, input_size)) {
      return Native::backward(grad_output, output_size, input_size, align_corners, scale_h, scale_w);
    }
    return run_backward(grad_output, input_size, align_corners, scale_h, scale_w);
  }

  static Tensor& backward_out(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size,
                              bool align_corners, optional<double> scale_h, optional<double> scale_w,
                              Tensor& grad_input) {
    if (!takes_backward(grad_output, output_size, input_size) || !plain_result(grad_input, grad_output)) {
      return Native::backward_out(grad_output, output_size, input_size, align_corners, scale_h, scale_w,
                                  grad_input);
    }
    const Tensor result = run_backward(grad_output, input_size, align_corners, scale_h, scale_w);
    // A result that has to be resized gets the op's layout; one of the right size keeps its layout.
    if (at::native::resize_output(grad_input, result.sizes())) {
      grad_input.unsafeGetTensorImpl()->empty_tensor_restride(grad_output.suggest_memory_format());
    }
    return grad_input.copy_(result);
  }
};

// Suppresses the dispatcher's warning that a kernel was overridden, which is intended here, and passes on all
// other warnings.
class DropOverrideNote : public c10::WarningHandler {
 public:
  explicit DropOverrideNote(c10::WarningHandler* next) : next_(next) {}
  void process(const c10::Warning& warning) override {
    if (warning.msg().find("Overriding a previously registered kernel") == std::string::npos) {
      next_->process(warning);
    }
  }

 private:
  c10::WarningHandler* next_;
};

template <class Native>
std::unique_ptr<torch::Library> register_kernels() {
  auto library = std::make_unique<torch::Library>(
      torch::Library::IMPL, "aten", std::make_optional(Native::key), "upsample_ext dispatcher override", 0);
  typedef Replacement<Native> Ours;
  library->impl("upsample_bilinear2d", TORCH_FN(Ours::forward));
  library->impl("upsample_bilinear2d.out", TORCH_FN(Ours::forward_out));
  library->impl("upsample_bilinear2d_backward", TORCH_FN(Ours::backward));
  library->impl("upsample_bilinear2d_backward.grad_input", TORCH_FN(Ours::backward_out));
  return library;
}

// One registration per device; none while disabled.
using Libraries = std::vector<std::unique_ptr<torch::Library>>;

Libraries register_for_every_device() {
  DropOverrideNote handler(c10::WarningUtils::get_warning_handler());
  const c10::WarningUtils::WarningHandlerGuard handler_guard(&handler);
  // The warning is issued once per process; "always" keeps our override from consuming the one that is due
  // for an override by other code.
  const c10::WarningUtils::WarnAlways always;
  Libraries libraries;
  libraries.push_back(register_kernels<NativeCpu>());
#if defined(UPSAMPLE_EXT_WITH_CUDA)
  libraries.push_back(register_kernels<NativeCuda>());
#endif
  return libraries;
}

struct Override {
  std::mutex mutex;
  Libraries libraries;
};

// Never destroyed: at exit the dispatcher may already have been destroyed.
Override& override_state() {
  static Override* const state = new Override;
  return *state;
}

}  // namespace

void enable_dispatcher_override() {
  Override& state = override_state();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.libraries.empty()) {
    state.libraries = register_for_every_device();
  }
}

void disable_dispatcher_override() {
  Override& state = override_state();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.libraries.clear();
}

bool dispatcher_override_enabled() {
  Override& state = override_state();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return !state.libraries.empty();
}

}  // namespace upsample_ext

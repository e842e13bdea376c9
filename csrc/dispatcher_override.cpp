// The override of native's resize ops, aten::upsample_* and their backward ops (functional and into `out`),
// below autograd, on the keys of the devices that this build has kernels for.
//
// On a GPU that the build has no machine code for, calls go to PyTorch's kernels.
//
// Everything above those keys stays native: PyTorch's autograd formula, vmap rules, autocast and tracing run
// as before and call this with plain tensors; the backward op too. Calls that are not clearly valid (rank,
// empty sizes, dtypes we have no kernel for, aliased results) go to the native kernel, called directly and
// not through the dispatcher, so that the errors are exactly PyTorch's.
//
// mode="area" is not among these ops: natively it is an average pooling, which other code calls directly.
#include "dispatcher_override.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_upsample_bicubic2d_aa_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_bicubic2d_aa_backward_cuda_dispatch.h>
#include <ATen/ops/_upsample_bicubic2d_aa_cpu_dispatch.h>
#include <ATen/ops/_upsample_bicubic2d_aa_cuda_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_backward_cuda_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_cpu_dispatch.h>
#include <ATen/ops/_upsample_bilinear2d_aa_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_backward_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact1d_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_backward_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact2d_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_backward_cuda_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_cpu_dispatch.h>
#include <ATen/ops/_upsample_nearest_exact3d_cuda_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_cpu_dispatch.h>
#include <ATen/ops/upsample_bicubic2d_cuda_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_cpu_dispatch.h>
#include <ATen/ops/upsample_bilinear2d_cuda_dispatch.h>
#include <ATen/ops/upsample_linear1d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_linear1d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_linear1d_cpu_dispatch.h>
#include <ATen/ops/upsample_linear1d_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest1d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest1d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest1d_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest1d_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest2d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest2d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest2d_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest2d_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest3d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest3d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_nearest3d_cpu_dispatch.h>
#include <ATen/ops/upsample_nearest3d_cuda_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_backward_cpu_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_backward_cuda_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_cpu_dispatch.h>
#include <ATen/ops/upsample_trilinear3d_cuda_dispatch.h>
#include <torch/library.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "judge.h"
#include "ops/dtypes.h"
#include "ops/op_handles.h"

#if UPSAMPLE_HAS_LANCZOS
#include <ATen/ops/_upsample_lanczos2d_aa_backward_cpu_dispatch.h>
#include <ATen/ops/_upsample_lanczos2d_aa_cpu_dispatch.h>
#endif

namespace upsample_ext {
namespace {

using at::Tensor;
using c10::IntArrayRef;
using std::optional;

// Whether our kernels may write to this result, and native would neither raise nor warn about it.
bool plain_result(const Tensor& result, const Tensor& source) {
  return result.scalar_type() == source.scalar_type() && result.device() == source.device() &&
         at::has_internal_overlap(result) != at::MemOverlap::Yes &&
         (!result.is_alias_of(source) || at::get_overlap_status(result, source) == at::MemOverlapStatus::No);
}

bool is_size(IntArrayRef size, int64_t axes) {
  return static_cast<int64_t>(size.size()) == axes && all_positive(size);
}

// The last arguments of a native op: align_corners, of the modes that have it, and a factor for each axis.
struct NativeSettings {
  bool align_corners = false;
  std::vector<double> factors;  // 0 where there is none
  bool has_factors = false;

  template <class... Arguments>
  explicit NativeSettings(Arguments... arguments) {
    (read(arguments), ...);
  }

  optional<double> factor(size_t axis) const {
    return factors[axis] > 0.0 ? optional<double>(factors[axis]) : std::nullopt;
  }
  OptionalScales all_factors() const { return has_factors ? OptionalScales(factors) : std::nullopt; }

 private:
  void read(bool value) { align_corners = value; }
  void read(optional<double> factor) {
    factors.push_back(factor.value_or(0.0));
    has_factors = has_factors || factors.back() > 0.0;
  }
};

// Calls our op through the dispatcher (so that profilers show the op that really ran), below autograd, which
// the caller of the native kernel has already handled.
Tensor resize(const NamedMode& mode, bool antialias, const Tensor& image, IntArrayRef size,
              const NativeSettings& settings, bool forward) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  const auto to = c10::fromIntArrayRefSlow(size);
  if (mode.is_bilinear(antialias)) {
    return (forward ? upsample_op() : upsample_backward_op())
        .call(image, to, settings.align_corners, settings.factor(0), settings.factor(1));
  }
  return (forward ? resample_op() : resample_backward_op())
      .call(image, to, mode.name, antialias, settings.align_corners, settings.all_factors());
}

// Writes a result to the tensor that the caller gave.
Tensor& copy_into(Tensor& out, const Tensor& result, const Tensor& source) {
  // A result that has to be resized gets the op's layout; one of the right size keeps its layout.
  if (at::native::resize_output(out, result.sizes())) {
    out.unsafeGetTensorImpl()->empty_tensor_restride(source.suggest_memory_format());
  }
  return out.copy_(result);
}

// The native kernels of one op on one device.
#define UPSAMPLE_NATIVE(Name, device, op, mode_name, filters)            \
  struct Name {                                                          \
    static constexpr const char* name = #op;                             \
    static constexpr const char* mode = mode_name;                       \
    static constexpr bool antialias = filters;                           \
    static constexpr auto forward = at::device::op;                      \
    static constexpr auto forward_out = at::device::op##_outf;           \
    static constexpr auto backward = at::device::op##_backward;          \
    static constexpr auto backward_out = at::device::op##_backward_outf; \
  }
#define UPSAMPLE_NATIVES(device)                                                              \
  UPSAMPLE_NATIVE(Nearest1d, device, upsample_nearest1d, "nearest", false);                   \
  UPSAMPLE_NATIVE(Nearest2d, device, upsample_nearest2d, "nearest", false);                   \
  UPSAMPLE_NATIVE(Nearest3d, device, upsample_nearest3d, "nearest", false);                   \
  UPSAMPLE_NATIVE(NearestExact1d, device, _upsample_nearest_exact1d, "nearest-exact", false); \
  UPSAMPLE_NATIVE(NearestExact2d, device, _upsample_nearest_exact2d, "nearest-exact", false); \
  UPSAMPLE_NATIVE(NearestExact3d, device, _upsample_nearest_exact3d, "nearest-exact", false); \
  UPSAMPLE_NATIVE(Linear1d, device, upsample_linear1d, "linear", false);                      \
  UPSAMPLE_NATIVE(Bilinear2d, device, upsample_bilinear2d, "bilinear", false);                \
  UPSAMPLE_NATIVE(Trilinear3d, device, upsample_trilinear3d, "trilinear", false);             \
  UPSAMPLE_NATIVE(Bicubic2d, device, upsample_bicubic2d, "bicubic", false);                   \
  UPSAMPLE_NATIVE(AntialiasedBilinear2d, device, _upsample_bilinear2d_aa, "bilinear", true);  \
  UPSAMPLE_NATIVE(AntialiasedBicubic2d, device, _upsample_bicubic2d_aa, "bicubic", true)

struct OnCpu {
  UPSAMPLE_NATIVES(cpu);
};
#if UPSAMPLE_HAS_LANCZOS
UPSAMPLE_NATIVE(Lanczos2d, cpu, _upsample_lanczos2d_aa, "lanczos", true);
#endif
#if defined(UPSAMPLE_EXT_WITH_CUDA)
struct OnCuda {  // where native has no lanczos
  UPSAMPLE_NATIVES(cuda);
};
#endif
#undef UPSAMPLE_NATIVES
#undef UPSAMPLE_NATIVE

// What replaces them. Settings: see NativeSettings.
template <class Native, class Signature>
struct Replacement;

template <class Native, class... Settings>
struct Replacement<Native, Tensor (*)(const Tensor&, IntArrayRef, Settings...)> {
  static const NamedMode& mode() {
    static const NamedMode& mode = *find_mode(Native::mode);
    return mode;
  }
  // 4-D of the modes that also have other ranks, too: the op says which one it is for.
  static constexpr int64_t kAxes = (0 + ... + (std::is_same_v<Settings, bool> ? 0 : 1));

  static bool takes_forward(const Tensor& input, IntArrayRef output_size) {
    return input.dim() == kAxes + 2 && takes_image(input, mode(), Native::antialias) &&
           (is_floating(input.scalar_type()) || input.scalar_type() == at::kByte) &&
           is_size(output_size, kAxes);
  }
  static bool takes_backward(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size) {
    return grad_output.dim() == kAxes + 2 && is_floating(grad_output.scalar_type()) &&
           takes_image(grad_output, mode(), Native::antialias) && is_size(output_size, kAxes) &&
           input_size.size() == kAxes + 2 && is_size(input_size.slice(2), kAxes) &&
           grad_output.sizes().slice(0, 2) == input_size.slice(0, 2) &&
           grad_output.sizes().slice(2) == output_size;
  }

  static Tensor forward(const Tensor& input, IntArrayRef output_size, Settings... settings) {
    if (!takes_forward(input, output_size)) return Native::forward(input, output_size, settings...);
    return resize(mode(), Native::antialias, input, output_size, NativeSettings(settings...), true);
  }

  static Tensor& forward_out(const Tensor& input, IntArrayRef output_size, Settings... settings,
                             Tensor& out) {
    if (!takes_forward(input, output_size) || !plain_result(out, input)) {
      return Native::forward_out(input, output_size, settings..., out);
    }
    const NativeSettings ours(settings...);
    if (mode().is_bilinear(Native::antialias)) {
      const at::AutoDispatchBelowADInplaceOrView guard;
      upsample_out_op().call(input, c10::fromIntArrayRefSlow(output_size), ours.align_corners, ours.factor(0),
                             ours.factor(1), out);
      return out;
    }
    return copy_into(out, resize(mode(), Native::antialias, input, output_size, ours, true), input);
  }

  static Tensor backward(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size,
                         Settings... settings) {
    if (!takes_backward(grad_output, output_size, input_size)) {
      return Native::backward(grad_output, output_size, input_size, settings...);
    }
    return resize(mode(), Native::antialias, grad_output, input_size.slice(2), NativeSettings(settings...),
                  false);
  }

  static Tensor& backward_out(const Tensor& grad_output, IntArrayRef output_size, IntArrayRef input_size,
                              Settings... settings, Tensor& grad_input) {
    if (!takes_backward(grad_output, output_size, input_size) || !plain_result(grad_input, grad_output)) {
      return Native::backward_out(grad_output, output_size, input_size, settings..., grad_input);
    }
    const Tensor result = resize(mode(), Native::antialias, grad_output, input_size.slice(2),
                                 NativeSettings(settings...), false);
    return copy_into(grad_input, result, grad_output);
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

using Library = std::unique_ptr<torch::Library>;

Library library_of(c10::DispatchKey key) {
  return std::make_unique<torch::Library>(torch::Library::IMPL, "aten", std::make_optional(key),
                                          "upsample_ext dispatcher override", 0);
}

template <class Native>
void register_op(torch::Library& library) {
  typedef Replacement<Native, std::decay_t<decltype(Native::forward)>> Ours;
  const std::string name = Native::name;
  library.impl(name.c_str(), TORCH_FN(Ours::forward));
  library.impl((name + ".out").c_str(), TORCH_FN(Ours::forward_out));
  library.impl((name + "_backward").c_str(), TORCH_FN(Ours::backward));
  library.impl((name + "_backward.grad_input").c_str(), TORCH_FN(Ours::backward_out));
}

template <class... Natives>
Library register_kernels(c10::DispatchKey key) {
  Library library = library_of(key);
  (register_op<Natives>(*library), ...);
  return library;
}
template <class On>
Library register_device(c10::DispatchKey key) {
  return register_kernels<typename On::Nearest1d, typename On::Nearest2d, typename On::Nearest3d,
                          typename On::NearestExact1d, typename On::NearestExact2d,
                          typename On::NearestExact3d, typename On::Linear1d, typename On::Bilinear2d,
                          typename On::Trilinear3d, typename On::Bicubic2d,
                          typename On::AntialiasedBilinear2d, typename On::AntialiasedBicubic2d>(key);
}

// One registration per device; none while disabled.
using Libraries = std::vector<Library>;

Libraries register_for_every_device() {
  DropOverrideNote handler(c10::WarningUtils::get_warning_handler());
  const c10::WarningUtils::WarningHandlerGuard handler_guard(&handler);
  // The warning is issued once per process; "always" keeps our override from consuming the one that is due
  // for an override by other code.
  const c10::WarningUtils::WarnAlways always;
  Libraries libraries;
  libraries.push_back(register_device<OnCpu>(c10::DispatchKey::CPU));
#if UPSAMPLE_HAS_LANCZOS
  libraries.push_back(register_kernels<Lanczos2d>(c10::DispatchKey::CPU));
#endif
#if defined(UPSAMPLE_EXT_WITH_CUDA)
  libraries.push_back(register_device<OnCuda>(c10::DispatchKey::CUDA));
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

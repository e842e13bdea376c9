// The Python module: fast entry points ("doors") to the ops, the instruction-set levels, the tables, and the
// build's configuration.
//
// A door takes the arguments of the Python function, decides whether the call is ours and needs no special
// treatment, and calls the op's typed handle. It returns None for everything else, so that the Python side
// can take the general path (subclasses, tracing, symbolic sizes) or leave the call to PyTorch, whose errors
// are then raised. CONTRIBUTING.md says why doors exist.

#include <ATen/autocast_mode.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <atomic>

#include "cpu/axis_cache.h"
#include "cpu/levels.h"
#include "cpu/parallel.h"
#include "dispatcher_override.h"
#include "geometry/axis_table.h"
#include "judge.h"
#include "ops/argmax.h"
#include "ops/concat.h"
#include "ops/cross_entropy.h"
#include "ops/op_handles.h"
#include "our_devices.h"

namespace py = pybind11;

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;

// ---- arguments ------------------------------------------------------------------------------------------

static bool is_int(PyObject* o) { return PyLong_CheckExact(o); }

static bool read_int(PyObject* o, int64_t* out) {
  if (!is_int(o)) return false;
  *out = PyLong_AsLongLong(o);
  return !(*out == -1 && PyErr_Occurred());
}

static bool read_number(PyObject* o, double* out) {
  if (PyFloat_CheckExact(o)) {
    *out = PyFloat_AS_DOUBLE(o);
    return true;
  }
  if (!is_int(o)) return false;
  *out = PyLong_AsDouble(o);
  return !(*out == -1.0 && PyErr_Occurred());
}

// One number for all of `count` places, or a tuple or list of so many.
template <class T>
static bool read_each(PyObject* o, int64_t count, T* out, bool (*read)(PyObject*, T*)) {
  bool all_read = true;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    all_read = PySequence_Fast_GET_SIZE(o) == count;
    for (int64_t i = 0; i < count && all_read; ++i) {
      all_read = read(PySequence_Fast_GET_ITEM(o, i), out + i);
    }
  } else {
    all_read = read(o, out);
    std::fill_n(out + 1, count - 1, *out);
  }
  if (!all_read) PyErr_Clear();  // of a number that is too large
  return all_read;
}

// ---- doors ----------------------------------------------------------------------------------------------

// None, True or False; `recomputes`: coordinates follow from the sizes even if a factor is given.
static bool read_resize(const Tensor& x, py::handle size, py::handle scale_factor, bool recomputes,
                        py::handle align_corners, Resize* resize) {
  if (size.is_none() == scale_factor.is_none() || (recomputes && scale_factor.is_none())) return false;
  if (!(align_corners.is_none() || PyBool_Check(align_corners.ptr()))) return false;
  resize->axes = x.dim() - 2;
  int64_t out[3];
  if (!size.is_none()) {
    if (!read_each(size.ptr(), resize->axes, out, read_int)) return false;
  } else {
    if (!read_each(scale_factor.ptr(), resize->axes, resize->scales, read_number)) return false;
    for (int64_t i = 0; i < resize->axes; ++i) out[i] = scaled_size(x.size(2 + i), resize->scales[i]);
  }
  if (!all_positive({out, static_cast<size_t>(resize->axes)})) return false;
  std::copy_n(out, resize->axes, resize->size);
  resize->has_scales = size.is_none() && !recomputes;
  resize->align_corners = align_corners.ptr() == Py_True;
  return true;
}

// The tensor, or null if it is of a subclass (__torch_function__, __torch_dispatch__) or no tensor at all.
static const Tensor* plain_tensor(py::handle o) {
  return THPVariable_CheckExact(o.ptr()) ? &THPVariable_Unpack(o.ptr()) : nullptr;
}

template <class Call>
static py::object without_gil(Call&& call) {
  Tensor result;
  {
    py::gil_scoped_release no_gil;
    result = call();
  }
  return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(result)));
}

// Null if it names none.
static const NamedMode* read_mode(py::handle o) {
  if (!PyUnicode_CheckExact(o.ptr())) return nullptr;
  Py_ssize_t size;
  const char* name = PyUnicode_AsUTF8AndSize(o.ptr(), &size);
  if (name == nullptr) {  // lone surrogates
    PyErr_Clear();
    return nullptr;
  }
  return find_mode(string_view(name, static_cast<size_t>(size)));
}

// A resize in any mode; None if the general path must be taken.
static py::object interpolate_door(py::handle input, py::handle size, py::handle scale_factor,
                                   py::handle mode_name, py::handle align_corners,
                                   py::handle recompute_scale_factor, py::handle antialias) {
  const Tensor* x = plain_tensor(input);
  if (x == nullptr || torch::jit::tracer::isTracing() || !PyBool_Check(antialias.ptr()) ||
      !(recompute_scale_factor.is_none() || PyBool_Check(recompute_scale_factor.ptr()))) {
    return py::none();
  }
  const NamedMode* mode = read_mode(mode_name);
  const bool filters = antialias.ptr() == Py_True;
  Resize to;
  if (mode == nullptr || !takes_image(*x, *mode, filters) ||
      !read_resize(*x, size, scale_factor, recompute_scale_factor.ptr() == Py_True, align_corners, &to) ||
      !mode->takes_align_corners(!align_corners.is_none(), to.align_corners)) {
    return py::none();
  }
  return without_gil([&] {
    if (mode->is_bilinear(filters)) {
      return upsample_op().call(*x, to.output_size(), to.align_corners, to.scale(0), to.scale(1));
    }
    return resample_op().call(*x, to.output_size(), mode->name, filters, to.align_corners,
                              to.scale_factors());
  });
}

// Reads an int for both axes, or two ints, none below `least`.
static bool read_pair(py::handle o, int64_t least, SymInt out[2]) {
  int64_t value[2];
  if (!read_each(o.ptr(), 2, value, read_int)) return false;
  out[0] = value[0];
  out[1] = value[1];
  return value[0] >= least && value[1] >= least;
}

// Whether t is a dense tensor on the device and of the dtype of the image x.
static bool goes_with(const Tensor& t, const Tensor& x) {
  return t.device() == x.device() && t.layout() == at::kStrided && t.scalar_type() == x.scalar_type();
}

// Whether autocast may change the dtypes of what is done to x.
static bool under_autocast(const Tensor& x) { return at::autocast::is_autocast_enabled(x.device().type()); }

// The geometry of a transposed convolution of x.
struct TransposedConvolution {
  SymInt stride[2], padding[2], output_padding[2], dilation[2];
};

// False if the general path must be taken, with kernels of that size along axis 0 and 1.
static bool read_geometry(const Tensor& x, const int64_t (&kernel_size)[2], py::handle stride,
                          py::handle padding, py::handle output_padding, py::handle dilation,
                          TransposedConvolution* to) {
  if (!read_pair(stride, 1, to->stride) || !read_pair(padding, 0, to->padding) ||
      !read_pair(output_padding, 0, to->output_padding) || !read_pair(dilation, 1, to->dilation)) {
    return false;
  }
  for (int i = 0; i < 2; ++i) {
    if (kernel_size[i] == 0) return false;
    const ConvTransposeAxis axis{x.size(2 + i),
                                 kernel_size[i],
                                 to->stride[i].expect_int(),
                                 to->padding[i].expect_int(),
                                 to->output_padding[i].expect_int(),
                                 to->dilation[i].expect_int(),
                                 false};
    const bool extends_less = axis.output_padding < axis.stride || axis.output_padding < axis.dilation;
    if (!extends_less || !axis.fits_64_bits() || axis.out_size() <= 0) return false;
  }
  return true;
}

// A well-formed depthwise conv_transpose2d; None if the general path must be taken (also under autocast,
// where dtypes need not agree).
static py::object depthwise_door(py::handle input, py::handle weight, py::handle bias, py::handle stride,
                                 py::handle padding, py::handle output_padding, py::handle groups,
                                 py::handle dilation) {
  if (!THPVariable_CheckExact(input.ptr()) || !THPVariable_CheckExact(weight.ptr()) ||
      !(bias.is_none() || THPVariable_CheckExact(bias.ptr())) || torch::jit::tracer::isTracing()) {
    return py::none();
  }
  const Tensor& x = THPVariable_Unpack(input.ptr());
  const Tensor& w = THPVariable_Unpack(weight.ptr());
  if (!takes_logits(x) || under_autocast(x) || w.dim() != 4 || !goes_with(w, x)) return py::none();
  const int64_t channels = x.size(1);
  if (w.size(0) != channels || w.size(1) != 1 || !is_int(groups.ptr()) ||
      PyLong_AsLongLong(groups.ptr()) != channels) {
    PyErr_Clear();
    return py::none();
  }
  std::optional<Tensor> b;
  if (!bias.is_none()) {
    b = THPVariable_Unpack(bias.ptr());
    if (b->dim() != 1 || b->size(0) != channels || !goes_with(*b, x)) return py::none();
  }
  TransposedConvolution to;
  if (!read_geometry(x, {w.size(2), w.size(3)}, stride, padding, output_padding, dilation, &to)) {
    return py::none();
  }
  return without_gil([&] {
    return depthwise_op().call(x, w, b, to.stride, to.padding, to.output_padding, to.dilation,
                               /*replicate=*/false);
  });
}

// A fixed kernel, without a gradient, on the device of x; null if the general path must be taken.
static const Tensor* fixed_kernel(py::handle o, const Tensor& x) {
  const Tensor* kernel = plain_tensor(o);
  const bool fits = kernel != nullptr && kernel->device() == x.device() && kernel->layout() == at::kStrided &&
                    at::isFloatingType(kernel->scalar_type()) && !kernel->requires_grad();
  return fits ? kernel : nullptr;
}

// A well-formed transposed convolution with a fixed kernel or a pair of them; None if the general path must
// be taken.
static py::object fixed_door(py::handle input, py::handle kernel, py::handle stride, py::handle padding,
                             py::handle output_padding, py::handle dilation, py::handle padding_mode,
                             bool of_interpolation) {
  const Tensor* x = plain_tensor(input);
  if (x == nullptr || torch::jit::tracer::isTracing() || !takes_logits(*x) || under_autocast(*x) ||
      !PyUnicode_Check(padding_mode.ptr())) {
    return py::none();
  }
  const bool replicate = PyUnicode_CompareWithASCIIString(padding_mode.ptr(), "replicate") == 0;
  if (!replicate && PyUnicode_CompareWithASCIIString(padding_mode.ptr(), "zeros") != 0) return py::none();
  TransposedConvolution to;
  if (PyTuple_CheckExact(kernel.ptr()) && PyTuple_GET_SIZE(kernel.ptr()) == 2) {
    const Tensor* height = fixed_kernel(PyTuple_GET_ITEM(kernel.ptr(), 0), *x);
    const Tensor* width = fixed_kernel(PyTuple_GET_ITEM(kernel.ptr(), 1), *x);
    if (height == nullptr || width == nullptr || height->dim() != 1 || width->dim() != 1 ||
        !read_geometry(*x, {height->size(0), width->size(0)}, stride, padding, output_padding, dilation,
                       &to)) {
      return py::none();
    }
    return without_gil([&] {
      return separable_op().call(*x, *height, *width, to.stride, to.padding, to.output_padding, to.dilation,
                                 replicate, replicate && of_interpolation);
    });
  }
  const Tensor* plane = fixed_kernel(kernel, *x);
  if (plane == nullptr || plane->scalar_type() != x->scalar_type() ||
      !(plane->dim() == 2 || (plane->dim() == 3 && plane->size(0) == x->size(1))) ||
      !read_geometry(*x, {plane->size(-2), plane->size(-1)}, stride, padding, output_padding, dilation,
                     &to)) {
    return py::none();
  }
  return without_gil([&] {
    const Tensor weight = plane->dim() == 3 ? plane->unsqueeze(1)
                                            : plane->expand({x->size(1), 1, plane->size(0), plane->size(1)});
    return depthwise_op().call(*x, weight, std::nullopt, to.stride, to.padding, to.output_padding,
                               to.dilation, replicate);
  });
}

// The mode of a fused op, of which align_corners is a truth value; null if the general path must be taken.
static const NamedMode* read_fused_mode(py::handle name, py::handle align_corners) {
  const NamedMode* mode = read_mode(name);
  if (mode == nullptr || !mode->takes_axes(2) || !PyBool_Check(align_corners.ptr())) return nullptr;
  return mode->aligns || align_corners.ptr() == Py_False ? mode : nullptr;
}

// The fused ops; None if the general path must be taken.
static py::object add_door(py::handle input, py::handle other, py::handle align_corners,
                           py::handle mode_name) {
  const Tensor *x = plain_tensor(input), *y = plain_tensor(other);
  if (x == nullptr || y == nullptr || torch::jit::tracer::isTracing()) return py::none();
  const NamedMode* mode = read_fused_mode(mode_name, align_corners);
  if (mode == nullptr || !takes_logits(*x, *mode) || !takes_logits(*y, *mode) || !goes_with(*y, *x) ||
      x->size(0) != y->size(0) || x->size(1) != y->size(1)) {
    return py::none();
  }
  return without_gil(
      [&] { return upsample_add_op().call(*x, *y, align_corners.ptr() == Py_True, mode->name); });
}

static py::object concat_door(py::handle inputs, py::handle size, py::handle align_corners,
                              py::handle mode_name) {
  if (!(PyTuple_CheckExact(inputs.ptr()) || PyList_CheckExact(inputs.ptr())) ||
      torch::jit::tracer::isTracing()) {
    return py::none();
  }
  const NamedMode* mode = read_fused_mode(mode_name, align_corners);
  if (mode == nullptr) return py::none();
  const auto count = static_cast<size_t>(PySequence_Fast_GET_SIZE(inputs.ptr()));
  if (count == 0 || count > kMostConcatInputs) return py::none();
  c10::SmallVector<Tensor, 8> images;
  for (size_t i = 0; i < count; ++i) {
    const Tensor* x = plain_tensor(PySequence_Fast_GET_ITEM(inputs.ptr(), static_cast<Py_ssize_t>(i)));
    if (x == nullptr || x->dim() != 4 || !takes_image(*x, *mode, false) || under_autocast(*x)) {
      return py::none();
    }
    if (i > 0 && (x->size(0) != images[0].size(0) || x->device() != images[0].device())) {
      return py::none();
    }
    images.push_back(*x);
  }
  SymInt to[2] = {images[0].size(2), images[0].size(3)};
  if (!(size.is_none() || read_pair(size, 1, to))) return py::none();
  return without_gil(
      [&] { return upsample_concat_op().call(images, to, align_corners.ptr() == Py_True, mode->name); });
}

static py::object threshold_door(py::handle input, py::handle size, py::handle scale_factor,
                                 py::handle align_corners, py::handle threshold, py::handle mode_name) {
  const Tensor* x = plain_tensor(input);
  const NamedMode* mode = read_fused_mode(mode_name, align_corners);
  Resize to;
  if (x == nullptr || mode == nullptr || torch::jit::tracer::isTracing() ||
      !PyFloat_CheckExact(threshold.ptr()) || !takes_logits(*x, *mode) || x->scalar_type() == at::kDouble ||
      !read_resize(*x, size, scale_factor, false, align_corners, &to)) {
    return py::none();
  }
  const double number = PyFloat_AS_DOUBLE(threshold.ptr());
  return without_gil([&] {
    return upsample_threshold_op().call(*x, to.output_size(), to.align_corners, to.scale(0), to.scale(1),
                                        number, mode->name);
  });
}

static py::object argmax_door(py::handle input, py::handle size, py::handle scale_factor,
                              py::handle align_corners, py::handle index_dtype, py::handle return_score,
                              py::handle mode_name) {
  const Tensor* x = plain_tensor(input);
  const NamedMode* mode = read_fused_mode(mode_name, align_corners);
  Resize to;
  if (x == nullptr || mode == nullptr || torch::jit::tracer::isTracing() ||
      !PyBool_Check(return_score.ptr()) || !THPDtype_Check(index_dtype.ptr()) || !takes_logits(*x, *mode) ||
      !read_resize(*x, size, scale_factor, false, align_corners, &to)) {
    return py::none();
  }
  const at::ScalarType dtype = reinterpret_cast<THPDtype*>(index_dtype.ptr())->scalar_type;
  if (x->size(1) - 1 > largest_index(dtype)) return py::none();
  const auto call = [&](const auto& op) {
    return op.call(*x, to.output_size(), to.align_corners, to.scale(0), to.scale(1), dtype, mode->name);
  };
  if (return_score.ptr() == Py_False) return without_gil([&] { return call(argmax_op()); });
  std::tuple<Tensor, Tensor> both;
  {
    py::gil_scoped_release no_gil;
    both = call(argmax_with_score_op());
  }
  return py::cast(both);
}

// As F.cross_entropy names them; null for any other object.
static const Reduction* read_reduction(py::handle o) {
  static constexpr std::pair<const char*, Reduction> kNamed[] = {
      {"none", kReduceNone}, {"mean", kReduceMean}, {"sum", kReduceSum}};
  if (!PyUnicode_CheckExact(o.ptr())) return nullptr;
  for (const auto& [name, reduction] : kNamed) {
    if (PyUnicode_CompareWithASCIIString(o.ptr(), name) == 0) return &reduction;
  }
  return nullptr;
}

static py::object cross_entropy_door(py::handle input, py::handle target, py::handle weight,
                                     py::handle ignore_index, py::handle reduction_name,
                                     py::handle label_smoothing, py::handle align_corners) {
  const Tensor *x = plain_tensor(input), *y = plain_tensor(target);
  const Reduction* reduction = read_reduction(reduction_name);
  int64_t ignored;
  double smoothing;
  if (x == nullptr || y == nullptr || reduction == nullptr || torch::jit::tracer::isTracing() ||
      !PyBool_Check(align_corners.ptr()) || !read_int(ignore_index.ptr(), &ignored) ||
      !read_number(label_smoothing.ptr(), &smoothing) || !(smoothing >= 0.0 && smoothing <= 1.0)) {
    PyErr_Clear();  // of a number that is too large
    return py::none();
  }
  if (!takes_logits(*x) || under_autocast(*x) || y->scalar_type() != at::kLong || y->dim() != 3 ||
      y->device() != x->device() || y->layout() != at::kStrided || y->size(0) != x->size(0) ||
      !all_positive(y->sizes().slice(1))) {
    return py::none();
  }
  std::optional<Tensor> of_classes;
  if (!weight.is_none()) {
    const Tensor* w = plain_tensor(weight);
    if (w == nullptr || w->dim() != 1 || w->size(0) != x->size(1) || !goes_with(*w, *x)) return py::none();
    of_classes = *w;
  }
  return without_gil([&] {
    return cross_entropy_op().call(*x, *y, of_classes, *reduction, ignored, smoothing,
                                   align_corners.ptr() == Py_True);
  });
}

// upsample_bilinear2d into `out`. Bound through torch's wrapper, which turns the C++ warning about resizing a
// non-empty tensor into a Python warning; torch.ops does not.
static void upsample_out(const Tensor& input, int64_t height, int64_t width, bool align_corners,
                         std::optional<double> scale_h, std::optional<double> scale_w, Tensor out) {
  const SymInt extent[] = {height, width};
  upsample_out_op().call(input, extent, align_corners, scale_h, scale_w, out);
}

// ---- tables, levels, build ------------------------------------------------------------------------------

static py::tuple table_as_lists(const AxisTable<double>& table) {
  const AxisTaps<double>& taps = table.taps();
  return py::make_tuple(std::vector<int64_t>(taps.offset, taps.offset + taps.out_size + 1),
                        std::vector<int64_t>(taps.index, taps.index + table.tap_count()),
                        std::vector<double>(taps.weight, taps.weight + table.tap_count()));
}

static void record_resize_of_plane(const at::Tensor& output, const at::Tensor& input, const std::string& mode,
                                   bool align_corners, std::optional<double> scale_h,
                                   std::optional<double> scale_w) {
  record_resize(output, input, ResampleSettings::of_plane("resample", mode, align_corners, scale_h, scale_w));
}

static py::tuple bilinear_table(int64_t in_size, int64_t out_size, bool align_corners,
                                std::optional<double> scale) {
  TORCH_CHECK_VALUE(in_size > 0 && out_size > 0, "bilinear_table: expected sizes greater than 0, got ",
                    in_size, " and ", out_size);
  return table_as_lists(AxisTable<double>::linear(in_size, out_size, align_corners, scale.value_or(0.0)));
}

static py::tuple axis_table(const std::string& mode, bool antialias, int64_t in_size, int64_t out_size,
                            bool align_corners, std::optional<double> scale, bool of_cuda) {
  TORCH_CHECK_VALUE(in_size > 0 && out_size > 0, "axis_table: expected sizes greater than 0, got ", in_size,
                    " and ", out_size);
  const ResampleSettings settings("axis_table", 2, mode, antialias, align_corners, {});
  return table_as_lists(
      AxisTable<double>::of({settings.mode->mode, antialias, in_size, out_size, align_corners,
                             scale.value_or(0.0), of_cuda ? NativeRules::kCuda : NativeRules::kCpu}));
}

static py::tuple conv_transpose_table(int64_t in_size, const std::vector<double>& kernel, int64_t stride,
                                      int64_t padding, int64_t output_padding, int64_t dilation,
                                      bool replicate) {
  const ConvTransposeAxis axis{
      in_size, static_cast<int64_t>(kernel.size()), stride, padding, output_padding, dilation, replicate};
  TORCH_CHECK_VALUE(in_size > 0 && !kernel.empty() && stride > 0 && padding >= 0 && output_padding >= 0 &&
                        dilation > 0 && axis.fits_64_bits() && axis.out_size() > 0,
                    "conv_transpose_table: expected positive sizes, got in_size ", in_size, ", kernel of ",
                    kernel.size(), ", stride ", stride, ", padding ", padding, ", output_padding ",
                    output_padding, ", dilation ", dilation);
  return table_as_lists(AxisTable<double>::conv_transpose(axis.with_near_steps(), kernel.data()));
}

// Name -> (least axes, most axes, plain, antialiased, dtypes, has align_corners), for the judge in Python.
static py::dict modes() {
  py::dict table;
  for (const NamedMode& mode : kModes) {
    if (mode.mode == Mode::kLanczos && !UPSAMPLE_HAS_LANCZOS) continue;
    table[mode.name] = py::make_tuple(mode.least_axes, mode.most_axes, mode.plain, mode.antialiased,
                                      static_cast<int>(mode.dtypes), mode.aligns);
  }
  return table;
}

static std::vector<std::string> level_names() {
  std::vector<std::string> names;
  for (int i = 0; i < level_count(); ++i) {
    if (level_at(i).supported()) names.emplace_back(level_at(i).name);
  }
  return names;
}

static void force_level(const std::string& name) {
  TORCH_CHECK_VALUE(set_level(name.c_str()), "set_level: expected one of ", level_names(), ", got ", name);
}

// The Python function that decides whether a GPU is served: int -> bool. Never destroyed: at exit the
// interpreter is gone first.
static py::object& gpu_judge() {
  static py::object* const judge = new py::object(py::none());
  return *judge;
}

bool ask_whether_gpu_is_served(int index) {
  const py::gil_scoped_acquire gil;  // kernels and autograd's threads run without it
  if (gpu_judge().is_none()) return true;
  const bool served = gpu_judge()(index).cast<bool>();
  gpu_answers[index] = served ? GpuAnswer::kServed : GpuAnswer::kNotServed;
  return served;
}

static void judge_gpus_with(const py::object& judge) {
  gpu_judge() = judge;
  for (auto& answer : gpu_answers) answer = GpuAnswer::kUnknown;
}

static bool checked_gpu_is_served(int index) {
  TORCH_CHECK_INDEX(index >= 0 && index < static_cast<int>(gpu_answers.size()),
                    "gpu_is_served: expected the index of a GPU, got ", index);
  return gpu_is_served(index);
}

// How many threads actually run a parallel loop: each waits until all have started, or until it has spun for
// too long.
static int64_t parallel_threads() {
  const int64_t wanted = at::get_num_threads();
  std::atomic<int64_t> arrived{0};
  parallel_for(0, wanted, 1, [&](int64_t, int64_t) {
    ++arrived;
    for (int64_t spin = 0; arrived < wanted && spin < 100000000; ++spin) {
    }
  });
  return arrived;
}

static py::dict build_info() {
  py::dict info;
  info["torch"] = UPSAMPLE_EXT_TORCH_VERSION;
  info["cuda"] = kBuiltWithCuda;
  info["compiler"] = __VERSION__;
#if AT_PARALLEL_OPENMP
  info["openmp"] = true;
#else
  info["openmp"] = false;
#endif
  return info;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("interpolate", interpolate_door, py::arg("input"), py::arg("size"), py::arg("scale_factor"),
        py::arg("mode"), py::arg("align_corners"), py::arg("recompute_scale_factor"), py::arg("antialias"));

  m.def("depthwise_conv_transpose2d", depthwise_door, py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("groups"),
        py::arg("dilation"));
  m.def("fixed_conv_transpose2d", fixed_door, py::arg("input"), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("output_padding"), py::arg("dilation"), py::arg("padding_mode"),
        py::arg("of_interpolation"));

  m.def("upsample_add", add_door, py::arg("input"), py::arg("other"), py::arg("align_corners"),
        py::arg("mode"));
  m.def("upsample_concat", concat_door, py::arg("inputs"), py::arg("size"), py::arg("align_corners"),
        py::arg("mode"));
  m.def("upsample_argmax", argmax_door, py::arg("input"), py::arg("size"), py::arg("scale_factor"),
        py::arg("align_corners"), py::arg("dtype"), py::arg("return_score"), py::arg("mode"));
  m.def("upsample_cross_entropy", cross_entropy_door, py::arg("input"), py::arg("target"), py::arg("weight"),
        py::arg("ignore_index"), py::arg("reduction"), py::arg("label_smoothing"), py::arg("align_corners"));
  m.def("upsample_threshold", threshold_door, py::arg("input"), py::arg("size"), py::arg("scale_factor"),
        py::arg("align_corners"), py::arg("threshold"), py::arg("mode"));

  m.def("upsample_bilinear2d_out", torch::wrap_pybind_function_no_gil(upsample_out));

  m.def("record_resize", record_resize_of_plane, py::arg("output"), py::arg("input"), py::arg("mode"),
        py::arg("align_corners"), py::arg("scale_h"), py::arg("scale_w"));

  m.def("bilinear_table", bilinear_table, py::arg("in_size"), py::arg("out_size"), py::arg("align_corners"),
        py::arg("scale") = py::none());
  m.def("axis_table", axis_table, py::arg("mode"), py::arg("antialias"), py::arg("in_size"),
        py::arg("out_size"), py::arg("align_corners") = false, py::arg("scale") = py::none(),
        py::arg("of_cuda") = false);
  m.def("conv_transpose_table", conv_transpose_table, py::arg("in_size"), py::arg("kernel"),
        py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("dilation"),
        py::arg("replicate"));

  m.def("modes", modes);
  m.def("level", [] { return active_level().name; });
  m.def("levels", level_names);
  m.def("set_level", force_level, py::arg("name"));
  m.def("refused_level", refused_level);
  m.def("parallel_threads", parallel_threads, py::call_guard<py::gil_scoped_release>());
  m.def("axis_cache_bytes", axis_cache::bytes_kept);
  m.def("build_info", build_info);
  m.def("judge_gpus_with", judge_gpus_with, py::arg("judge"));
  m.def("gpu_is_served", checked_gpu_is_served, py::arg("index"));

  m.def("enable_dispatcher_override", enable_dispatcher_override);
  m.def("disable_dispatcher_override", disable_dispatcher_override);
}

}  // namespace upsample_ext

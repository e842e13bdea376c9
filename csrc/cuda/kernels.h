// The host functions through which launchers call csrc/cuda's kernels: each chooses a kernel, launches it on
// the device's stream and returns the launch's error code. T is the type in memory, acc that of weights and
// sums.
#pragma once

#include "device.h"
#include "params.h"

namespace upsample_ext {
namespace gpu {

// output = A_h input A_w^T; and that finished by an epilogue (bool where it compares).
template <class T, class acc, class Axis>
cudaError_t resample(const ResampleParams<acc, Axis>& params, const Device& device);
template <class T, class acc, class Axis>
cudaError_t resample_add(const ResampleParams<acc, Axis>& params, const AddOperands& operands,
                         const Device& device);
template <class T, class acc, class Axis>
cudaError_t resample_threshold(const ResampleParams<acc, Axis>& params,
                               const ThresholdOperands<acc>& operands, const Device& device);

// Several images, with results of one height, in one launch; images_of_launch says how many of them it can
// be, from the first on.
template <class T, class acc, class Axis>
int64_t images_of_launch(const ResampleParams<acc, Axis>* images, int64_t count);
template <class T, class acc, class Axis>
cudaError_t resample_images(const ResampleParams<acc, Axis>* images, int64_t count, const Device& device);

// input = A_h^T output A_w: the gradient.
template <class T, class acc, class Axis>
cudaError_t resample_backward(const ResampleParams<acc, Axis>& params, const Device& device);

// Nearest neighbours: each value of the output, of any type, is copied from the input; and the gradient.
cudaError_t resample_nearest(const NearestParams& params, int64_t element_bytes, const Device& device);
template <class T>
cudaError_t resample_nearest_backward(const NearestParams& params, const Device& device);

// Any axis (geometry/axis.h) as a table, for which there must be room for most_taps() taps a row; and the
// table of the transposed matrix, from that one, with room for as many taps in all.
template <class acc, class Axis>
cudaError_t build_table(const Axis& axis, const DeviceTable<acc>& table, const Device& device);
template <class acc, class Axis>
cudaError_t transpose_table(const Axis& axis, const DeviceTable<acc>& table,
                            const DeviceTable<acc>& transposed, const Device& device);
// The table of a volume's rows, all slices one after the other: of `outer` along the depth and `inner` along
// the height, whose sources are `inner_sources` and whose taps have `inner_room` places in all.
template <class acc>
cudaError_t product_table(const DeviceTable<acc>& outer, const DeviceTable<acc>& inner, int64_t inner_sources,
                          int64_t inner_room, const DeviceTable<acc>& product, const Device& device);
template <class T, class acc>
cudaError_t resample_table(const TableParams<DeviceTable<acc>>& params, const Device& device);

// The depthwise transposed convolution and its gradients, see DeconvParams. Weights that are read are of type
// T, or of type acc if `weight_in_acc`.
template <class T>
cudaError_t deconv_forward(const DeconvParams& params, bool weight_in_acc, const Device& device);
template <class T>
cudaError_t deconv_backward_input(const DeconvParams& params, bool weight_in_acc, const Device& device);

// Sums over the whole batch are computed in two steps, first over slices of it: `partial` is memory for
// slices * results values of acc. The number of slices depends only on the sizes, never on the device.
// grad_weight is written as a contiguous (channels, kernel height, kernel width).
int64_t deconv_weight_slices(const DeconvParams& params);
template <class T>
cudaError_t deconv_backward_weight(const DeconvParams& params, void* partial, const Device& device);
int64_t channel_sum_slices(const ChannelSumParams& params);
template <class T>
cudaError_t channel_sum(const ChannelSumParams& params, void* partial, const Device& device);

// The class with the largest resized logit at every pixel, and its probability.
template <class T>
cudaError_t argmax(const ArgmaxParams& params, const Device& device);

// Cross-entropy: losses, or partial sums of them, and what backward needs; the sum of those; the gradient.
template <class T, class acc>
cudaError_t cross_entropy_forward(const CrossEntropyParams<acc>& params, const Device& device);
template <class acc>
int64_t cross_entropy_blocks(const LogitsParams<acc>& logits);  // of the forward pass: its partial sums
template <class T, class acc>
cudaError_t cross_entropy_sum(const LossSumParams<T, acc>& params, const Device& device);
template <class T, class acc>
cudaError_t cross_entropy_backward(const CrossEntropyParams<acc>& params, const Device& device);

}  // namespace gpu
}  // namespace upsample_ext

// The gradient of a resize: every source gathers its contributions from the results that read it, in a fixed
// order.
//
//   layout, size of the footprint            kernel                            V
//   channels side by side in both images,    resample_backward_channels_last   16 bytes if they divide all
//     factors up to about 19                                                     strides, else 1
//   any other whose footprint fits a tile,   resample_backward_planar          16 bytes; scattered where
//     factors up to about 19 down and          (doubled: factor 2 along the      rows are not aligned
//     30 across                                width)
//   larger footprints, of both layouts       resample_backward_large           as above; or 16 bytes of a
//                                                                              row without gaps
//   beyond 32 bits                           backward_of_one                   a warp to a source
#pragma once

#include "resample_backward_channels_last.cuh"
#include "resample_backward_large.cuh"
#include "resample_backward_planar.cuh"
#include "resample_limits.cuh"

namespace upsample_ext {
namespace gpu {

// ---- any strides, any factor: a warp to a source --------------------------------------------------------

// Lanes share the columns of the source's footprint and add up in a fixed tree.
template <class T, class acc, class Axis>
__global__ void __launch_bounds__(kSourceThreads, kSourceBlocks)
    backward_of_one(const ResampleParams<acc, Axis> p, int64_t sources) {
  int64_t rest = (static_cast<int64_t>(blockIdx.x) * kSourceThreads + threadIdx.x) / kWarp;
  if (rest >= sources) return;
  const auto lane = static_cast<int64_t>(threadIdx.x % kWarp);
  const int64_t x = rest % p.width.in_size;
  rest /= p.width.in_size;
  const int64_t y = rest % p.height.in_size;
  rest /= p.height.in_size;
  const int64_t c = rest % p.channels, n = rest / p.channels;
  const T* grad = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
  const int64_t top = p.height.begin(y), bottom = p.height.end(y), right = p.width.end(x);
  acc sum = 0;
  for (int64_t ox = p.width.begin(x) + lane; ox < right; ox += kWarp) {
    acc column = 0;
    for (int64_t oy = top; oy < bottom; ++oy) {
      add_taps(p.height.taps(oy), y, widen(load(grad + oy * p.out.height + ox * p.out.width)), column);
    }
    add_taps(p.width.taps(ox), x, column, sum);
  }
  sum = sum_of_warp(sum);
  T* result = static_cast<T*>(p.input) + n * p.in.batch + c * p.in.channel + y * p.in.height + x * p.in.width;
  if (lane == 0) *result = Narrow<T>::of(sum);
}

template <class T, class acc, class Axis>
cudaError_t launch_backward_of_one(const ResampleParams<acc, Axis>& p, const Device& device) {
  const int64_t sources = p.batch * p.channels * p.height.in_size * p.width.in_size;
  return launch(backward_of_one<T, acc, Axis>, device, divide_up(sources * kWarp, kSourceThreads),
                kSourceThreads, 0, p, sources);
}

// ---- choice ---------------------------------------------------------------------------------------------

// Which kernel computes the gradient, see the table above; kNone where there is nothing to do.
enum class BackwardKernel {
  kNone,
  kOneSource,  // a warp to a source
  kChannelsLast,
  kChannelsLastSingle,  // one channel a thread
  kVector,
  kDoubled,
  kScattered,
  kLargeVector,
  kLargeScattered,
  kLargePixels,  // all channels of some, as vectors that begin in any channel
  kLargeChannels,
  kLargeChannelsSingle,
};

template <class T, class acc, class Axis>
BackwardKernel choose_backward(const ResampleParams<acc, Axis>& p) {
  constexpr int V = kWide<T>;
  if (p.batch == 0) return BackwardKernel::kNone;
  if (!fits_32_bits(p)) return BackwardKernel::kOneSource;
  const bool large = most_outputs(p.height) > kMostListedOutputs;
  if (p.channels > 1 && p.in.channel == 1 && p.out.channel == 1) {
    const bool wide = p.channels % V == 0 &&
                      aligned_strides<T>(p.input, 16, p.in.batch, p.in.height, p.in.width) &&
                      aligned_strides<T>(p.output, 16, p.out.batch, p.out.height, p.out.width);
    if (large || most_outputs(p.width) > kMostListedOutputs) {
      if (!wide && has_dense_rows<T>(p)) return BackwardKernel::kLargePixels;
      return wide ? BackwardKernel::kLargeChannels : BackwardKernel::kLargeChannelsSingle;
    }
    return wide ? BackwardKernel::kChannelsLast : BackwardKernel::kChannelsLastSingle;
  }
  const bool vector = p.out.width == 1 && p.width.out_size % V == 0 &&
                      aligned_strides<T>(p.output, 16, p.out.batch, p.out.channel, p.out.height);
  if (large || cut_planes<T>(p.height, p.width).columns == 0) {
    return vector ? BackwardKernel::kLargeVector : BackwardKernel::kLargeScattered;
  }
  if (!vector) return BackwardKernel::kScattered;
  if constexpr (!Axis::kMayLackTaps) {
    if (multiplies(p.width, 2)) return BackwardKernel::kDoubled;
  }
  return BackwardKernel::kVector;
}

template <class T, class acc, class Axis>
cudaError_t launch_backward(const ResampleParams<acc, Axis>& p, const Device& device) {
  constexpr int V = kWide<T>;
  constexpr int kScattered = kTileColumns<T> / kWarp;
  const auto planar_cut = [&] { return cut_planes<T>(p.height, p.width); };
  switch (choose_backward<T>(p)) {
    case BackwardKernel::kNone:
      return cudaSuccess;
    case BackwardKernel::kOneSource:
      return launch_backward_of_one<T>(p, device);
    case BackwardKernel::kChannelsLast:
      return launch_backward_channels_last<T, V>(p, device);
    case BackwardKernel::kChannelsLastSingle:
      return launch_backward_channels_last<T, 1>(p, device);
    case BackwardKernel::kVector:
      return launch_backward_planar<T, V, true, false>(p, planar_cut(), device);
    case BackwardKernel::kDoubled:
      if constexpr (!Axis::kMayLackTaps) {
        return launch_backward_planar<T, V, true, true>(p, planar_cut(), device);
      }
      break;
    case BackwardKernel::kScattered:
      return launch_backward_planar<T, kScattered, false, false>(p, planar_cut(), device);
    case BackwardKernel::kLargeVector:
      return launch_backward_large<T, V, true, false>(p, 1, device);
    case BackwardKernel::kLargeScattered:
      return launch_backward_large<T, kLargeColumns<T>, false, false>(p, 1, device);
    case BackwardKernel::kLargePixels:
      return launch_backward_large<T, V, true, false>(p, p.channels, device);
    case BackwardKernel::kLargeChannels:
      return launch_backward_large<T, V, true, true>(p, V * channel_blocks<T, V>(p.channels).within, device);
    case BackwardKernel::kLargeChannelsSingle:
      return launch_backward_large<T, 1, true, true>(p, channel_blocks<T, 1>(p.channels).within, device);
  }
  return cudaErrorInvalidValue;
}

}  // namespace gpu
}  // namespace upsample_ext

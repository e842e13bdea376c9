// Depthwise transposed convolution with any number of taps, between images of any strides: forward, and the
// gradient with respect to the input.
//
// A thread owns kColumns results of one row of one channel, spaced so that they take the same taps: each
// weight is loaded once for all of them, and the results of a warp are adjacent. Per result this takes taps *
// (1 + 1 / kColumns) loads and `taps` multiply-adds.
#pragma once

#include "deconv.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kColumns = kDeconvGeneralColumns;

template <class T, class Index>
struct DeconvGeneral {
  const T* source;
  T* result;
  DeconvWeights<T> weight;
  const T* bias;
  int64_t bias_stride;
  Strides from, to;
  DeconvAxis<Index> height, width;
  DeconvThreads<Index> threads;
  Index thread_count, column_step, source_step;
};

// ---- forward --------------------------------------------------------------------------------------------

template <class T, class Index>
__global__ void __launch_bounds__(kDeconvThreads, kDeconvGeneralBlocks<Index>)
    deconv_forward_general(const DeconvGeneral<T, Index> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kDeconvThreads + threadIdx.x;
  if (number >= p.thread_count) return;
  const auto at = p.threads.place(static_cast<Index>(number));
  if (at.c >= p.threads.channels) return;
  const T* image = p.source + at.n * p.from.batch + at.c * p.from.channel;
  const auto y = p.height.first(at.row), x = p.width.first(at.column);

  acc sums[kColumns];
  const acc start = p.bias ? widen(load(p.bias + at.c * p.bias_stride)) : acc(0);
#pragma unroll
  for (int v = 0; v < kColumns; ++v) sums[v] = start;
  for (Index ky = y.tap, position = y.position; ky < p.height.kernel_size;
       ky += p.height.period, position -= p.height.step) {
    const Index iy = p.height.sample(position);
    if (iy < 0) continue;
    const T* row = image + iy * p.from.height;
    const int64_t weights = at.c * p.weight.channel + ky * p.weight.height;
    for (Index kx = x.tap, column = x.position; kx < p.width.kernel_size;
         kx += p.width.period, column -= p.width.step) {
      const acc weight = p.weight.at(weights + kx * p.weight.width);
#pragma unroll
      for (int v = 0; v < kColumns; ++v) {
        const Index ix = p.width.sample(column + v * p.source_step);
        if (ix >= 0) sums[v] = fused_multiply_add(weight, widen(load(row + ix * p.from.width)), sums[v]);
      }
    }
  }
  T* result = p.result + at.n * p.to.batch + at.c * p.to.channel + at.row * p.to.height;
#pragma unroll
  for (int v = 0; v < kColumns; ++v) {
    const Index column = at.column + v * p.column_step;
    if (column < p.width.out_size) store(result + column * p.to.width, Narrow<T>::of(sums[v]));
  }
}

// ---- the gradient to the input --------------------------------------------------------------------------

// The contribution of a row of grad_output to sample ix through kernel row `weights`, for one position.
template <class T, class Index, class acc>
__device__ __forceinline__ void gather_position(const DeconvGeneral<T, Index>& p, const T* row,
                                                int64_t weights, Index position, acc& sum) {
  for (Index kx = 0; kx < p.width.kernel_size; ++kx) {
    const Index ox = p.width.target(position) + kx * p.width.dilation;
    if (ox < 0 || ox >= p.width.out_size) continue;
    sum = fused_multiply_add(p.weight.at(weights + kx * p.weight.width), widen(load(row + ox * p.from.width)),
                             sum);
  }
}

template <class T, class Index>
__global__ void __launch_bounds__(kDeconvThreads, kDeconvGeneralBlocks<Index>)
    deconv_backward_input_general(const DeconvGeneral<T, Index> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kDeconvThreads + threadIdx.x;
  if (number >= p.thread_count) return;
  const auto at = p.threads.place(static_cast<Index>(number));
  if (at.c >= p.threads.channels) return;
  const T* image = p.source + at.n * p.from.batch + at.c * p.from.channel;

  acc sums[kColumns] = {};
  // With `replicate` an edge sample stands for all positions beyond it.
  const Index above = at.row == 0 ? p.height.first_position : at.row;
  const Index below =
      at.row == p.height.in_size - 1 ? p.height.first_position + p.height.positions : at.row + 1;
  for (Index y = above; y < below; ++y) {
    for (Index ky = 0; ky < p.height.kernel_size; ++ky) {
      const Index oy = p.height.target(y) + ky * p.height.dilation;
      if (oy < 0 || oy >= p.height.out_size) continue;
      const T* row = image + oy * p.from.height;
      const int64_t weights = at.c * p.weight.channel + ky * p.weight.height;
      for (Index kx = 0; kx < p.width.kernel_size; ++kx) {
        const acc weight = p.weight.at(weights + kx * p.weight.width);
        const Index first = p.width.target(at.column) + kx * p.width.dilation;
#pragma unroll
        for (int v = 0; v < kColumns; ++v) {
          const Index ox = first + v * p.source_step;
          if (ox < 0 || ox >= p.width.out_size) continue;
          sums[v] = fused_multiply_add(weight, widen(load(row + ox * p.from.width)), sums[v]);
        }
      }
      if (!p.width.replicate) continue;
#pragma unroll
      for (int v = 0; v < kColumns; ++v) {
        const Index ix = at.column + v * p.column_step;
        if (ix == 0) {
          for (Index x = p.width.first_position; x < 0; ++x) gather_position(p, row, weights, x, sums[v]);
        }
        if (ix == p.width.in_size - 1) {
          for (Index x = ix + 1; x < p.width.first_position + p.width.positions; ++x) {
            gather_position(p, row, weights, x, sums[v]);
          }
        }
      }
    }
  }
  T* result = p.result + at.n * p.to.batch + at.c * p.to.channel + at.row * p.to.height;
#pragma unroll
  for (int v = 0; v < kColumns; ++v) {
    const Index column = at.column + v * p.column_step;
    if (column < p.width.in_size) store(result + column * p.to.width, Narrow<T>::of(sums[v]));
  }
}

// ---- launch ---------------------------------------------------------------------------------------------

template <class T, class Index>
cudaError_t launch_forward_general(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  // Columns as many strides apart as makes a thread's share of the row.
  const int64_t stride = p.width.stride, width = p.width.out_size(), height = p.height.out_size();
  const int64_t source_step = divide_up(divide_up(width, kColumns), stride), step = source_step * stride;
  const int64_t columns = step < width ? step : width;
  const int64_t threads = DeconvThreads<Index>::count(p, columns, height);
  if constexpr (sizeof(Index) < 8) {
    if (!can_number<Index>(threads)) return launch_forward_general<T, int64_t>(p, weight_in_acc, device);
  }
  const DeconvGeneral<T, Index> arguments{static_cast<const T*>(p.input),
                                          static_cast<T*>(p.output),
                                          DeconvWeights<T>(p, weight_in_acc),
                                          static_cast<const T*>(p.bias),
                                          p.bias_stride,
                                          p.in,
                                          p.out,
                                          DeconvAxis<Index>(p.height),
                                          DeconvAxis<Index>(p.width),
                                          DeconvThreads<Index>(p, columns, height),
                                          static_cast<Index>(threads),
                                          static_cast<Index>(step),
                                          static_cast<Index>(source_step)};
  return launch(deconv_forward_general<T, Index>, device, divide_up(threads, kDeconvThreads), kDeconvThreads,
                0, arguments);
}

template <class T, class Index>
DeconvGeneral<T, Index> backward_input_arguments(const DeconvParams& p, bool weight_in_acc, int64_t columns,
                                                 int64_t row_groups, int64_t threads) {
  return {static_cast<const T*>(p.output),
          static_cast<T*>(p.input),
          DeconvWeights<T>(p, weight_in_acc),
          nullptr,
          0,
          p.out,
          p.in,
          DeconvAxis<Index>(p.height),
          DeconvAxis<Index>(p.width),
          DeconvThreads<Index>(p, columns, row_groups),
          static_cast<Index>(threads),
          static_cast<Index>(columns),
          static_cast<Index>(columns * p.width.stride)};
}

template <class T, class Index>
cudaError_t launch_backward_input_general(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  const int64_t columns = divide_up(p.width.in_size, kColumns);
  const int64_t threads = DeconvThreads<Index>::count(p, columns, p.height.in_size);
  if constexpr (sizeof(Index) < 8) {
    if (!can_number<Index>(threads)) {
      return launch_backward_input_general<T, int64_t>(p, weight_in_acc, device);
    }
  }
  return launch(deconv_backward_input_general<T, Index>, device, divide_up(threads, kDeconvThreads),
                kDeconvThreads, 0,
                backward_input_arguments<T, Index>(p, weight_in_acc, columns, p.height.in_size, threads));
}

}  // namespace gpu
}  // namespace upsample_ext

// The gradient of the depthwise transposed convolution with respect to its input.
//
//   kernel, along the height                  border       kernel              index
//   4, stride 2, padding 1, along both axes,  zeros        doubled             32 bits
//     planar, rows aligned
//   stride < kernel size <= 2 * stride,       zeros        rolling             32 bits
//     dilation 1
//   any other                                 any          general             32 bits
//   too large for 32 bits                     any          general             64 bits
//
// The doubled kernel. A thread owns the sources of 16 bytes of a row of grad_output, and walks down as the
// rolling kernel does, with the 16 weights in registers and both rows of a turn loaded before either is used.
//
// The rolling kernel. A thread owns kRollingColumns columns of one channel, far apart, and walks down R rows
// of them. A row of grad_output reaches two rows of the input, through kernel rows `stride` apart: both sums
// are kept, and what is loaded serves both.
//
// Kernel 4, stride 2, planar: a row of 32 inputs is 128 elements of grad_output, of which a warp loads 2 rows
// of 4 elements each, 8 bytes (float32) apart from lane to lane: 16 wavefronts of L1, and 16 /
// kRollingColumns of weights. Reading 16 and writing 4 bytes an input takes 43 cycles of a multiprocessor's
// DRAM, in half types 21; those have 12 + 8 wavefronts at most. Channels-last, a wavefront is one element of
// 32 channels: 8 and 8 of weights. The instructions of an input are about 8 loads, 16 multiply-adds, 16 for
// the bounds and 8 for the weights: 12 cycles for 32 inputs.
//
// Kernel 16, stride 8, padding 4, planar, kRun = 4: 32 inputs have 555 cycles in float32, 277 in half types.
// For each of 8 rows a warp loads 4 times 4 elements, 32 (16) bytes apart: 8 * 4 * 8 = 256 (128) wavefronts,
// and as many as 8 * 32 / kRollingColumns = 128 of weights.
#pragma once

#include "deconv_general.cuh"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T>
struct DeconvDoubled {
  const T* grad_output;
  T* grad_input;
  DeconvWeights<T> weight;
  Strides out, in;
  int32_t in_height, in_width, rows_per_thread, threads;
  Divider<int32_t> groups, row_groups, channels;  // threads are (batch, channel, rows, columns)
};

template <class T>
__global__ void __launch_bounds__(kDeconvThreads, kRollingBlocks)
    deconv_backward_input_doubled(const DeconvDoubled<T> p) {
  typedef acc_of<T> acc;
  constexpr int V = kWide<T>, kSources = V / 2, kTaps = 4;
  int32_t rest = static_cast<int32_t>(blockIdx.x) * kDeconvThreads + static_cast<int32_t>(threadIdx.x);
  if (rest >= p.threads) return;
  const int32_t group = p.groups.take(rest), begin = p.row_groups.take(rest) * p.rows_per_thread;
  const int32_t c = p.channels.take(rest), n = rest;
  const int32_t end = begin + p.rows_per_thread < p.in_height ? begin + p.rows_per_thread : p.in_height;
  const bool has_left = group > 0, has_right = (group + 1) * kSources < p.in_width;
  const T* source = opaque(p.grad_output + n * p.out.batch + c * p.out.channel + group * V);
  T* const result = p.grad_input + n * p.in.batch + c * p.in.channel + group * kSources;
  acc weight[kTaps][kTaps];
#pragma unroll
  for (int ky = 0; ky < kTaps; ++ky) {
#pragma unroll
    for (int kx = 0; kx < kTaps; ++kx) {
      weight[ky][kx] = p.weight.at(c * p.weight.channel + ky * p.weight.height + kx * p.weight.width);
    }
  }
  // A row of grad_output from one column before the thread's to one after.
  struct Row {
    Pack<T, V> inside;
    T left, right;
  };
  const auto add = [&](const acc(&values)[V + 2], const acc(&of_row)[kTaps], acc(&sums)[kSources]) {
#pragma unroll
    for (int s = 0; s < kSources; ++s) {
#pragma unroll
      for (int kx = 0; kx < kTaps; ++kx) {
        const bool is_there =
            (s > 0 || kx > 0 || has_left) && (s + 1 < kSources || kx + 1 < kTaps || has_right);
        if (is_there) sums[s] = fused_multiply_add(of_row[kx], values[2 * s + kx], sums[s]);
      }
    }
  };
  acc last[kSources] = {}, next[kSources] = {};
  for (int32_t y = begin; y <= end;
       ++y) {  // rows 2y - 1 and 2y reach y by kernel rows 0 and 1, y - 1 by 2 and 3
    const bool are_there[2] = {y > 0, y < p.in_height};
    Row rows[2];
#pragma unroll
    for (int f = 0; f < 2; ++f) {
      const T* row = opaque(source + (2 * y - 1 + f) * p.out.height);
      rows[f] = {};
      if (!are_there[f]) continue;
      rows[f].inside = load_pack<V>(row);
      if (has_left) rows[f].left = load(row - 1);
      if (has_right) rows[f].right = load(row + V);
    }
#pragma unroll
    for (int f = 0; f < 2; ++f) {
      if (!are_there[f]) continue;
      acc values[V + 2];
      values[0] = widen(rows[f].left);
      values[V + 1] = widen(rows[f].right);
#pragma unroll
      for (int v = 0; v < V; ++v) values[v + 1] = widen(rows[f].inside.value[v]);
      add(values, weight[2 + f], last);
      add(values, weight[f], next);
    }
    if (y > begin) {
      Pack<T, kSources> pack;
#pragma unroll
      for (int s = 0; s < kSources; ++s) pack.value[s] = Narrow<T>::of(last[s]);
      store_pack(result + (y - 1) * p.in.height, pack);
    }
#pragma unroll
    for (int s = 0; s < kSources; ++s) {
      last[s] = next[s];
      next[s] = acc(0);
    }
  }
}

template <class T>
cudaError_t launch_backward_input_doubled(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  const int64_t groups = p.width.out_size() / kWide<T>, planes = p.batch * p.channels;
  const int64_t rows = rows_per_thread(device, p.height.in_size, groups * planes);
  const int64_t row_groups = divide_up(p.height.in_size, rows), threads = groups * row_groups * planes;
  const DeconvDoubled<T> arguments{static_cast<const T*>(p.output),
                                   static_cast<T*>(p.input),
                                   DeconvWeights<T>(p, weight_in_acc),
                                   p.out,
                                   p.in,
                                   static_cast<int32_t>(p.height.in_size),
                                   static_cast<int32_t>(p.width.in_size),
                                   static_cast<int32_t>(rows),
                                   static_cast<int32_t>(threads),
                                   Divider<int32_t>(groups),
                                   Divider<int32_t>(row_groups),
                                   Divider<int32_t>(p.channels)};
  return launch(deconv_backward_input_doubled<T>, device, divide_up(threads, kDeconvThreads), kDeconvThreads,
                0, arguments);
}

// kRun: outputs loaded at once (outputs_at_once).
template <class T, int kRun>
__global__ void __launch_bounds__(kDeconvThreads, kRollingBlocks)
    deconv_backward_input_rolling(const DeconvGeneral<T, int32_t> p, const int32_t rows_per_thread) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kDeconvThreads + threadIdx.x;
  if (number >= p.thread_count) return;
  const auto at = p.threads.place(static_cast<int32_t>(number));
  if (at.c >= p.threads.channels) return;
  const int32_t stride = p.height.stride, begin = at.row * rows_per_thread;
  const int32_t end = begin + rows_per_thread < p.height.in_size ? begin + rows_per_thread : p.height.in_size;
  const T* image = p.source + at.n * p.from.batch + at.c * p.from.channel;
  T* result = p.result + at.n * p.to.batch + at.c * p.to.channel + at.column * p.to.width;
  const int64_t weights = at.c * p.weight.channel, second = stride * p.weight.height;
  const int32_t first = p.width.target(at.column);

  // Row f of the `stride` rows that position y reaches through the first kernel rows, and y - 1 through the
  // second: what it gives to either.
  const auto add = [&](int32_t y, int32_t f, bool to_last, acc(&last)[kRollingColumns], bool to_next,
                       acc(&next)[kRollingColumns]) {
    const int32_t oy = p.height.target(y) + f;
    if (oy < 0 || oy >= p.height.out_size) return;
    const T* row = image + oy * p.from.height;
    to_last = to_last && f + stride < p.height.kernel_size;
#pragma unroll 4 / kRun
    for (int32_t kx = 0; kx < p.width.kernel_size; kx += kRun) {
      const int64_t k = weights + f * p.weight.height + kx * p.weight.width;
      acc weight_next[kRun], weight_last[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        weight_next[i] = to_next ? p.weight.at(k + i * p.weight.width) : acc(0);
        weight_last[i] = to_last ? p.weight.at(k + second + i * p.weight.width) : acc(0);
      }
#pragma unroll
      for (int v = 0; v < kRollingColumns; ++v) {
        const int32_t ox = first + v * p.source_step + kx * p.width.dilation;
        if (ox < 0 || ox >= p.width.out_size) continue;
        const Pack<T, kRun> values = load_pack<kRun>(row + ox * p.from.width);
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          const acc value = widen(values.value[i]);
          if (to_last) last[v] = fused_multiply_add(weight_last[i], value, last[v]);
          if (to_next) next[v] = fused_multiply_add(weight_next[i], value, next[v]);
        }
      }
    }
  };
  acc last[kRollingColumns] = {}, next[kRollingColumns] = {};
  for (int32_t y = begin; y <= end; ++y) {
    for (int32_t f = 0; f < stride; ++f) add(y, f, y > begin, last, y < end, next);
#pragma unroll
    for (int v = 0; v < kRollingColumns; ++v) {
      if (y > begin && at.column + v * p.column_step < p.width.in_size) {
        store(result + (y - 1) * p.to.height + v * p.column_step * p.to.width, Narrow<T>::of(last[v]));
      }
      last[v] = next[v];
      next[v] = 0;
    }
  }
}

template <class T, int kRun>
cudaError_t launch_backward_input_rolling(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  const int64_t columns = divide_up(p.width.in_size, kRollingColumns), planes = p.batch * p.channels;
  const int64_t rows = rows_per_thread(device, p.height.in_size, planes * columns);
  const int64_t row_groups = divide_up(p.height.in_size, rows);
  const int64_t threads = DeconvThreads<int32_t>::count(p, columns, row_groups);
  if (!can_number<int32_t>(threads))
    return launch_backward_input_general<T, int64_t>(p, weight_in_acc, device);
  const auto arguments = backward_input_arguments<T, int32_t>(p, weight_in_acc, columns, row_groups, threads);
  return launch(deconv_backward_input_rolling<T, kRun>, device, divide_up(threads, kDeconvThreads),
                kDeconvThreads, 0, arguments, static_cast<int32_t>(rows));
}

// Which kernel takes a call; kNone where there is nothing to do.
enum class DeconvBackwardInputKernel {
  kNone,
  kGeneral,
  kGeneralBeyond32Bits,  // the same, too large for 32 bits
  kDoubled,
  kRolling,       // one output a load
  kRollingPairs,  // two
  kRollingMost,   // kMostOutputs
};

template <class T>
DeconvBackwardInputKernel choose_deconv_backward_input(const DeconvParams& p) {
  if (p.batch == 0) return DeconvBackwardInputKernel::kNone;
  if (!fits_32_bits(p)) return DeconvBackwardInputKernel::kGeneralBeyond32Bits;
  if (doubles_aligned_rows<T>(p)) return DeconvBackwardInputKernel::kDoubled;
  const ConvTransposeAxis& h = p.height;
  const bool rolls = h.dilation == 1 && h.stride < h.kernel_size && h.kernel_size <= 2 * h.stride;
  if (!rolls || h.replicate) return DeconvBackwardInputKernel::kGeneral;
  switch (outputs_at_once<T>(p)) {
    case 4:
      return DeconvBackwardInputKernel::kRollingMost;
    case 2:
      return DeconvBackwardInputKernel::kRollingPairs;
    default:
      return DeconvBackwardInputKernel::kRolling;
  }
}

template <class T>
cudaError_t launch_deconv_backward_input(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  switch (choose_deconv_backward_input<T>(p)) {
    case DeconvBackwardInputKernel::kNone:
      return cudaSuccess;
    case DeconvBackwardInputKernel::kGeneral:
      return launch_backward_input_general<T, int32_t>(p, weight_in_acc, device);
    case DeconvBackwardInputKernel::kGeneralBeyond32Bits:
      return launch_backward_input_general<T, int64_t>(p, weight_in_acc, device);
    case DeconvBackwardInputKernel::kDoubled:
      return launch_backward_input_doubled<T>(p, weight_in_acc, device);
    case DeconvBackwardInputKernel::kRolling:
      return launch_backward_input_rolling<T, 1>(p, weight_in_acc, device);
    case DeconvBackwardInputKernel::kRollingPairs:
      return launch_backward_input_rolling<T, 2>(p, weight_in_acc, device);
    case DeconvBackwardInputKernel::kRollingMost:
      return launch_backward_input_rolling<T, kMostOutputs<T>>(p, weight_in_acc, device);
  }
  return cudaErrorInvalidValue;
}

}  // namespace gpu
}  // namespace upsample_ext

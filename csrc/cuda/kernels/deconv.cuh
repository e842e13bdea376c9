// What the kernels of the depthwise transposed convolution share: the layout of weights, what fits 32 bits.
#pragma once

#include "../../geometry/deconv_axis.h"
#include "../kernels.h"
#include "config.cuh"
#include "element.cuh"
#include "launch.cuh"
#include "resample_limits.cuh"

namespace upsample_ext {
namespace gpu {

// Weights in memory: of type T, or of type acc if the launcher computed them (a separable kernel's product,
// or a copy with the channels of a tap adjacent).
template <class T>
struct DeconvWeights {
  typedef acc_of<T> acc;
  const void* data;
  int64_t channel, height, width;  // strides
  bool in_acc;
  bool packed;  // of acc, the channels of a tap side by side and aligned as vectors of them

  DeconvWeights(const DeconvParams& p, bool weight_in_acc)
      : data(p.weight),
        channel(p.weight_channel),
        height(p.weight_height),
        width(p.weight_width),
        in_acc(weight_in_acc),
        packed((weight_in_acc || sizeof(T) == sizeof(acc)) && channel == 1 &&
               reinterpret_cast<uintptr_t>(data) % 16 == 0 && height * sizeof(acc) % 16 == 0 &&
               width * sizeof(acc) % 16 == 0) {}

  __device__ __forceinline__ acc at(int64_t offset) const {
    if (sizeof(T) < sizeof(acc) && in_acc) return load(static_cast<const acc*>(data) + offset);
    return widen(load(static_cast<const T*>(data) + offset));
  }
};

// Whether offsets within a plane and the number of results stay far inside 32 bits.
inline bool fits_32_bits(const DeconvParams& p) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t planes = p.batch * p.channels;
  const auto area = [&](int64_t height, int64_t width) { return planes * height * width; };
  return fits_32_bits(p.height) && fits_32_bits(p.width) && extent(p.width.in_size, p.in.width) < kMost &&
         extent(p.width.out_size(), p.out.width) < kMost && area(p.height.in_size, p.width.in_size) < kMost &&
         area(p.height.out_size(), p.width.out_size()) < kMost;
}

// How many of `channels` adjacent channels a block takes, at most `most`: with fewer channels a block has
// more pixels, and neighbouring pixels share what they read.
inline int64_t channels_of_block(int64_t channels, int64_t most) {
  return channels <= most ? channels : divide_up(divide_up(channels, divide_up(channels, most)), 8) * 8;
}

// How many adjacent outputs can be loaded at once for adjacent taps: 4 or 2 if the loads always start at a
// multiple of that, else 1. Threads of neighbouring samples load from addresses `stride` apart: the larger it
// is, the more of each cache line should be used by one load.
template <class T>
constexpr int kMostOutputs = sizeof(T) > 4 ? 2 : 4;
template <class T>
int outputs_at_once(const DeconvParams& p) {
  const ConvTransposeAxis& w = p.width;
  if (p.out.width != 1 || w.dilation != 1 || p.channels_last) return 1;
  const auto starts_at_multiples = [&](int64_t count) {
    return w.stride % count == 0 && w.padding % count == 0 && w.kernel_size % count == 0 &&
           w.out_size() % count == 0 &&
           aligned_strides<T>(p.output, count * sizeof(T), p.out.batch, p.out.channel, p.out.height);
  };
  if (starts_at_multiples(kMostOutputs<T>)) return kMostOutputs<T>;
  return starts_at_multiples(2) ? 2 : 1;
}

// Kernel 4, stride 2, padding 1 along both axes of planes whose rows are whole vectors: the layer that
// doubles an image, whose gradients have kernels of their own.
template <class T>
bool doubles_aligned_rows(const DeconvParams& p) {
  const auto doubles_axis = [](const ConvTransposeAxis& axis) {
    return axis.kernel_size == 4 && axis.stride == 2 && axis.padding == 1 && axis.output_padding == 0 &&
           axis.dilation == 1 && !axis.replicate;
  };
  return doubles_axis(p.height) && doubles_axis(p.width) && !p.channels_last && p.out.width == 1 &&
         p.in.width == 1 && p.width.out_size() % kWide<T> == 0 &&
         aligned_strides<T>(p.output, 16, p.out.batch, p.out.channel, p.out.height) &&
         aligned_strides<T>(p.input, 8, p.in.batch, p.in.channel, p.in.height);
}

// A thread of the general kernels: one channel of one row, and the first of its columns. Threads are numbered
// so that neighbours are adjacent in memory: (batch, channels, row, column, channel of a block) if channels
// are, otherwise (batch, channel, row, column).
template <class Index>
struct DeconvThreads {
  Index channels;
  Divider<Index> inner_channels, columns, rows, outer_channels;

  DeconvThreads(const DeconvParams& p, int64_t columns_of_a_row, int64_t rows_of_a_plane)
      : channels(static_cast<Index>(p.channels)),
        inner_channels(inner(p)),
        columns(columns_of_a_row),
        rows(rows_of_a_plane),
        outer_channels(divide_up(p.channels, inner(p))) {}

  // How many there are, some without a channel.
  static int64_t count(const DeconvParams& p, int64_t columns_of_a_row, int64_t rows_of_a_plane) {
    return p.batch * divide_up(p.channels, inner(p)) * inner(p) * columns_of_a_row * rows_of_a_plane;
  }

  struct Place {
    Index n, c, row, column;
  };
  __device__ __forceinline__ Place place(Index number) const {
    Place at;
    at.c = inner_channels.take(number);
    at.column = columns.take(number);
    at.row = rows.take(number);
    at.c += outer_channels.take(number) * static_cast<Index>(inner_channels.divisor);
    at.n = number;
    return at;
  }

 private:
  static int64_t inner(const DeconvParams& p) {
    return p.channels_last ? channels_of_block(p.channels, kWarp) : 1;
  }
};

}  // namespace gpu
}  // namespace upsample_ext

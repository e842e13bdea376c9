// Resize of several images into slices of one, in one launch where one kernel can serve them all.
//
// The blocks of the images follow each other in the grid, so that the last of one run beside the first of the
// next. A thread does for its image what resample_forward.cuh would; an image that is as large as the output
// is copied.
//
//   what choose_forward says of the images     images of a launch
//   vectors of a row, whatever their taps      up to 8
//   channels-last, vectors                     up to 8
//   any other                                  one, by resample()
#pragma once

#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kMostImages = 8;

template <class T, class Axis>
struct ConcatArguments {
  ForwardArguments<T, Axis, int32_t, Store<T>> image[kMostImages];
  ForwardKernel kernel[kMostImages];
  bool copy[kMostImages];
  int32_t end[kMostImages];  // the block after the image's last
};

// Which image a thread works on, and its number among the image's threads.
struct ThreadOfImage {
  int image;
  int64_t number;
};
template <class Config, class Arguments>
__device__ __forceinline__ ThreadOfImage thread_of_image(const Arguments& p) {
  const auto block = static_cast<int32_t>(blockIdx.x);
  int32_t first = 0;
  int image = 0;
  while (block >= p.end[image]) first = p.end[image++];
  return {image, static_cast<int64_t>(block - first) * Config::kThreads + threadIdx.x};
}

template <class T, int V>
__device__ __forceinline__ void copy_rows(const T* from, int64_t from_row, T* to, int64_t to_row,
                                          int32_t rows) {
#pragma unroll 4
  for (int32_t o = 0; o < rows; ++o) store_pack(to + o * to_row, load_pack<V>(from + o * from_row));
}

template <class T, int V, class Axis, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    concat_planar(const __grid_constant__ ConcatArguments<T, Axis> p) {
  const auto [i, number] = thread_of_image<Config>(p);
  const auto& image = p.image[i];
  if (number >= image.threads) return;
  const auto own = planar_rows<V, true>(image, static_cast<int32_t>(number));
  if (p.copy[i]) {
    copy_rows<T, V>(image.input + own.input + own.begin * image.in.height + own.column, image.in.height,
                    image.output + own.output + own.begin * image.out.height + own.column, image.out.height,
                    own.end - own.begin);
  } else if (p.kernel[i] == ForwardKernel::kDoubled) {
    resample_rows<T, V, true, DoubledColumns>(image, own);
  } else if (V >= 4 && p.kernel[i] == ForwardKernel::kQuadrupled) {
    if constexpr (V >= 4) resample_rows<T, V, true, QuadrupledColumns>(image, own);
  } else {
    resample_rows<T, V, true, PlanarColumns>(image, own);
  }
}

template <class T, int V, class Axis, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    concat_channels_last(const __grid_constant__ ConcatArguments<T, Axis> p) {
  const auto [i, number] = thread_of_image<Config>(p);
  const auto& image = p.image[i];
  if (number >= image.threads) return;
  const auto own = channels_last_rows<V>(image, static_cast<int32_t>(number));
  if (own.begin == own.end) return;
  if (p.copy[i]) {
    const int64_t from = own.input + own.begin * image.in.height + own.column * image.in.width;
    copy_rows<T, V>(image.input + from, image.in.height,
                    image.output + own.output + own.begin * image.out.height, image.out.height,
                    own.end - own.begin);
  } else {
    resample_channels<T, V>(image, own);
  }
}

// ---- choice and launch ----------------------------------------------------------------------------------

// Whether an image is as large as its result.
template <class acc>
bool copies(const ResampleParams<acc, LinearAxis<acc>>& p) {
  return p.height.copies && p.width.copies;
}

enum class ConcatKernel { kAlone, kPlanar, kChannelsLast };

template <class T, class Config = ForwardConfig, class acc, class Axis>
ConcatKernel choose_concat(const ResampleParams<acc, Axis>& p) {
  constexpr int64_t kBytes = Config::template kValues<T> * sizeof(T);
  const bool readable = !copies(p) || (p.in.width == 1 && aligned_strides<T>(p.input, kBytes, p.in.batch,
                                                                             p.in.channel, p.in.height));
  switch (choose_forward<T, Config>(p, Store<T>())) {
    case ForwardKernel::kVector:
    case ForwardKernel::kDoubled:
    case ForwardKernel::kQuadrupled:
      return readable ? ConcatKernel::kPlanar : ConcatKernel::kAlone;
    case ForwardKernel::kChannelsLast:
      return ConcatKernel::kChannelsLast;
    default:
      return ConcatKernel::kAlone;
  }
}

// How many of the images, from the first on, one launch takes.
template <class T, class Config = ForwardConfig, class acc, class Axis>
int64_t count_images(const ResampleParams<acc, Axis>* images, int64_t count) {
  const ConcatKernel kernel = choose_concat<T, Config>(images[0]);
  if (kernel == ConcatKernel::kAlone) return 1;
  int64_t same = 1;
  while (same < smaller(count, kMostImages) && choose_concat<T, Config>(images[same]) == kernel) ++same;
  return same;
}

// Images that choose_concat puts in one launch.
template <class T, class Config = ForwardConfig, class acc, class Axis>
cudaError_t launch_concat(const ResampleParams<acc, Axis>* images, int64_t count, const Device& device) {
  typedef typename Axis::template with_index<int32_t> NarrowAxis;
  constexpr int V = Config::template kValues<T>;
  const ConcatKernel kernel = choose_concat<T, Config>(images[0]);
  const bool planar = kernel == ConcatKernel::kPlanar;
  struct Dimensions {
    int64_t blocks, columns, within;
  };
  const auto dimensions = [&](const ResampleParams<acc, Axis>& p) -> Dimensions {
    if (planar) return {p.channels, p.width.out_size / V, 1};
    const ChannelBlocks of = channel_blocks<T, V>(p.channels);
    return {of.blocks, p.width.out_size, of.within};
  };
  int64_t threads_of_a_row = 0;  // of all images, which are equally high
  for (int64_t i = 0; i < count; ++i) {
    const Dimensions of = dimensions(images[i]);
    threads_of_a_row += images[i].batch * of.blocks * of.columns * of.within;
  }
  const int64_t rows = rows_per_thread(device, images[0].height.out_size, threads_of_a_row);
  ConcatArguments<T, NarrowAxis> arguments{};
  int64_t blocks = 0;
  for (int64_t i = 0; i < count; ++i) {
    arguments.image[i] = forward_arguments<T, int32_t>(images[i], Store<T>());
    const Dimensions of = dimensions(images[i]);
    // There are at most 2^31 results, and at least two in a vector, which leaves room for what fills up
    // blocks.
    const int64_t threads =
        number_threads<int32_t>(arguments.image[i], images[i].batch, of.blocks, of.columns, of.within, rows);
    arguments.kernel[i] = choose_forward<T, Config>(images[i], Store<T>());
    arguments.copy[i] = copies(images[i]);
    blocks += divide_up(threads, Config::kThreads);
    arguments.end[i] = static_cast<int32_t>(blocks);
  }
  return launch(
      planar ? concat_planar<T, V, NarrowAxis, Config> : concat_channels_last<T, V, NarrowAxis, Config>,
      device, blocks, Config::kThreads, 0, arguments);
}

}  // namespace gpu
}  // namespace upsample_ext

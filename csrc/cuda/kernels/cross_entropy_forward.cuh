// Cross-entropy of the resized logits, without a resized logit in memory: the loss of every pixel or the sums
// over a block's pixels, and what the gradient needs of each pixel's softmax.
//
// A thread (class_logits.cuh) keeps for each of its R pixels the maximum so far and the sum of exponentials
// less it; the target's logit is interpolated once more at the end. Sums over pixels are double, in an order
// that only the sizes fix: a thread's rows from above, a block's threads in a tree, blocks in the same tree
// (sum_of_losses).
//
// What 4 classes cost a thread of R = 4 pixels, planar float32, as compiled for sm_90: as argmax 16 loads,
// some 40 instructions for addresses and the loop and 16 to blend along the width, and per pixel and class 2
// to blend along the height, 1 for the maximum, 4 for the exponential's distance, product, power and sum, and
// a quarter of 4 to raise the maximum: 203, or 12.7 per pixel and class, of which 1.25 on the special
// function unit. For 150 classes of 512x512 pixels on 132 multiprocessors that issue 128 a cycle, 16 of them
// special, at 1.7 GHz: 17 and 14 us.
#pragma once

#include <assert.h>

#include "softmax.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Index>
struct ForwardLossArguments {
  const T* input;
  Strides in;
  Index channels;
  PixelGrid<acc, Index> grid;
  CrossEntropyParams<acc> p;
};

// The sum over a block, in a tree. Must be called by all threads; the first gets the sum, the others 0.
__device__ __forceinline__ double sum_of_block(double value, double* shared, int threads) {
  const auto thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  shared[thread] = value;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  return thread == 0 ? shared[0] : 0.0;
}

// The sums that a pixel's loss is computed from after the loop over classes.
template <class acc>
struct PixelSums {
  ExponentialSum<acc> exponentials;
  // Of weight * (logit - reference) over all classes, for the part of the loss that is spread over them. The
  // reference is the first class's logit, if finite: large numbers cancel before they are summed.
  acc weighted = 0, reference = 0;
};

// The loss of a pixel of class `target` with resized logit z there.
template <class acc>
__device__ __forceinline__ acc loss_of_pixel(const CrossEntropyParams<acc>& p, int64_t classes,
                                             acc weight_sum, acc weight, const PixelSums<acc>& sums, acc z) {
  const acc maximum = sums.exponentials.maximum, log_sum = logarithm(sums.exponentials.sum);
  const acc of_target = weight * (log_sum - (z - maximum));
  if (p.smoothing == acc(0)) return of_target;
  const acc all = weight_sum * (log_sum + (maximum - sums.reference)) - sums.weighted;
  return (acc(1) - p.smoothing) * of_target + p.smoothing / static_cast<acc>(classes) * all;
}

// kSmooth: smoothing is not 0.
template <class T, class acc, int R, int V, bool kSmooth, class Index>
__global__ void __launch_bounds__(kClassThreads, sizeof(acc) == 8 ? 2 : kClassBlocks - kFewerBlocks - kSmooth)
    cross_entropy_of_columns(const ForwardLossArguments<T, acc, Index> a) {
  const CrossEntropyParams<acc>& p = a.p;
  const auto channels = static_cast<int>(a.channels);
  const acc weight_sum = weight_of_classes(p);
  double loss_sum = 0, weight_of_targets = 0;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kClassThreads + threadIdx.x;
  typename PixelGrid<acc, Index>::Place place{0, 0, 0, 0, 1};
  if (number < a.grid.threads) place = a.grid.template place<R>(static_cast<Index>(number));
  const auto column = a.grid.width.taps(place.column);
  const T* image = a.input + place.n * a.in.batch;
  for (Index begin = place.begin; begin < place.end; begin += place.step) {
    acc weight0[R], weight1[R];
    PixelSums<acc> pixels[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const auto taps = a.grid.height.taps(begin + r < place.end ? begin + r : begin);
      weight0[r] = taps.weight0;
      weight1[r] = taps.weight1;
      if constexpr (kSmooth) {
        const acc first = resized_logit(image, a.in, taps, column);
        pixels[r].reference = first - first == acc(0) ? first : acc(0);
      }
    }
    const auto rows = a.grid.height.taps(begin);
    ClassColumn<T, acc, kClassGroup, V> source(image, a.in, rows.index0, rows.index1, column);
    const auto take = [&](int c, int count) {
      acc above[kClassGroup], below[kClassGroup];
      source.take(count, above, below);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        acc values[kClassGroup];
#pragma unroll
        for (int k = 0; k < kClassGroup; ++k) {
          values[k] = k < count ? blend(weight0[r], above[k], weight1[r], below[k]) : -Limits<acc>::kInfinity;
          if (kSmooth && k < count) {
            const acc weight = p.weight != nullptr ? load(p.weight + c + k) : acc(1);
            pixels[r].weighted =
                fused_multiply_add(weight, values[k] - pixels[r].reference, pixels[r].weighted);
          }
        }
        pixels[r].exponentials.add(values);
      }
    };
    int c = 0;
#pragma unroll 1
    for (; c + kClassGroup <= channels; c += kClassGroup) take(c, kClassGroup);
    if (c < channels) take(c, channels - c);

    const int64_t first =
        (static_cast<int64_t>(place.n) * a.grid.height.out_size + begin) * a.grid.width.out_size;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (begin + r >= place.end) break;
      const int64_t pixel = first + static_cast<int64_t>(r) * a.grid.width.out_size + place.column;
      const int64_t target = load(p.target + pixel);
      const bool counts = target != p.ignore_index;
      if (counts && (target < 0 || target >= channels)) {
        // Like native's assertion: nothing is read at an invalid target, and nothing runs after it.
        assert(false && "upsample_cross_entropy: expected a target that is a class or ignore_index");
        __trap();
      }
      acc weight = 0, loss = 0;
      if (counts) {
        weight = p.weight != nullptr ? load(p.weight + target) : acc(1);
        const acc z =
            resized_logit(image + target * a.in.channel, a.in, a.grid.height.taps(begin + r), column);
        loss = loss_of_pixel(p, channels, weight_sum, weight, pixels[r], z);
      }
      if (p.loss != nullptr) p.loss[pixel] = loss;
      if (p.softmax != nullptr) {
        const ExponentialSum<acc>& e = pixels[r].exponentials;
        store(p.softmax + pixel, SoftmaxOfPixel<acc>{e.maximum, e.sum});
      }
      loss_sum += static_cast<double>(loss);
      weight_of_targets += static_cast<double>(weight);
    }
  }
  if (p.partial == nullptr) return;
  __shared__ double shared[kClassThreads];
  const double losses = sum_of_block(loss_sum, shared, kClassThreads);
  const double weights = sum_of_block(weight_of_targets, shared, kClassThreads);
  if (threadIdx.x == 0) {
    p.partial[2 * static_cast<int64_t>(blockIdx.x)] = losses;
    p.partial[2 * static_cast<int64_t>(blockIdx.x) + 1] = weights;
  }
}

// ---- the sum over all blocks ----------------------------------------------------------------------------

// One block: each thread sums every kLossSumThreads-th partial.
template <class T, class acc>
__global__ void __launch_bounds__(kLossSumThreads) sum_of_losses(const LossSumParams<T, acc> p) {
  __shared__ double shared[kLossSumThreads];
  double losses = 0, weights = 0;
  for (int64_t i = threadIdx.x; i < p.blocks; i += kLossSumThreads) {
    losses += p.partial[2 * i];
    weights += p.partial[2 * i + 1];
  }
  losses = sum_of_block(losses, shared, kLossSumThreads);
  weights = sum_of_block(weights, shared, kLossSumThreads);
  if (threadIdx.x != 0) return;
  if (p.loss != nullptr) *p.loss = Narrow<T>::of(static_cast<acc>(p.mean ? losses / weights : losses));
  if (p.scale != nullptr) {
    const double grad = p.grad_output != nullptr ? static_cast<double>(widen(load(p.grad_output))) : 1.0;
    *p.scale = static_cast<acc>(p.mean ? grad / weights : grad);
  }
}

// ---- choice and launch ----------------------------------------------------------------------------------

// Rows of a thread: depends only on the factor, in every layout, because it determines the sums of a block.
template <class acc>
int rows_of_thread(const LogitsParams<acc>& p) {
  return sizeof(acc) < sizeof(double) && fits_32_bits(p) ? rows_between_sources(p, 4) : 2;
}

template <class T, class acc, int R, int V, bool kSmooth, class Index>
cudaError_t launch_cross_entropy_of_columns(const CrossEntropyParams<acc>& p, const Device& device) {
  const ForwardLossArguments<T, acc, Index> arguments{static_cast<const T*>(p.logits.input), p.logits.in,
                                                      static_cast<Index>(p.logits.channels),
                                                      pixel_grid<Index>(p.logits, R), p};
  return launch(cross_entropy_of_columns<T, acc, R, V, kSmooth, Index>, device,
                PixelGridChoice<acc>(p.logits, R).blocks(), kClassThreads, 0, arguments);
}

// classes of a pixel      rows of a thread, by the factor    classes of a load    index
// side by side, not double    2, 4                           16 bytes, or 2       32 bits
// any other                   2, 4; 2 of double              1                    32 bits
// too large for 32 bits       2                              1                    64 bits
template <class T, class acc>
ClassesChoice choose_cross_entropy(const LogitsParams<acc>& p) {
  const bool narrow = fits_32_bits(p), is_double = std::is_same<acc, double>::value;
  return {narrow, rows_of_thread(p), narrow && !is_double ? classes_of_load<T>(p) : 1};
}

template <class T, class acc, bool kSmooth>
cudaError_t launch_cross_entropy_forward(const CrossEntropyParams<acc>& p, const Device& device) {
  const ClassesChoice choice = choose_cross_entropy<T>(p.logits);
  if (!choice.fits_32_bits) {
    return launch_cross_entropy_of_columns<T, acc, 2, 1, kSmooth, int64_t>(p, device);
  }
  if constexpr (std::is_same<acc, double>::value) {
    return launch_cross_entropy_of_columns<T, acc, 2, 1, kSmooth, int32_t>(p, device);
  } else {
    return with_classes<T>(choice.classes, [&](auto classes) {
      constexpr int V = decltype(classes)::value;
      return choice.rows == 2 ? launch_cross_entropy_of_columns<T, acc, 2, V, kSmooth, int32_t>(p, device)
                              : launch_cross_entropy_of_columns<T, acc, 4, V, kSmooth, int32_t>(p, device);
    });
  }
}

}  // namespace gpu
}  // namespace upsample_ext

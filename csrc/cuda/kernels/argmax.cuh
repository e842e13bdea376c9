// The class with the largest resized logit at every pixel, and its softmax probability.
//
// A thread (class_logits.cuh) keeps the best value, its class and, for the probability, a sum of
// exponentials of each of its R pixels in registers during the loop over classes. Of equal values the first
// wins; the first NaN wins over everything.
//
// A group of classes is first compared as a whole, by its largest value: on real maps few groups after the
// first hold a new winner, and only those look for it. Comparing class by class would cost the ALU pipe,
// which has half the lanes of the others, four instructions a value.
#pragma once

#include "softmax.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class Index>
struct ArgmaxArguments {
  const T* input;
  Strides in;
  Index channels;
  PixelGrid<float, Index> grid;
  void* index;
  int64_t index_bytes;
  float* score;
};

__device__ __forceinline__ void store_index(void* index, int64_t bytes, int64_t at, int value) {
  switch (bytes) {
    case 1:
      static_cast<uint8_t*>(index)[at] = static_cast<uint8_t>(value);
      break;
    case 2:
      static_cast<int16_t*>(index)[at] = static_cast<int16_t>(value);
      break;
    case 4:
      static_cast<int32_t*>(index)[at] = value;
      break;
    default:
      static_cast<int64_t*>(index)[at] = value;
  }
}

// The larger of two values, or NaN if one is.
__device__ __forceinline__ float larger_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a > b || a != a ? a : b;
#endif
}
__device__ __forceinline__ float largest_or_nan(const float (&values)[kClassGroup]) {
  float largest = values[0];
#pragma unroll
  for (int k = 1; k < kClassGroup; ++k) largest = larger_or_nan(largest, values[k]);
  return largest;
}

template <class T, int R, int V, bool kScore, class Index>
__global__ void __launch_bounds__(kClassThreads, kClassBlocks - (kScore && sizeof(T) == 8))
    argmax_of_columns(const ArgmaxArguments<T, Index> p) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kClassThreads + threadIdx.x;
  if (number >= p.grid.threads) return;
  const auto place = p.grid.template place<R>(static_cast<Index>(number));
  for (Index begin = place.begin; begin < place.end; begin += place.step) {
    float weight0[R], weight1[R], best[R];
    int where[R];
    ExponentialSum<float> exponentials[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const auto taps = p.grid.height.taps(begin + r < place.end ? begin + r : begin);
      weight0[r] = taps.weight0;
      weight1[r] = taps.weight1;
      best[r] = -Limits<float>::kInfinity;
      where[r] = 0;
    }
    const auto rows = p.grid.height.taps(begin);
    ClassColumn<T, float, kClassGroup, V> source(p.input + place.n * p.in.batch, p.in, rows.index0,
                                                 rows.index1, p.grid.width.taps(place.column));
    const auto take = [&](int c, int count) {
      float above[kClassGroup], below[kClassGroup];
      source.take(count, above, below);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        float values[kClassGroup];
#pragma unroll
        for (int k = 0; k < kClassGroup; ++k) {
          values[k] =
              k < count ? blend(weight0[r], above[k], weight1[r], below[k]) : -Limits<float>::kInfinity;
        }
        if (!(largest_or_nan(values) <= best[r])) {
#pragma unroll
          for (int k = 0; k < kClassGroup; ++k) {
            const bool wins = !(values[k] <= best[r]) && best[r] == best[r];
            best[r] = wins ? values[k] : best[r];
            where[r] = wins ? c + k : where[r];
          }
        }
        if (kScore) exponentials[r].add(values);
      }
    };
    const int channels = static_cast<int>(p.channels);
    int c = 0;
#pragma unroll 1
    for (; c + kClassGroup <= channels; c += kClassGroup) {
      take(c, kClassGroup);
    }
    if (c < channels) take(c, channels - c);

    const int64_t first =
        (static_cast<int64_t>(place.n) * p.grid.height.out_size + begin) * p.grid.width.out_size;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (begin + r >= place.end) break;
      const int64_t pixel = first + static_cast<int64_t>(r) * p.grid.width.out_size + place.column;
      store_index(p.index, p.index_bytes, pixel, where[r]);
      // The winner is the maximum, whose exponential is 1. The softmax of infinities alone is NaN.
      if (kScore)
        p.score[pixel] =
            best[r] == -Limits<float>::kInfinity ? best[r] - best[r] : 1.0f / exponentials[r].sum;
    }
  }
}

template <class T, int R, int V, bool kScore, class Index>
cudaError_t launch_argmax_of_columns(const ArgmaxParams& p, const Device& device) {
  const ArgmaxArguments<T, Index> arguments{static_cast<const T*>(p.logits.input),
                                            p.logits.in,
                                            static_cast<Index>(p.logits.channels),
                                            pixel_grid<Index>(p.logits, R),
                                            p.index,
                                            p.index_bytes,
                                            p.score};
  return launch(argmax_of_columns<T, R, V, kScore, Index>, device,
                PixelGridChoice<float>(p.logits, R).blocks(), kClassThreads, 0, arguments);
}

// classes of a pixel      score      rows of a thread                   classes of a load    index
// side by side            any        4                                  16 bytes, or 2       32 bits
// any other               without    2, 4, 8, by factor and device      1                    32 bits
//   (doubles: 2, 4)
// any other               with       2, 4, by factor and device         1                    32 bits
// too large for 32 bits   any        2                                  1                    64 bits
template <class T>
ClassesChoice choose_argmax(const ArgmaxParams& p, const Device& device) {
  if (!fits_32_bits(p.logits)) return {false, 2, 1};
  const int classes = classes_of_load<T>(p.logits);
  if (classes > 1) return {true, 4, classes};
  int rows = rows_between_sources(p.logits, p.score != nullptr || sizeof(T) == 8 ? 4 : 8);
  while (rows > 2 && PixelGridChoice<float>(p.logits, rows).blocks() < device.multiprocessors) rows /= 2;
  return {true, rows, 1};
}

template <class T, bool kScore>
cudaError_t launch_argmax(const ArgmaxParams& p, const Device& device) {
  const ClassesChoice choice = choose_argmax<T>(p, device);
  if (!choice.fits_32_bits) return launch_argmax_of_columns<T, 2, 1, kScore, int64_t>(p, device);
  if (choice.rows == 2) return launch_argmax_of_columns<T, 2, 1, kScore, int32_t>(p, device);
  constexpr int kMost = kScore || sizeof(T) == 8 ? 4 : 8;
  if (choice.rows == 8) return launch_argmax_of_columns<T, kMost, 1, kScore, int32_t>(p, device);
  return with_classes<T>(choice.classes, [&](auto classes) {
    return launch_argmax_of_columns<T, 4, decltype(classes)::value, kScore, int32_t>(p, device);
  });
}

}  // namespace gpu
}  // namespace upsample_ext

// Nearest neighbours: each result is a copy of one source, and the gradient of a source the sum over the
// results that are copies of it, which lie side by side along each axis.
//
// The copies know no dtype: values are words of 1 to 16 bytes. A thread keeps what it has loaded while result
// rows copy the same source row, so that doubling an image costs half a load a store.
//
//   what the images share                  forward               backward
//   channels side by side, whole words     pick_pixels: a word   sum_pixels: a vector of channels
//     of up to 16 bytes
//   channels side by side without a gap,   pick_rows: 16 bytes   sum_pixels: a value
//     a pixel less than 16 bytes, or
//     elements of a result's row side by
//     side, either with rows aligned
//   the same, the width doubled            pick_rows             sum_doubled: 16 bytes
//   any other, or beyond 32 bits           pick_pixels: a value  sum_pixels: a value
//
// Rows are those of all slices of a volume, one after the other. Sums run down the results' rows and along
// each, in acc, whatever the launch is.
#pragma once

#include "../params.h"
#include "element.cuh"
#include "launch.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"

namespace upsample_ext {
namespace gpu {

// Memory of whole values that are moved and never looked at.
template <int bytes>
struct alignas(bytes) Moved {
  unsigned char byte[bytes];
};

// ---- what a thread owns -----------------------------------------------------------------------------------

template <class Index>
struct NearestArguments {
  const void* from;  // backward, what is read is the gradient of the output, and `out` are its strides
  void* to;
  Strides in, out;
  NearestAxis<float, Index> depth, height, width;
  // Threads are numbered (batch, channel, rows, columns, parts of a pixel); rows and columns of what is
  // written.
  Index threads, rows, rows_per_thread;
  Divider<Index> parts, columns, row_groups, channels, slice_rows;
};

// A thread's place in that order.
template <class Index>
struct NearestPlace {
  Index part, column, begin, end, channel, batch;

  __device__ __forceinline__ NearestPlace(const NearestArguments<Index>& p, Index number) {
    part = p.parts.take(number);
    column = p.columns.take(number);
    begin = p.row_groups.take(number) * p.rows_per_thread;
    end = begin + p.rows_per_thread < p.rows ? begin + p.rows_per_thread : p.rows;
    channel = p.channels.take(number);
    batch = number;
  }
};

// ---- forward ----------------------------------------------------------------------------------------------

// Result rows begin .. end of what a thread owns: take(row) loads of a source row, put(row) stores what was
// loaded last.
template <class Index, class Take, class Put>
__device__ __forceinline__ void copy_down(const NearestArguments<Index>& p, Index begin, Index end,
                                          Take&& take, Put&& put) {
  Index slice = begin, row = p.slice_rows.take(slice);
  Index held = -1;
  for (Index o = begin; o < end; ++o) {
    const Index source = p.depth.source(slice) * p.height.in_size + p.height.source(row);
    if (source != held) take(source);
    held = source;
    put(o);
    if (++row == p.height.out_size) {
      row = 0;
      ++slice;
    }
  }
}

// A word of a pixel.
template <class Word, class Index>
__global__ void __launch_bounds__(NearestConfig::kThreads, NearestConfig::kPickBlocks)
    pick_pixels(const NearestArguments<Index> p) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * NearestConfig::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  const NearestPlace<Index> place(p, static_cast<Index>(number));
  const Word* from =
      opaque(static_cast<const Word*>(p.from) + place.batch * p.in.batch + place.channel * p.in.channel +
             static_cast<int64_t>(p.width.source(place.column)) * p.in.width + place.part);
  Word* to = static_cast<Word*>(p.to) + place.batch * p.out.batch + place.channel * p.out.channel +
             place.column * p.out.width + place.part;
  Word held{};
  copy_down(
      p, place.begin, place.end, [&](Index row) { held = load(from + row * p.in.height); },
      [&](Index row) { store(to + row * p.out.height, held); });
}

// 16 bytes of a result's row, whose pixels hold `pixel` words each without a gap.
template <class Word>
__global__ void __launch_bounds__(NearestConfig::kThreads, NearestConfig::kPickBlocks)
    pick_rows(const NearestArguments<int32_t> p, const Divider<int32_t> pixel) {
  constexpr int V = kWide<Word>;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * NearestConfig::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  const NearestPlace<int32_t> place(p, static_cast<int32_t>(number));
  uint32_t offset[V];
  {
    const auto values = static_cast<int32_t>(pixel.divisor);
    int32_t column = place.column * V, within = pixel.take(column);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      offset[v] = static_cast<uint32_t>(p.width.source(column) * static_cast<int32_t>(p.in.width) + within);
      if (++within == values) {
        within = 0;
        ++column;
      }
    }
  }
  const Word* from =
      opaque(static_cast<const Word*>(p.from) + place.batch * p.in.batch + place.channel * p.in.channel);
  Word* to =
      static_cast<Word*>(p.to) + place.batch * p.out.batch + place.channel * p.out.channel + place.column * V;
  Pack<Word, V> held{};
  copy_down(
      p, place.begin, place.end,
      [&](int32_t row) {
        const Word* source = opaque(from + row * p.in.height);
#pragma unroll
        for (int v = 0; v < V; ++v) held.value[v] = load(source + offset[v]);
      },
      [&](int32_t row) { store_pack(to + row * p.out.height, held); });
}

// ---- backward ---------------------------------------------------------------------------------------------

// Source rows begin .. end of what a thread owns: sum(first, last, sums) adds rows first .. last - 1 of a
// slice of the results, row 0 of which is at `first` itself; put(row, sums) stores.
template <int N, class acc, class Index, class Sum, class Put>
__device__ __forceinline__ void sum_down(const NearestArguments<Index>& p, Index begin, Index end, Sum&& sum,
                                         Put&& put) {
  Index slice = begin, row = p.slice_rows.take(slice);
  Index first_slice = p.depth.begin(slice), last_slice = p.depth.end(slice);
  Index first = p.height.begin(row);
  for (Index i = begin; i < end; ++i) {
    const Index last = p.height.end(row);
    acc sums[N] = {};
    for (Index s = first_slice; s < last_slice; ++s) {
      sum(s * p.height.out_size + first, s * p.height.out_size + last, sums);
    }
    put(i, sums);
    first = last;
    if (++row == p.height.in_size) {
      row = first = 0;
      ++slice;
      first_slice = last_slice;
      last_slice = i + 1 < end ? p.depth.end(slice) : last_slice;
    }
  }
}

// V adjacent channels of a source, or one value of any image. Four loads are in flight at a time.
template <class T, int V, class Index>
__global__ void __launch_bounds__(NearestConfig::kThreads, NearestConfig::kSumBlocks)
    sum_pixels(const NearestArguments<Index> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * NearestConfig::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  const NearestPlace<Index> place(p, static_cast<Index>(number));
  const Index column = p.width.begin(place.column), columns = p.width.end(place.column) - column;
  const T* from =
      opaque(static_cast<const T*>(p.from) + place.batch * p.out.batch + place.channel * p.out.channel +
             static_cast<int64_t>(column) * p.out.width + place.part * V);
  T* to = static_cast<T*>(p.to) + place.batch * p.in.batch + place.channel * p.in.channel +
          place.column * p.in.width + place.part * V;
  sum_down<V, acc>(
      p, place.begin, place.end,
      [&](Index first, Index last, acc(&sums)[V]) {
        for (Index o = first; o < last; o += 2) {
          const T* row = opaque(from + o * p.out.height);
          for (Index c = 0; c < columns; c += 2) {
            Pack<T, V> found[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
              const bool is_there = o + k / 2 < last && c + k % 2 < columns;
              found[k] = is_there ? load_pack<V>(row + k / 2 * p.out.height + (c + k % 2) * p.out.width)
                                  : Pack<T, V>{};
            }
#pragma unroll
            for (int k = 0; k < 4; ++k) {
#pragma unroll
              for (int v = 0; v < V; ++v) sums[v] += widen(found[k].value[v]);
            }
          }
        }
      },
      [&](Index row, const acc(&sums)[V]) {
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; ++v) pack.value[v] = Narrow<T>::of(sums[v]);
        store_pack(to + row * p.in.height, pack);
      });
}

// The sources of 16 bytes of a row that is twice as wide.
template <class T>
__global__ void __launch_bounds__(NearestConfig::kThreads, NearestConfig::kSumBlocks)
    sum_doubled(const NearestArguments<int32_t> p) {
  typedef acc_of<T> acc;
  constexpr int V = kWide<T>, kSources = V / 2;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * NearestConfig::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  const NearestPlace<int32_t> place(p, static_cast<int32_t>(number));
  const T* from = opaque(static_cast<const T*>(p.from) + place.batch * p.out.batch +
                         place.channel * p.out.channel + place.column * V);
  T* to = static_cast<T*>(p.to) + place.batch * p.in.batch + place.channel * p.in.channel +
          place.column * kSources;
  sum_down<kSources, acc>(
      p, place.begin, place.end,
      [&](int32_t first, int32_t last, acc(&sums)[kSources]) {
        for (int32_t o = first; o < last; o += 2) {
          const T* row = opaque(from + o * p.out.height);
          const Pack<T, V> upper = load_pack<V>(row);
          const Pack<T, V> lower = o + 1 < last ? load_pack<V>(row + p.out.height) : Pack<T, V>{};
#pragma unroll
          for (int i = 0; i < kSources; ++i) {
            sums[i] += widen(upper.value[2 * i]) + widen(upper.value[2 * i + 1]);
            sums[i] += widen(lower.value[2 * i]) + widen(lower.value[2 * i + 1]);
          }
        }
      },
      [&](int32_t row, const acc(&sums)[kSources]) {
        Pack<T, kSources> pack;
#pragma unroll
        for (int i = 0; i < kSources; ++i) pack.value[i] = Narrow<T>::of(sums[i]);
        store_pack(to + row * p.in.height, pack);
      });
}

// ---- choice and launch -----------------------------------------------------------------------------------

enum class NearestKernel { kNone, kPixels, kRows, kDoubled, kBeyond32Bits };

// How a call is run: by which kernel, and in what words.
struct NearestChoice {
  NearestKernel kernel;
  int64_t bytes;   // of a word that a thread copies, or of a vector whose values it sums
  int64_t parts;   // such words of a pixel; 1 where channels are planes
  int64_t planes;  // 1 where channels are parts of a pixel
};

inline bool nearest_fits_32_bits(const NearestParams& p) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t planes = p.batch * p.channels;
  const int64_t results = planes * p.depth.out_size * p.height.out_size * p.width.out_size;
  const int64_t sources = planes * p.depth.in_size * p.height.in_size * p.width.in_size;
  return p.depth.fits_32_bits() && p.height.fits_32_bits() && p.width.fits_32_bits() &&
         extent(p.width.in_size, p.in.width) < kMost && extent(p.width.out_size, p.out.width) < kMost &&
         results < 2 * kMost && sources < 2 * kMost;
}

// Whether words of `bytes` start at every row, and where asked at every channel or pixel.
inline bool words_start(const void* data, const Strides& strides, int64_t element, int64_t bytes,
                        bool at_channels, bool at_pixels) {
  const auto whole = [&](int64_t stride) { return stride * element % bytes == 0; };
  return aligned(data, bytes) && whole(strides.batch) && whole(strides.height) &&
         (!at_channels || whole(strides.channel)) && (!at_pixels || whole(strides.width));
}

inline NearestChoice choose_nearest(const NearestParams& p, int64_t element, bool forward) {
  if (p.batch == 0) return {NearestKernel::kNone, element, 1, 1};
  if (!nearest_fits_32_bits(p)) return {NearestKernel::kBeyond32Bits, element, 1, p.channels};
  if (p.channels > 1 && p.in.channel == 1 && p.out.channel == 1) {
    const int64_t pixel = p.channels * element, row = p.width.out_size * pixel;
    const auto fits = [&](int64_t bytes) {
      return pixel % bytes == 0 && words_start(p.input, p.in, element, bytes, false, true) &&
             words_start(p.output, p.out, element, bytes, false, true);
    };
    int64_t word = element;
    if (forward) {
      while (word < 16 && fits(2 * word)) word *= 2;
    } else if (fits(16)) {
      word = 16;
    }
    const bool dense = p.in.width == p.channels && p.out.width == p.channels;
    const bool rows = forward && word < 16 && dense && row % 16 == 0 &&
                      words_start(p.output, p.out, element, 16, false, false);
    return {rows ? NearestKernel::kRows : NearestKernel::kPixels, word, pixel / word, 1};
  }
  if (p.out.width == 1 && p.width.out_size * element % 16 == 0 &&
      words_start(p.output, p.out, element, 16, true, false)) {
    if (forward) return {NearestKernel::kRows, element, 1, p.channels};
    const bool doubled = p.width.out_size == 2 * p.width.in_size && p.width.in_size < (1 << 21) &&
                         (p.width.shift == 1 || (p.width.shift < 0 && p.width.scale == 0.5f));
    if (doubled && p.in.width == 1 && words_start(p.input, p.in, element, 8, true, false)) {
      return {NearestKernel::kDoubled, element, 1, p.channels};
    }
  }
  return {NearestKernel::kPixels, element, 1, p.channels};
}

// Everything but the number of threads. Strides are in words.
template <class Index>
NearestArguments<Index> nearest_arguments(const NearestParams& p, const NearestChoice& choice,
                                          int64_t element, bool forward) {
  const auto in_words = [&](const Strides& strides) {
    const int64_t per = forward ? choice.bytes / element : 1;
    return Strides{strides.batch / per, strides.channel / (choice.planes == 1 ? 1 : per),
                   strides.height / per, strides.width / per};
  };
  return {forward ? p.input : p.output,
          forward ? p.output : p.input,
          in_words(p.in),
          in_words(p.out),
          NearestAxis<float, Index>(p.depth),
          NearestAxis<float, Index>(p.height),
          NearestAxis<float, Index>(p.width)};
}

// False if there are more threads than Index numbers.
template <class Index>
bool number_threads(NearestArguments<Index>& arguments, const NearestParams& p, const NearestChoice& choice,
                    int64_t columns, bool forward, const Device& device) {
  const NearestAxis<float>&depth = p.depth, &height = p.height;
  const int64_t slice_rows = forward ? height.out_size : height.in_size;
  const int64_t rows = slice_rows * (forward ? depth.out_size : depth.in_size);
  const int64_t beside = choice.parts * columns * choice.planes * p.batch;
  const int64_t rows_of_thread = rows_per_thread(device, rows, beside);
  const int64_t row_groups = divide_up(rows, rows_of_thread);
  if (!can_number<Index>(beside * row_groups)) return false;
  arguments.threads = static_cast<Index>(beside * row_groups);
  arguments.rows = static_cast<Index>(rows);
  arguments.rows_per_thread = static_cast<Index>(rows_of_thread);
  arguments.parts = Divider<Index>(choice.parts);
  arguments.columns = Divider<Index>(columns);
  arguments.row_groups = Divider<Index>(row_groups);
  arguments.channels = Divider<Index>(choice.planes);
  arguments.slice_rows = Divider<Index>(slice_rows);
  return true;
}

template <class Index, class... Parameters, class... Rest>
cudaError_t launch_nearest(void (*kernel)(NearestArguments<Index>, Parameters...),
                           const NearestArguments<Index>& arguments, const Device& device,
                           const Rest&... rest) {
  return launch(kernel, device, divide_up(arguments.threads, NearestConfig::kThreads),
                NearestConfig::kThreads, 0, arguments, rest...);
}

template <class Word>
cudaError_t launch_pick(const NearestParams& p, const NearestChoice& choice, int64_t element,
                        const Device& device) {
  auto arguments = nearest_arguments<int32_t>(p, choice, element, true);
  if constexpr (sizeof(Word) < 16) {
    if (choice.kernel == NearestKernel::kRows) {
      NearestChoice rows = choice;
      rows.parts = 1;
      const int64_t columns = p.width.out_size * choice.parts / kWide<Word>;
      if (number_threads(arguments, p, rows, columns, true, device)) {
        return launch_nearest<int32_t>(pick_rows<Word>, arguments, device, Divider<int32_t>(choice.parts));
      }
    }
  }
  if (choice.kernel != NearestKernel::kBeyond32Bits &&
      number_threads(arguments, p, choice, p.width.out_size, true, device)) {
    return launch_nearest<int32_t>(pick_pixels<Word, int32_t>, arguments, device);
  }
  auto wide = nearest_arguments<int64_t>(p, choice, element, true);
  number_threads(wide, p, choice, p.width.out_size, true, device);
  return launch_nearest<int64_t>(pick_pixels<Word, int64_t>, wide, device);
}

inline cudaError_t launch_nearest_forward(const NearestParams& p, int64_t element, const Device& device) {
  const NearestChoice choice = choose_nearest(p, element, true);
  if (choice.kernel == NearestKernel::kNone) return cudaSuccess;
  switch (choice.bytes) {
    case 1:
      return launch_pick<Moved<1>>(p, choice, element, device);
    case 2:
      return launch_pick<Moved<2>>(p, choice, element, device);
    case 4:
      return launch_pick<Moved<4>>(p, choice, element, device);
    case 8:
      return launch_pick<Moved<8>>(p, choice, element, device);
    case 16:
      return launch_pick<Moved<16>>(p, choice, element, device);
  }
  return cudaErrorInvalidValue;
}

template <class T>
cudaError_t launch_nearest_backward(const NearestParams& p, const Device& device) {
  const NearestChoice choice = choose_nearest(p, sizeof(T), false);
  auto arguments = nearest_arguments<int32_t>(p, choice, sizeof(T), false);
  switch (choice.kernel) {
    case NearestKernel::kNone:
      return cudaSuccess;
    case NearestKernel::kDoubled:
      if (number_threads(arguments, p, choice, p.width.out_size / kWide<T>, false, device)) {
        return launch_nearest<int32_t>(sum_doubled<T>, arguments, device);
      }
      break;
    case NearestKernel::kRows:
    case NearestKernel::kPixels:
      if (number_threads(arguments, p, choice, p.width.in_size, false, device)) {
        const auto kernel = choice.bytes == 16 ? sum_pixels<T, kWide<T>, int32_t> : sum_pixels<T, 1, int32_t>;
        return launch_nearest<int32_t>(kernel, arguments, device);
      }
      break;
    case NearestKernel::kBeyond32Bits:
      break;
  }
  NearestChoice single = choice;
  if (choice.planes == 1) single.parts = p.channels;
  auto wide = nearest_arguments<int64_t>(p, single, sizeof(T), false);
  number_threads(wide, p, single, p.width.in_size, false, device);
  return launch_nearest<int64_t>(sum_pixels<T, 1, int64_t>, wide, device);
}

}  // namespace gpu
}  // namespace upsample_ext

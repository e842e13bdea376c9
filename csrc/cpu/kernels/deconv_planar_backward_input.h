// The input gradient of deconv_planar.h. Rows of work are (n, c, input row).
//
// If the stride is a power of two, a block of one vector of positions takes the outputs that it reaches in
// windows of `stride` vectors. These are multiplied lane by lane by a repeating vector of weights, and summed
// over all gradient rows and windows; only then are the `stride` neighbouring lanes of a position added up.
// So a product costs one load and one multiply-add, lanes are permuted once per block, and no intermediate
// value goes through memory. For other strides, the products are summed in the order of the outputs and
// gathered one by one.
#pragma once

#include "deconv_planar_sources.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// A row of grad_output and the weights of the kernel row that multiplies it, from the first vector on.
template <class S, class acc>
struct GradRow {
  const S* row;
  const acc* weights;
};

// The rows that a row of inputs reads, and rows that only inputs further down will read, to be prefetched:
// `ahead_count` of them, from `ahead` on.
template <class S, class acc>
struct GradRows {
  const GradRow<S, acc>* list;
  int64_t count;
  const S* ahead;
  int64_t ahead_count, ahead_step;
};

// How many rows of grad_output a row of inputs may read: at a replicated edge, those of several positions.
inline int64_t most_grad_rows(const ConvTransposeAxis& axis) {
  return axis.kernel_size * (axis.end() - axis.begin() - axis.in_size + 1);
}

template <class acc>
struct BackwardInputScratch {
  void* rows;    // GradRow
  acc* weights;  // [window and pattern, or pattern and slot][kernel row][lane]
  acc* sums;     // [slot][output], where there are no windows
  acc* copies;   // of rows of grad_output whose elements are not adjacent
  acc* source;   // a row of positions
};
template <class acc>
inline int64_t weight_vectors(const DeconvPlan<acc>& plan) {
  return plan.windows.count > 0 ? plan.windows.count * plan.windows.patterns
                                : plan.blocks.patterns * plan.blocks.slots;
}
template <class acc>
inline BackwardInputScratch<acc> backward_input_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                                        Arrays& arrays) {
  BackwardInputScratch<acc> scratch;
  const int64_t rows = most_grad_rows(p.height);
  scratch.rows = arrays.take<GradRow<acc, acc>>(rows);
  scratch.weights = arrays.take<acc>(weight_vectors(plan) * p.height.kernel_size * lanes<acc>);
  scratch.sums =
      arrays.take<acc>(plan.windows.count > 0 ? 0 : plan.blocks.slots * plan.blocks.count * lanes<acc>);
  scratch.copies = arrays.take<acc>(p.out.width == 1 ? 0 : rows * plan.out_width);
  scratch.source = arrays.take<acc>(plan.blocks.extent);
  return scratch;
}

// ---- strides that are a power of two ----------------------------------------------------------------------

// The lanes of `wanted`, zeros elsewhere; touches no memory of the others.
template <class T>
inline vec<acc_of<T>> load_lanes(const T* p, vec_index<acc_of<T>> wanted) {
#if UPSAMPLE_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 8)
    return (vec<double>)_mm512_maskz_loadu_epi64(_mm512_movepi64_mask((__m512i)wanted), p);
  if constexpr (sizeof(T) == 4)
    return (vec<float>)_mm512_maskz_loadu_epi32(_mm512_movepi32_mask((__m512i)wanted), p);
  if constexpr (sizeof(T) == 2) {
    const __m256i bits = _mm256_maskz_loadu_epi16(_mm512_movepi32_mask((__m512i)wanted), p);
    return load((const T*)&bits);
  }
#elif UPSAMPLE_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 8) return (vec<double>)_mm256_maskload_pd(p, (__m256i)wanted);
  if constexpr (sizeof(T) == 4) return (vec<float>)_mm256_maskload_ps(p, (__m256i)wanted);
#endif
  T whole[lanes<acc_of<T>>] = {};
  for (int64_t i = 0; i < lanes<acc_of<T>>; ++i) {
    if (wanted[i] != 0) whole[i] = p[i];
  }
  return load(whole);
}

// Lane l is the sum of lanes l * kStride .. (l + 1) * kStride of kStride consecutive vectors.
template <int kStride, class V>
inline V sum_neighbours(const V* v) {
  if constexpr (kStride == 1) {
    return v[0];
  } else {
    V pairs[kStride / 2];
    for (int i = 0; i < kStride / 2; ++i) {
      pairs[i] = even_lanes(v[2 * i], v[2 * i + 1]) + odd_lanes(v[2 * i], v[2 * i + 1]);
    }
    return sum_neighbours<kStride / 2>(pairs);
  }
}

// The lanes of a vector from output o on that lie in a row of `width`.
template <class acc>
inline vec_index<acc> lanes_inside(int64_t o, int64_t width) {
  return lanes_below<acc>(clamp(width - o, 0, lanes<acc>)) & ~lanes_below<acc>(clamp(-o, 0, lanes<acc>));
}

template <class V, int64_t... i>
inline V from_lane_one(V a, V b, LaneList<i...>) {
  return choose_lanes<(i + 1)...>(a, b);
}
// Lanes 1, 2, ... of a, then lane 0 of b.
template <class V>
inline V from_lane_one(V a, V b) {
  return from_lane_one(a, b, typename CountLanes<sizeof(V) / sizeof(a[0])>::list{});
}

// Prefetches outputs o .. o + count of the rows ahead into the L2 cache: the rows being read may fill L1.
template <class S, class acc>
inline void fetch_grad_rows(const GradRows<S, acc>& rows, int64_t o, int64_t count) {
  for (int64_t r = 0; r < rows.ahead_count; ++r) {
    const S* at = rows.ahead + r * rows.ahead_step + o;
    for (int64_t i = 0; i < count; i += 64 / static_cast<int64_t>(sizeof(S)))
      __builtin_prefetch(at + i, 0, 2);
  }
}

// Writes a vector of positions, at most `left` of them, and prefetches the line of later ones.
template <class U, class V>
inline void put_positions(U* source, V sums, int64_t left) {
  constexpr int64_t kLanes = sizeof(V) / sizeof(sums[0]);
  if (left >= kLanes) {
    store(source, sums);
  } else {
    store_part(source, sums, left);
  }
  __builtin_prefetch(source + 2048 / static_cast<int64_t>(sizeof(U)), 1);
}

// Rows read at the same time. Many rows a power of two apart would compete for one set of the cache.
constexpr int64_t kGradRows = 8;

// A vector of positions, the first of which reaches output o through tap 0. kMasked: some lanes have no tap,
// or reach beyond the row.
template <int kStride, bool kMasked, class S, class acc>
inline vec<acc> sum_windows(const DeconvParams& p, const DeconvPlan<acc>& plan, const GradRows<S, acc>& rows,
                            int64_t o) {
  constexpr int kPatterns = kStride > lanes<acc> ? kStride / static_cast<int>(lanes<acc>) : 1;
  const int64_t weight_step = p.height.kernel_size * lanes<acc>;
  vec<acc> sum[kStride] = {};
  for (int64_t first = 0; first < rows.count; first += kGradRows) {
    const int64_t last = smaller(first + kGradRows, rows.count);
    for (int64_t w = 0; w < plan.windows.count; ++w) {
      const int64_t at = o + plan.windows.start[w], weight = w * kPatterns * weight_step;
      vec_index<acc> exists[kStride];
      for (int v = 0; kMasked && v < kStride; ++v) {
        const lane_index<acc>* taps = plan.windows.exists + (w * kPatterns + v % kPatterns) * lanes<acc>;
        exists[v] = load_bits<vec_index<acc>>(taps) & lanes_inside<acc>(at + v * lanes<acc>, plan.out_width);
      }
      for (int64_t j = first; j < last; ++j) {
        const S* grads = rows.list[j].row + at;
        for (int v = 0; v < kStride; ++v) {
          const vec<acc> weights = load(rows.list[j].weights + weight + v % kPatterns * weight_step);
          if constexpr (kMasked) {
            const vec<acc> grad = load_lanes(grads + v * lanes<acc>, exists[v]);
            sum[v] = select<acc>(exists[v], multiply_add_vector(grad, weights, sum[v]), sum[v]);
          } else {
            sum[v] = multiply_add_vector(load(grads + v * lanes<acc>), weights, sum[v]);
          }
        }
      }
    }
  }
  fetch_grad_rows(rows, o, kStride * lanes<acc>);
  return sum_neighbours<kStride>(sum);
}

// A row of positions. The last block overlaps the one before: a masked store is slow if it misses the cache.
template <int kStride, class S, class U, class acc>
inline void sum_row_windows(U* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                            const GradRows<S, acc>& rows) {
  const int64_t extent = plan.blocks.extent, reach = plan.windows.start[plan.windows.count - 1];
  for (int64_t i = 0; i < extent; i += lanes<acc>) {
    if (i + lanes<acc> > extent) i = larger(0, extent - lanes<acc>);
    const int64_t o = p.width.target(plan.blocks.begin + i, 0);
    const bool whole = plan.windows.full && o >= 0 && o + reach + kStride * lanes<acc> <= plan.out_width;
    const vec<acc> sum =
        whole ? sum_windows<kStride, false>(p, plan, rows, o) : sum_windows<kStride, true>(p, plan, rows, o);
    put_positions(source + i, sum, extent - i);
  }
}

// Two windows that follow each other, as in the usual kernels: position q of a row has the outputs from
// q * stride - padding on, once for itself (early) and once for the position before it (late). Each is loaded
// once for both. Here, vectors `first` .. first + kVectors of block `block`.
template <int kStride, int kVectors, bool kMasked, int kRows, class S, class acc>
inline void multiply_two_windows(vec<acc>* early, vec<acc>* late, const DeconvParams& p,
                                 const DeconvPlan<acc>& plan, const GradRows<S, acc>& rows, int64_t block,
                                 int first) {
  constexpr int kPatterns = kStride > lanes<acc> ? kStride / static_cast<int>(lanes<acc>) : 1;
  const int64_t weight_step = p.height.kernel_size * lanes<acc>;
  const int64_t o = p.width.target(plan.blocks.begin + block * lanes<acc>, 0) + first * lanes<acc>;
  vec_index<acc> inside[kVectors], exists[2][kVectors];
  for (int v = 0; kMasked && v < kVectors; ++v) {
    inside[v] = load_bits<vec_index<acc>>(plan.windows.inside + (block * kStride + first + v) * lanes<acc>);
    for (int w = 0; w < 2; ++w) {
      const int vector = w * kPatterns + (first + v) % kPatterns;
      exists[w][v] = inside[v] & load_bits<vec_index<acc>>(plan.windows.exists + vector * lanes<acc>);
    }
  }
  vec<acc> sum[2][kVectors] = {};
  const int64_t count = kRows > 0 ? kRows : rows.count;
  for (int64_t j = 0; j < count; ++j) {
    const GradRow<S, acc>* row = rows.list + j;
    for (int v = 0; v < kVectors; ++v) {
      const S* at = row->row + o + v * lanes<acc>;
      const vec<acc> grad = kMasked ? load_lanes(at, inside[v]) : load(at);
      for (int w = 0; w < 2; ++w) {
        const vec<acc> weights = load(row->weights + (w * kPatterns + (first + v) % kPatterns) * weight_step);
        const vec<acc> next = multiply_add_vector(grad, weights, sum[w][v]);
        sum[w][v] = kMasked ? select<acc>(exists[w][v], next, sum[w][v]) : next;
      }
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    early[v] = sum[0][v];
    late[v] = sum[1][v];
  }
}

// The early and late sums of kBlocks blocks. kMasked: some lanes have no tap, or lie outside the row; of many
// vectors, most do not.
template <int kStride, int kBlocks, bool kMasked, int kRows, class S, class acc>
inline void sum_two_windows(vec<acc>* early, vec<acc>* late, const DeconvParams& p,
                            const DeconvPlan<acc>& plan, const GradRows<S, acc>& rows, int64_t block) {
  constexpr int kVectors = kStride * kBlocks;
  const int64_t o = p.width.target(plan.blocks.begin + block * lanes<acc>, 0);
  vec<acc> sum[2][kVectors];
  if constexpr (kMasked && kStride > 2) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = o + v * lanes<acc>;
      sum[0][v] = sum[1][v] = vec<acc>{};
      if (at <= -lanes<acc> || at >= plan.out_width) continue;
      if (plan.windows.full && at >= 0 && at + lanes<acc> <= plan.out_width) {
        multiply_two_windows<kStride, 1, false, kRows>(sum[0] + v, sum[1] + v, p, plan, rows, block, v);
      } else {
        multiply_two_windows<kStride, 1, true, kRows>(sum[0] + v, sum[1] + v, p, plan, rows, block, v);
      }
    }
  } else {
    multiply_two_windows<kStride, kVectors, kMasked, kRows>(sum[0], sum[1], p, plan, rows, block, 0);
  }
  fetch_grad_rows(rows, o, kVectors * lanes<acc>);
  for (int b = 0; b < kBlocks; ++b) {
    early[b] = sum_neighbours<kStride>(sum[0] + b * kStride);
    late[b] = sum_neighbours<kStride>(sum[1] + b * kStride);
  }
}

// A row of positions: a block is written when the late sums of the next one are known.
template <int kStride, int kRows, class S, class U, class acc>
inline void sum_row_two_windows(U* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                                const GradRows<S, acc>& rows) {
  constexpr int kMany = kStride < 4 ? 4 / kStride : 1;
  const WidthWindows<acc>& windows = plan.windows;
  const int64_t extent = plan.blocks.extent, blocks = extent / lanes<acc> + 1;
  const int64_t whole_begin = windows.full ? windows.whole_begin : blocks;
  const int64_t whole_end = windows.full ? windows.whole_end : blocks;
  vec<acc> early{}, late{};  // of block b - 1
  int64_t b = 0;
  // clang would call these as functions, and keep what they change in memory.
  const auto finish = [&](vec<acc> next_late) __attribute__((always_inline)) {
    const int64_t i = (b - 1) * lanes<acc>;
    if (i >= 0 && i < extent) put_positions(source + i, early + from_lane_one(late, next_late), extent - i);
  };
  const auto sum = [&](auto count, auto masked) __attribute__((always_inline)) {
    constexpr int kBlocks = decltype(count)::value;
    vec<acc> earlier[kBlocks], later[kBlocks];
    sum_two_windows<kStride, kBlocks, decltype(masked)::value, kRows>(earlier, later, p, plan, rows, b);
    for (int j = 0; j < kBlocks; ++j, ++b) {
      finish(later[j]);
      early = earlier[j];
      late = later[j];
    }
  };
  while (b < blocks) {
    if (b < whole_begin || b >= whole_end) {
      sum(Constant<1>{}, Constant<true>{});
    } else if (b + kMany <= whole_end) {
      sum(Constant<kMany>{}, Constant<false>{});
    } else {
      sum(Constant<1>{}, Constant<false>{});
    }
  }
  finish(vec<acc>{});
}

// ---- any stride -------------------------------------------------------------------------------------------

// to[q] += from[q * stride], q < count; `readable` elements of `from`. Every third is taken by permuting
// three vectors.
template <class acc>
inline void add_strided(acc* to, const acc* from, int64_t stride, int64_t count, int64_t readable) {
  constexpr int64_t kStride = 3;
  int64_t q = 0;
  if (kPermutes && stride == kStride) {
    vec_index<acc> lane;
    for (int64_t i = 0; i < lanes<acc>; ++i) lane[i] = static_cast<lane_index<acc>>(i * kStride);
    for (; q + lanes<acc> <= count && (q + lanes<acc>)*kStride <= readable; q += lanes<acc>) {
      const acc* at = from + q * kStride;
      const vec<acc> last = load(at + 2 * lanes<acc>);
      store(to + q, load(to + q) + permute_four(load(at), load(at + lanes<acc>), last, last, lane));
    }
  }
  for (; q < count; ++q) to[q] += from[q * stride];
}

// The sums of slots `first` .. first + kSlots of a vector of outputs from o on.
template <int kSlots, class S, class acc>
inline void sum_slots(acc* sums, const DeconvParams& p, const DeconvPlan<acc>& plan,
                      const GradRows<S, acc>& rows, int64_t block, int64_t first) {
  const WidthBlocks<acc>& blocks = plan.blocks;
  const int64_t row = blocks.count * lanes<acc>, weight_step = p.height.kernel_size * lanes<acc>;
  const int64_t o = block * lanes<acc>, left = smaller(lanes<acc>, plan.out_width - o);
  const int64_t weight = (block % blocks.patterns * blocks.slots + first) * weight_step;
  vec<acc> sum[kSlots] = {};
  for (int64_t j = 0; j < rows.count; ++j) {
    const S* at = rows.list[j].row + o;
    const vec<acc> grad = left == lanes<acc> ? load(at) : load_part(at, left);
    const acc* weights = rows.list[j].weights + weight;
    for (int s = 0; s < kSlots; ++s) {
      sum[s] = multiply_add_vector(grad, load(weights + s * weight_step), sum[s]);
    }
  }
  for (int s = 0; s < kSlots; ++s) store(sums + (first + s) * row + o, sum[s]);
}

// sums[slot][output] = sum over rows of grad_output * weight; then position i gathers the sums of its taps.
template <class S, class acc>
inline void sum_row_one_by_one(acc* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                               const GradRows<S, acc>& rows, acc* sums) {
  const WidthBlocks<acc>& blocks = plan.blocks;
  const int64_t row = blocks.count * lanes<acc>;
  for (int64_t b = 0; b < blocks.count; ++b) {
    int64_t slot = 0;
    for (; slot + 2 <= blocks.slots; slot += 2) sum_slots<2>(sums, p, plan, rows, b, slot);
    if (slot < blocks.slots) sum_slots<1>(sums, p, plan, rows, b, slot);
  }
  fill(source, blocks.extent, acc(0));
  for (int64_t f = 0; f < plan.width.count; ++f) {
    for (int64_t t = plan.width.first[f]; t < plan.width.first[f + 1]; ++t) {
      const acc* slot = sums + (t - plan.width.first[f]) * row + f;
      const int64_t shift = plan.width.taps[t].shift - blocks.begin;  // from the q-th output to its position
      const int64_t outputs = (plan.out_width - f + p.width.stride - 1) / p.width.stride;
      const int64_t first = larger(0, -shift), count = smaller(outputs, blocks.extent - shift) - first;
      const int64_t begin = first * p.width.stride;
      add_strided(source + first + shift, slot + begin, p.width.stride, count, row - f - begin);
    }
  }
}

// ---- rows -------------------------------------------------------------------------------------------------

// All rows of grad_output that reach input row iy: ky after ky, and at a replicated edge position after
// position. Returns the last one's number.
template <class S, class acc, class Row>
inline int64_t list_grad_rows(const DeconvParams& p, const DeconvPlan<acc>& plan, const acc* weights,
                              int64_t iy, GradRow<S, acc>* list, int64_t* count, Row row) {
  int64_t last = 0;
  *count = 0;
  for (int64_t i = first_position(p.height, iy); i <= last_position(p.height, iy); ++i) {
    for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
      const int64_t oy = p.height.target(i, ky);
      if (oy < 0 || oy >= plan.out_height) continue;
      list[*count] = {row(*count, oy), weights + ky * lanes<acc>};
      last = oy;
      ++*count;
    }
  }
  return last;
}

template <int kStride, class S, class U, class acc>
inline void sum_row_in_windows(U* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                               const GradRows<S, acc>& rows) {
  constexpr bool kFits = kStride < 8 || kVectorBytes == 64;  // all sums in registers
  if (kFits && plan.windows.count == 2 && plan.windows.start[1] == kStride) {
    if (kStride == 2 && rows.count == 4) return sum_row_two_windows<kStride, 4>(source, p, plan, rows);
    return sum_row_two_windows<kStride, 0>(source, p, plan, rows);
  }
  sum_row_windows<kStride>(source, p, plan, rows);
}

// Sums the row of positions into `source`.
template <class S, class U, class acc>
inline void sum_row(U* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                    const BackwardInputScratch<acc>& scratch, const GradRows<S, acc>& rows) {
  if (plan.windows.count > 0) {
    if (p.width.stride == 1) return sum_row_windows<1>(source, p, plan, rows);
    if (p.width.stride == 2) return sum_row_in_windows<2>(source, p, plan, rows);
    if (p.width.stride == 4) return sum_row_in_windows<4>(source, p, plan, rows);
    return sum_row_in_windows<8>(source, p, plan, rows);
  }
  if constexpr (sizeof(U) == sizeof(acc)) sum_row_one_by_one(source, p, plan, rows, scratch.sums);
}

// Rows whose elements are adjacent are read in place, others from copies.
template <class T, class U, class acc>
inline void sum_reached_rows(U* source, const DeconvParams& p, const DeconvPlan<acc>& plan,
                             const BackwardInputScratch<acc>& scratch, const T* grad, int64_t iy) {
  int64_t count;
  if (p.out.width == 1) {
    GradRow<T, acc>* list = static_cast<GradRow<T, acc>*>(scratch.rows);
    const int64_t last = list_grad_rows(p, plan, scratch.weights, iy, list, &count,
                                        [&](int64_t, int64_t oy) { return grad + oy * p.out.height; });
    // About a page ahead: the rows that come next or, if rows are short, those several rows of inputs later.
    const int64_t step = p.height.stride * p.out.height;
    constexpr int64_t kAhead = 4096 / static_cast<int64_t>(sizeof(T));
    const int64_t steps = ceil_div(kAhead, larger(1, step)) - 1;
    const T* ahead = grad + (last + 1) * p.out.height + steps * step;
    return sum_row<T>(source, p, plan, scratch, {list, count, ahead, p.height.stride, p.out.height});
  }
  GradRow<acc, acc>* list = static_cast<GradRow<acc, acc>*>(scratch.rows);
  list_grad_rows(p, plan, scratch.weights, iy, list, &count, [&](int64_t j, int64_t oy) {
    acc* copy = scratch.copies + j * plan.out_width;
    read_row(copy, grad + oy * p.out.height, p.out.width, plan.out_width);
    return copy;
  });
  sum_row<acc>(source, p, plan, scratch, {list, count, nullptr, 0, 0});
}

template <class T, class acc>
inline void backward_input_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const WidthBlocks<acc>& blocks = plan.blocks;
  Arrays arrays(memory);
  const BackwardInputScratch<acc> scratch = backward_input_scratch<acc>(p, plan, arrays);
  const bool in_place = plan.windows.count > 0 && p.in.width == 1 && blocks.extent == plan.in_width;
  const lane_index<acc>* column = plan.windows.count > 0 ? plan.windows.column : blocks.column;
  acc* samples = scratch.source - blocks.begin;
  for (int64_t work = begin; work < end;) {
    const int64_t plane = work / plan.in_height, n = plane / p.channels, c = plane % p.channels;
    const T* grad = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
    T* in = static_cast<T*>(p.input) + n * p.in.batch + c * p.in.channel;
    const int64_t first = work % plan.in_height, last = smaller(plan.in_height, first + end - work);
    spread_weights(scratch.weights, p, plan, column, weight_vectors(plan), c);
    for (int64_t iy = first; iy < last; ++iy, ++work) {
      if (in_place) {
        sum_reached_rows(in + iy * p.in.height, p, plan, scratch, grad, iy);
        continue;
      }
      sum_reached_rows(scratch.source, p, plan, scratch, grad, iy);
      for (int64_t x = blocks.begin; x < 0; ++x) samples[0] += samples[x];
      for (int64_t x = plan.in_width; x < blocks.extent + blocks.begin; ++x) {
        samples[plan.in_width - 1] += samples[x];
      }
      write_row(in + iy * p.in.height, p.in.width, samples, plan.in_width);
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

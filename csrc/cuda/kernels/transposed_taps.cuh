// The results that read one source along one axis, with their weights, as the gradient gathers them: a row of
// the transposed matrix of the axis, written to shared memory by one thread and read by many.
#pragma once

#include "element.cuh"
#include "launch.cuh"

namespace upsample_ext {
namespace gpu {

template <class acc>
struct Tap {
  int32_t output;
  acc weight;
};

// Writes the taps on `source` in ascending order; a result whose two taps meet there counts twice, because
// that is how infinities spread in native. Returns their number.
template <class acc, class Axis>
__device__ __forceinline__ int list_taps(const Axis& axis, int32_t source, Tap<acc>* list) {
  int count = 0;
  for (int32_t o = axis.begin(source), end = axis.end(source); o < end; ++o) {
    const auto taps = axis.taps(o);
    if (taps.index0 == source) list[count++] = {o, taps.weight0};
    if (taps.index1 == source) list[count++] = {o, taps.weight1};
  }
  return count;
}

// The same by kLanes neighbouring lanes, which look at a result each: a few looks in place of two searches
// and one look for every tap. All lanes of the warp call it; those without a source give -1.
template <int kLanes, class acc, class Axis>
__device__ __forceinline__ int list_taps_together(const Axis& axis, int32_t source, Tap<acc>* list) {
  constexpr unsigned kAll = 0xffffffffu, kGroup = (1u << kLanes) - 1;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int group = static_cast<int>(threadIdx.x) % kWarp - lane;
  const unsigned before = (1u << lane) - 1;
  const auto in_group = [&](bool which) { return __ballot_sync(kAll, which) >> group & kGroup; };
  bool searching = source >= 0;
  if (!__any_sync(kAll, searching)) return 0;
  int32_t first = searching ? axis.begin_about(source) : 0;
  bool begun = first == 0;  // whether no tap can come before `first`
  int count = 0;
  do {
    const int32_t o = first + lane;
    const bool inside = searching && o < axis.out_size;
    const auto taps = axis.taps(inside ? o : 0);
    const unsigned reads0 = in_group(inside && taps.index0 == source);
    const unsigned reads1 = in_group(inside && taps.index1 == source);
    const unsigned beyond = in_group(!inside || taps.index0 > source);
    if (!begun && ((reads0 | reads1 | beyond) & 1) != 0) {
      begun = true;  // the guess was not before the first tap
      first = axis.begin(source);
      continue;
    }
    begun = true;
    int at = count + __popc(reads0 & before) + __popc(reads1 & before);
    if ((reads0 >> lane & 1) != 0) store(list + at++, Tap<acc>{o, taps.weight0});
    if ((reads1 >> lane & 1) != 0) store(list + at, Tap<acc>{o, taps.weight1});
    count += __popc(reads0) + __popc(reads1);
    searching = beyond == 0;
    first += kLanes;
  } while (__any_sync(kAll, searching));
  return count;
}

// The first result for which `far` is true, as Axis::begin and ::end search for it, by all lanes of a warp in
// one look from `about` on; `search` answers where that is not enough.
template <class Axis, class Far, class Search>
__device__ __forceinline__ int32_t first_together(const Axis& axis, int32_t about, Far&& far,
                                                  Search&& search) {
  const int32_t o = about + static_cast<int32_t>(threadIdx.x) % kWarp;
  const unsigned found = __ballot_sync(0xffffffffu, o >= axis.out_size || far(axis.taps(o)));
  if (found == 0 || (about > 0 && (found & 1) != 0)) return search();
  return about + __ffs(static_cast<int>(found)) - 1;
}

// The results that read one of the sources first .. last; all lanes of a warp ask for the same.
struct ResultRange {
  int32_t begin, end;
};
template <class Axis>
__device__ __forceinline__ ResultRange results_of(const Axis& axis, int32_t first, int32_t last) {
  if constexpr (Axis::kMayLackTaps) return {axis.begin(first), axis.end(last)};
  const auto reads_first = [&](const auto& taps) { return taps.index1 >= first; };
  const auto beyond_last = [&](const auto& taps) { return taps.index0 > last; };
  const int32_t begin =
      first_together(axis, axis.begin_about(first), reads_first, [&] { return axis.begin(first); });
  if (last + 1 >= axis.in_size) return {begin, axis.out_size};
  return {begin,
          first_together(axis, axis.begin_about(last + 2), beyond_last, [&] { return axis.end(last); })};
}
// The same where the axis doubles.
template <class Axis>
__device__ __forceinline__ ResultRange results_of_doubled(const Axis& axis, int32_t first, int32_t last) {
  const int32_t end = 2 * last + 3;
  return {first > 1 ? 2 * first - 1 : 0, end < axis.out_size ? end : axis.out_size};
}

// The taps on `source`, not one of the first two or the last, of an axis that LinearAxis enlarges by a power
// of two, see multiplies(): listed by kLanes lanes. Returns their number.
template <int kLanes, class acc>
__device__ __forceinline__ int list_enlarged_taps(int32_t factor, int32_t source, Tap<acc>* list) {
  const acc half = acc(0.5) / static_cast<acc>(factor);
  for (int32_t t = static_cast<int32_t>(threadIdx.x) % kLanes; t < 2 * factor; t += kLanes) {
    const int32_t distance = t < factor ? t : 2 * factor - 1 - t;
    store(list + t, Tap<acc>{factor * source - factor / 2 + t, half * static_cast<acc>(2 * distance + 1)});
  }
  return 2 * factor;
}

// Adds the contribution of one result to `source`: a tap of weight 0 counts, and two on one source count
// twice.
template <class Taps, class acc>
__device__ __forceinline__ void add_taps(const Taps& taps, int64_t source, acc value, acc& sum) {
  if (taps.index0 == source) sum = fused_multiply_add(taps.weight0, value, sum);
  if (taps.index1 == source) sum = fused_multiply_add(taps.weight1, value, sum);
}

// The sum over all lanes of a warp, in a tree.
template <class acc>
__device__ __forceinline__ acc sum_of_warp(acc sum) {
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

}  // namespace gpu
}  // namespace upsample_ext

#include "axis_table.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>
#include <type_traits>
#include <vector>

namespace upsample_ext {

static int64_t checked_product(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) throw std::bad_alloc();
  return product;
}

template <class T>
AxisTable<T>::AxisTable(int64_t in_size, int64_t out_size, int64_t capacity) {
  constexpr int64_t kMost = int64_t{1} << 56;  // far beyond any memory, and its bytes can be counted
  if (out_size > kMost || capacity > kMost) throw std::bad_alloc();
  const int64_t weight_words = (capacity * static_cast<int64_t>(sizeof(T)) + 7) / 8;
  const int64_t words = out_size + 1 + capacity + weight_words;
  storage_.reset(new int64_t[words]);
  bytes_ = words * static_cast<int64_t>(sizeof(int64_t));
  taps_.in_size = in_size;
  taps_.out_size = out_size;
  taps_.offset = storage_.get();
  taps_.index = storage_.get() + out_size + 1;
  taps_.weight = reinterpret_cast<const T*>(storage_.get() + out_size + 1 + capacity);
  offset()[0] = 0;
}

template <class T>
void AxisTable<T>::classify() {
  int64_t least = taps_.out_size > 0 ? INT64_MAX : 0, most = 0;
  for (int64_t o = 0; o < taps_.out_size; ++o) {
    const int64_t count = taps_.offset[o + 1] - taps_.offset[o];
    least = std::min(least, count);
    most = std::max(most, count);
  }
  taps_.taps_per_row = least == most ? most : 0;
  taps_.max_taps = most;
  taps_.interpolates = most == 2;
  int64_t first = 0;  // of the last output that had taps
  for (int64_t o = 0; o < taps_.out_size && taps_.interpolates; ++o) {
    const int64_t *begin = taps_.index + taps_.offset[o], *end = taps_.index + taps_.offset[o + 1];
    if (begin == end) continue;
    taps_.interpolates = begin[0] >= first && end[-1] - begin[0] >= 0 && end[-1] - begin[0] <= 1;
    first = begin[0];
  }
}

template <class T>
template <class Axis>
AxisTable<T> AxisTable<T>::of(const Axis& axis) {
  const int64_t out_size = axis.out_size;
  AxisTable table(axis.in_size, out_size, checked_product(most_taps(axis), out_size));
  // Of the axes with a fixed number of taps only transposed convolutions, which are not built here, lack any.
  if constexpr (Axis::kTaps > 0) {
    constexpr int kTaps = Axis::kTaps;
    for (int64_t o = 0; o < out_size; ++o) {
      const auto taps = axis.taps(o);
      for (int t = 0; t < kTaps; ++t) {
        table.index()[kTaps * o + t] = taps.index_of(t);
        table.weight()[kTaps * o + t] = static_cast<T>(taps.weight_of(t));
      }
      table.offset()[o + 1] = kTaps * (o + 1);
    }
    table.taps_.taps_per_row = table.taps_.max_taps = kTaps;
    table.taps_.interpolates =
        std::is_same_v<Axis, LinearAxis<T>> || std::is_same_v<Axis, LinearAxis<double>>;
  } else {
    int64_t count = 0;
    for (int64_t o = 0; o < out_size; ++o) {
      each_tap(axis, o, [&](int64_t source, T weight) {
        table.index()[count] = source;
        table.weight()[count++] = weight;
      });
      table.offset()[o + 1] = count;
    }
    table.classify();
  }
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::of(const AxisSpec& spec) {
  const bool averages = spec.mode != Mode::kNearest && spec.mode != Mode::kNearestExact;
  if (averages && spec.rules == NativeRules::kCpuBytes) {
    if (spec.mode == Mode::kLinear && !spec.antialias) {
      return with_axis<double>(spec, [](const auto& axis) { return of(axis); });
    }
    auto exact = with_axis<double>(spec, [](const auto& axis) { return AxisTable<double>::of(axis); });
    exact.round_weights();
    if constexpr (std::is_same_v<T, double>) {
      return exact;
    } else {
      return AxisTable(exact);
    }
  }
  return with_axis<T>(spec, [](const auto& axis) { return of(axis); });
}

template <class T>
template <class U>
AxisTable<T>::AxisTable(const AxisTable<U>& other)
    : AxisTable(other.taps().in_size, other.taps().out_size, other.tap_count()) {
  const AxisTaps<U>& taps = other.taps();
  std::copy_n(taps.offset, taps.out_size + 1, offset());
  std::copy_n(taps.index, other.tap_count(), index());
  std::transform(taps.weight, taps.weight + other.tap_count(), weight(),
                 [](U w) { return static_cast<T>(w); });
  taps_.taps_per_row = taps.taps_per_row;
  taps_.max_taps = taps.max_taps;
  taps_.interpolates = taps.interpolates;
  taps_.weight_bits = taps.weight_bits;
}

// Rounds weights as native does for bytes: to 16-bit integers, scaled by a power of two; taps on the same
// source, as at the border, are merged first. As long as the weights add up to about 1, sums of products with
// bytes are then exact in float32, and equal to native's.
template <class T>
void AxisTable<T>::round_weights() {
  for (int64_t o = 0; o < taps_.out_size; ++o) {
    for (int64_t t = taps_.offset[o]; t + 1 < taps_.offset[o + 1]; ++t) {
      if (taps_.index[t] != taps_.index[t + 1]) continue;
      weight()[t + 1] += weight()[t];
      weight()[t] = T(0);
    }
  }
  double largest = 0.0;
  for (int64_t t = 0; t < tap_count(); ++t) largest = std::max(largest, static_cast<double>(taps_.weight[t]));
  constexpr int kMostBits = 22;
  int bits = 0;
  while (bits < kMostBits && std::floor(0.5 + largest * (2 << bits)) < (1 << 15)) ++bits;
  taps_.weight_bits = bits;
  const double unit = 1 << bits;
  for (int64_t t = 0; t < tap_count(); ++t) {
    const double scaled = static_cast<double>(taps_.weight[t]) * unit;
    weight()[t] = static_cast<T>(std::trunc(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5) / unit);
  }
}

template <class T>
AxisTable<T> AxisTable<T>::conv_transpose(const ConvTransposeAxis& axis, const T* kernel) {
  const int64_t out_size = axis.out_size();
  // An output takes only the taps whose k * dilation agree with it modulo stride: every period-th one.
  const int64_t period = axis.stride / std::gcd(axis.stride, axis.dilation);
  const int64_t matching = (axis.kernel_size - 1) / period + 1;
  // ... and without replicate each of them reads a different sample.
  const int64_t per_row = axis.replicate ? matching : std::min(matching, axis.in_size);
  AxisTable table(axis.in_size, out_size, checked_product(out_size, per_row));
  // The first of them for each output. Each tap below the period is the first of every stride-th output.
  std::vector<int64_t> first(static_cast<size_t>(out_size), axis.kernel_size);
  for (int64_t k = 0; k < std::min(period, axis.kernel_size); ++k) {
    const int64_t phase = (k * axis.dilation - axis.padding) % axis.stride;
    for (int64_t o = phase < 0 ? phase + axis.stride : phase; o < out_size; o += axis.stride) first[o] = k;
  }
  int64_t count = 0;
  for (int64_t o = 0; o < out_size; ++o) {
    const int64_t last = first[o] + (axis.kernel_size - 1 - first[o]) / period * period;
    for (int64_t k = last; k >= first[o] && k < axis.kernel_size; k -= period) {  // ascending source index
      int64_t i, index;
      if (!axis.source(o, k, &i) || !axis.sample(i, &index)) continue;
      table.index()[count] = index;
      table.weight()[count++] = kernel[k];
    }
    table.offset()[o + 1] = count;
  }
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::product(const AxisTable& outer, const AxisTable& inner) {
  const AxisTaps<T>&a = outer.taps_, &b = inner.taps_;
  AxisTable table(checked_product(a.in_size, b.in_size), checked_product(a.out_size, b.out_size),
                  checked_product(outer.tap_count(), inner.tap_count()));
  int64_t count = 0;
  for (int64_t o = 0; o < a.out_size; ++o) {
    for (int64_t p = 0; p < b.out_size; ++p) {
      for (int64_t s = a.offset[o]; s < a.offset[o + 1]; ++s) {
        for (int64_t t = b.offset[p]; t < b.offset[p + 1]; ++t) {
          table.index()[count] = a.index[s] * b.in_size + b.index[t];
          table.weight()[count++] = a.weight[s] * b.weight[t];
        }
      }
      table.offset()[o * b.out_size + p + 1] = count;
    }
  }
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::rows(int64_t first, int64_t count) const {
  const int64_t begin = taps_.offset[first], taps = taps_.offset[first + count] - begin;
  AxisTable table(taps_.in_size, count, taps);
  for (int64_t o = 0; o <= count; ++o) table.offset()[o] = taps_.offset[first + o] - begin;
  std::copy_n(taps_.index + begin, taps, table.index());
  std::copy_n(taps_.weight + begin, taps, table.weight());
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::then(const AxisTable& next) const {
  const AxisTaps<T>& outer = next.taps_;
  AxisTable table(taps_.in_size, outer.out_size, checked_product(next.tap_count(), taps_.max_taps));
  int64_t* index = table.index();
  T* weight = table.weight();
  int64_t end = 0;
  for (int64_t o = 0; o < outer.out_size; ++o) {
    const int64_t begin = end;
    for (int64_t s = outer.offset[o]; s < outer.offset[o + 1]; ++s) {
      const int64_t middle = outer.index[s];
      for (int64_t t = taps_.offset[middle]; t < taps_.offset[middle + 1]; ++t) {
        const T product = outer.weight[s] * taps_.weight[t];
        int64_t place = end;  // searched from the end, where it usually belongs
        while (place > begin && index[place - 1] > taps_.index[t]) --place;
        if (place > begin && index[place - 1] == taps_.index[t]) {
          weight[place - 1] += product;
          continue;
        }
        std::copy_backward(index + place, index + end, index + end + 1);
        std::copy_backward(weight + place, weight + end, weight + end + 1);
        index[place] = taps_.index[t];
        weight[place] = product;
        ++end;
      }
    }
    table.offset()[o + 1] = end;
  }
  table.classify();
  const bool uneven = table.taps_.taps_per_row == 0 && table.taps_.max_taps <= kMostEvenTaps;
  return uneven ? table.with_even_rows() : std::move(table);
}

template <class T>
AxisTable<T> AxisTable<T>::with_even_rows() const {
  const int64_t taps = taps_.max_taps;
  AxisTable table(taps_.in_size, taps_.out_size, checked_product(taps_.out_size, taps));
  for (int64_t o = 0; o < taps_.out_size; ++o) {
    int64_t count = taps_.offset[o + 1] - taps_.offset[o];
    int64_t* index = table.index() + o * taps;
    T* weight = table.weight() + o * taps;
    std::copy_n(taps_.index + taps_.offset[o], count, index);
    std::copy_n(taps_.weight + taps_.offset[o], count, weight);
    for (; count < taps; ++count) {
      const int64_t largest = std::max_element(weight, weight + count) - weight;
      std::copy_backward(index + largest, index + count, index + count + 1);
      std::copy_backward(weight + largest, weight + count, weight + count + 1);
      weight[largest] /= 2;
      weight[largest + 1] /= 2;
    }
    table.offset()[o + 1] = (o + 1) * taps;
  }
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::chain(const AxisStage* stages, size_t count) {
  const auto copies = [](const AxisStage& stage) { return stage.spec.in_size == stage.spec.out_size; };
  // A first stage that copies and keeps everything is left out, unless it is the only one.
  while (count > 1 && copies(*stages) && stages->count == stages->spec.out_size) ++stages, --count;
  AxisTable table = of(stages->spec).rows(stages->first, stages->count);
  for (const AxisStage* stage = stages + 1; stage < stages + count; ++stage) {
    table = copies(*stage) ? table.rows(stage->first, stage->count)
                           : table.then(of(stage->spec).rows(stage->first, stage->count));
  }
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::transposed() const {
  const int64_t rows = taps_.out_size, columns = taps_.in_size;
  AxisTable table(rows, columns, tap_count());
  int64_t* offset = table.offset();
  std::fill(offset, offset + columns + 1, 0);
  for (int64_t t = 0; t < tap_count(); ++t) ++offset[taps_.index[t] + 1];
  for (int64_t i = 0; i < columns; ++i) offset[i + 1] += offset[i];
  // offset[i] is the next free place of row i while filling, and is shifted back afterwards.
  for (int64_t o = 0; o < rows; ++o) {
    for (int64_t t = taps_.offset[o]; t < taps_.offset[o + 1]; ++t) {
      const int64_t place = offset[taps_.index[t]]++;
      table.index()[place] = o;
      table.weight()[place] = taps_.weight[t];
    }
  }
  for (int64_t i = columns; i > 0; --i) offset[i] = offset[i - 1];
  offset[0] = 0;
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::merged() const {
  AxisTable table(taps_.in_size, taps_.out_size, tap_count());
  int64_t count = 0;
  for (int64_t o = 0; o < taps_.out_size; ++o) {
    for (int64_t t = taps_.offset[o]; t < taps_.offset[o + 1];) {
      const int64_t source = taps_.index[t];
      MergedTaps<T> taps;
      for (; t < taps_.offset[o + 1] && taps_.index[t] == source; ++t) taps.add(taps_.weight[t]);
      taps.each([&](T weight) {
        table.index()[count] = source;
        table.weight()[count++] = weight;
      });
    }
    table.offset()[o + 1] = count;
  }
  table.classify();
  return table;
}

template <class T>
AxisTable<T> AxisTable<T>::interleaved(int64_t channels) const {
  AxisTable table(taps_.in_size * channels, checked_product(taps_.out_size, channels),
                  checked_product(tap_count(), channels));
  int64_t count = 0;
  for (int64_t o = 0; o < taps_.out_size; ++o) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = taps_.offset[o]; t < taps_.offset[o + 1]; ++t) {
        table.index()[count] = taps_.index[t] * channels + c;
        table.weight()[count++] = taps_.weight[t];
      }
      table.offset()[o * channels + c + 1] = count;
    }
  }
  table.taps_.taps_per_row = taps_.taps_per_row;
  table.taps_.max_taps = taps_.max_taps;
  table.taps_.weight_bits = taps_.weight_bits;
  return table;
}

template <class T>
std::vector<int64_t> AxisTable<T>::sources() const {
  std::vector<bool> is_read(static_cast<size_t>(taps_.in_size));
  for (int64_t t = 0; t < tap_count(); ++t) is_read[taps_.index[t]] = true;
  std::vector<int64_t> sources;
  sources.reserve(std::min(tap_count(), taps_.in_size));
  for (int64_t i = 0; i < taps_.in_size; ++i) {
    if (is_read[i]) sources.push_back(i);
  }
  return sources;
}

template <class T>
AxisTable<T> AxisTable<T>::of_sources(const std::vector<int64_t>& sources) const {
  AxisTable table(static_cast<int64_t>(sources.size()), taps_.out_size, tap_count());
  std::copy_n(taps_.offset, taps_.out_size + 1, table.offset());
  std::copy_n(taps_.weight, tap_count(), table.weight());
  auto place = sources.begin();  // near the one before
  for (int64_t t = 0; t < tap_count(); ++t) {
    const int64_t source = taps_.index[t];
    if (*place > source || source - *place > 2)
      place = std::lower_bound(sources.begin(), sources.end(), source);
    while (*place < source) ++place;
    table.index()[t] = place - sources.begin();
  }
  table.classify();
  table.taps_.weight_bits = taps_.weight_bits;
  return table;
}

template class AxisTable<float>;
template class AxisTable<double>;
template AxisTable<float> AxisTable<float>::of(const IdentityAxis<float>&);
template AxisTable<double> AxisTable<double>::of(const IdentityAxis<double>&);

}  // namespace upsample_ext

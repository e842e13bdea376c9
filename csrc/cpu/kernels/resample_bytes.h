// Bytes that are enlarged along the height: every source row passes the horizontal pass once, into a row of
// fixed-point numbers, and each result row blends two of those.
//
// Values are 16-bit integers with 6 bits behind the point, twice as many to a vector as float32, and half a
// grey level above the value, so that the blend's integer part is the rounded result. It lies between its two
// sources: nothing to clamp. Two roundings to 1/64 and a weight of 15 bits: off by 0.02 levels at most.
#pragma once

#include "fixed_point.h"
#include "resample_planar.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr int kFractionBits = 6;
constexpr float kFixedOne = 1 << kFractionBits, kFixedHalf = kFixedOne / 2;

// The epilogue of the horizontal pass. Rows are padded: a vector is stored as a whole always.
class StoreFixed {
 public:
  typedef int16_t result;
  static constexpr bool kUnchanged = false, kFewTaps = true, kReads = false;

  template <Put>
  void put(int16_t* p, vec<float> v, int64_t) const {
    store_integers(p, multiply_add_vector(v, splat(kFixedOne), splat(kFixedHalf + 0.5f)));
  }
  void put_one(int16_t* p, float x) const {
    *p = static_cast<int16_t>(multiply_add(x, kFixedOne, kFixedHalf + 0.5f));
  }
};

template <class T, class E>
constexpr bool is_byte_resize = sizeof(T) == 1 && sizeof(typename E::result) == 1 && E::kUnchanged;

template <class T, class E, class acc>
inline bool widens_bytes(const ResampleParams<acc>& p) {
  return is_byte_resize<T, E> && p.height.interpolates && p.height.taps_per_row == 2 &&
         p.height.out_size >= p.height.in_size && p.width.max_taps == 2 && p.y_strides.width == 1 &&
         (p.x_strides.width == 1 || p.split == Split::kRows);
}

// Numbers in a row of fixed-point numbers for `values` bytes of a result row.
inline int64_t fixed_row_size(int64_t values) { return whole_vectors(values) + kVectorBytes; }

// Of all that FixedRows keeps for `planes` rows that are made together.
inline int64_t fixed_rows_bytes(int64_t values, int64_t planes) {
  return 2 * planes * fixed_row_size(values) * static_cast<int64_t>(sizeof(int16_t));
}

// out[i] = the integer part of above[i] + weight / 2^15 * (below[i] - above[i]), i < count; `join` makes
// bytes of two vectors.
template <class Join>
inline void blend_fixed(const int16_t* above, const int16_t* below, int16_t weight, uint8_t* out,
                        int64_t count, bool streams, const Join& join) {
  constexpr int64_t kHalf = kVectorBytes / 2;
  const vec_i16 w = vec_i16{} + weight;
  const auto blend = [&](int64_t i) {
    const vec_i16 a = load_bits<vec_i16>(above + i), b = load_bits<vec_i16>(below + i);
    // Beyond the end of a row there may be any values, whose difference may wrap.
    const auto difference = (vec_i16)((vec_u16)b - (vec_u16)a);
    return (vec_i16)((vec_u16)a + (vec_u16)multiply_fixed(difference, w)) >> kFractionBits;
  };
  int64_t i = 0;
  if (streams && reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0) {
    for (; i + kVectorBytes <= count; i += kVectorBytes) {
      stream_bits(out + i, join(blend(i), blend(i + kHalf)));
    }
  }
  for (; i + kVectorBytes <= count; i += kVectorBytes) {
    store_bits(out + i, join(blend(i), blend(i + kHalf)));
  }
  if (i == count) return;
  const vec_u8 last = join(blend(i), blend(i + kHalf));
  __builtin_memcpy(out + i, &last, static_cast<size_t>(count - i));
}

// In units of 1 / 2^15; 1 is a little less.
template <class acc>
inline int16_t fixed_weight(acc weight) {
  const acc scaled = weight * acc(1 << 15) + acc(0.5);
  return static_cast<int16_t>(scaled < acc(INT16_MAX) ? scaled : acc(INT16_MAX));
}

// The two source rows that are blended, of `planes` planes at once, for rows of `values` bytes.
template <class acc>
class FixedRows {
 public:
  FixedRows(const ResampleParams<acc>& p, int64_t planes, int64_t values, char* scratch)
      : p_(p), planes_(planes), values_(values), size_(fixed_row_size(values)) {
    for (int64_t i = 0; i < 2; ++i) rows_[i] = reinterpret_cast<int16_t*>(scratch) + i * planes * size_;
  }

  // Result rows begin .. end. make(i, to): source row i of plane c at to + c * size(), padded.
  template <class Make, class Join>
  void write(uint8_t* out, int64_t begin, int64_t end, const Make& make, const Join& join) {
    const TwoTapRows<acc> height(p_.height);
    for (int64_t oy = begin; oy < end;) {
      const int64_t first = height.first(oy), second = height.second(oy);
      const int16_t* above = row_of(first, second, make);
      const int16_t* below = row_of(second, first, make);
      const int rows = height.same_sources(oy, end, kMostRows);
      for (int64_t c = 0; c < planes_; ++c) {
        for (int r = 0; r < rows; ++r) {
          blend_fixed(above + c * size_, below + c * size_, fixed_weight(height.second_weight(oy + r)),
                      out + c * p_.y_strides.channel + (oy + r) * p_.y_strides.height, values_, p_.stream,
                      join);
        }
      }
      oy += rows;
    }
  }
  int64_t size() const { return size_; }

 private:
  // Source row `row`, made unless it is there; `other` is not to be overwritten.
  template <class Make>
  const int16_t* row_of(int64_t row, int64_t other, const Make& make) {
    for (int i = 0; i < 2; ++i) {
      if (held_[i] == row) return rows_[i];
    }
    const int i = held_[0] == other ? 1 : 0;
    held_[i] = row;
    make(row, rows_[i]);
    return rows_[i];
  }

  const ResampleParams<acc>& p_;
  const int64_t planes_, values_, size_;
  int16_t* rows_[2];
  int64_t held_[2] = {-1, -1};
};

// The horizontal pass of a padded row.
template <class acc>
inline void write_fixed_row(const ResampleParams<acc>& p, int16_t* to, const acc* row) {
  write_columns<Put::kStore>(StoreFixed{}, to, row, column_plan(p), p.width);
}

// Rows are (n, c, result row); the scratch holds a row of acc and fixed_rows_bytes.
template <class T, class acc>
inline void widen_planes(const ResampleParams<acc>& p, int64_t begin, int64_t end, char* scratch) {
  acc* buffer = reinterpret_cast<acc*>(scratch);
  each_plane<T, uint8_t>(p, begin, end, [&](const T* in, uint8_t* out, int64_t first, int64_t last) {
    FixedRows<acc> rows(p, 1, p.width.out_size, scratch + planar_row_bytes(p));
    const auto make = [&](int64_t row, int16_t* to) {
      const acc one = 1;
      blend_segment(buffer, in, p.x_strides.height, p.width.in_size, &row, &one, 1);
      write_fixed_row(p, to, buffer);
    };
    rows.write(out, first, last, make, join_bytes);
  });
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext

// How a launcher resizes by tables (resample_table.cuh): it owns their memory, and the device fills them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "../geometry/axis.h"
#include "kernels.h"
#include "tensor_view.h"

namespace upsample_ext {
namespace gpu {

template <class acc>
struct OwnedTable {
  int64_t sources, room;  // what its rows read, and places for taps
  at::Tensor numbers, weights;
  DeviceTable<acc> table;

  // Room for `taps` taps in `rows` rows that read `in_size` sources, on the device of `like`.
  OwnedTable(int64_t in_size, int64_t rows, int64_t taps, const at::Tensor& like)
      : sources(in_size),
        room(taps),
        numbers(at::empty({2 * rows + taps}, like.options().dtype(at::kLong))),
        weights(at::empty({taps}, like.options().dtype(c10::CppTypeToScalarType<acc>::value))) {
    auto* const place = numbers.mutable_data_ptr<int64_t>();
    table = {rows, place, place + rows, place + 2 * rows, weights.mutable_data_ptr<acc>()};
  }
};

// a * b places for taps.
inline int64_t checked_room(int64_t a, int64_t b) {
  int64_t taps;
  constexpr int64_t kMost = int64_t{1} << 56;
  TORCH_CHECK(!__builtin_mul_overflow(a, b, &taps) && taps < kMost && a < kMost && b < kMost,
              "upsample_ext: can't allocate memory: not enough for what is computed on the way");
  return taps;
}

template <class acc, class Axis>
OwnedTable<acc> table_of(const Axis& axis, const at::Tensor& like, const Device& device) {
  OwnedTable<acc> made(axis.in_size, axis.out_size, checked_room(most_taps(axis), axis.out_size), like);
  check_launch(build_table<acc>(axis, made.table, device));
  return made;
}

template <class acc, class Axis>
OwnedTable<acc> transposed_table_of(const Axis& axis, const at::Tensor& like, const Device& device) {
  const OwnedTable<acc> forward = table_of<acc>(axis, like, device);
  OwnedTable<acc> made(axis.out_size, axis.in_size, forward.room, like);
  check_launch(transpose_table<acc>(axis, forward.table, made.table, device));
  return made;
}

// The table of a volume's rows, see AxisTable::product; forward or transposed, as both tables are.
template <class acc>
OwnedTable<acc> product_of(const OwnedTable<acc>& outer, const OwnedTable<acc>& inner, const at::Tensor& like,
                           const Device& device) {
  OwnedTable<acc> made(outer.sources * inner.sources, outer.table.rows * inner.table.rows,
                       checked_room(outer.room, inner.room), like);
  check_launch(product_table<acc>(outer.table, inner.table, inner.sources, inner.room, made.table, device));
  return made;
}

// output = A_h input A_w^T; images of any strides.
template <class scalar_t, class acc>
void run_tables(const at::Tensor& input, const at::Tensor& output, const OwnedTable<acc>& height,
                const OwnedTable<acc>& width, const Device& device) {
  void* const written = output.mutable_data_ptr();
  const TableParams<DeviceTable<acc>> params{input.const_data_ptr(), written,           input.size(0),
                                             input.size(1),          strides_of(input), strides_of(output),
                                             height.table,           width.table};
  check_launch(resample_table<storage_of<scalar_t>>(params, device));
}

}  // namespace gpu
}  // namespace upsample_ext

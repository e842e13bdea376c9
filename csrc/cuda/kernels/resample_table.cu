#include "../kernels.h"
#include "resample_table.cuh"

namespace upsample_ext {
namespace gpu {

template <class acc, class Axis>
cudaError_t build_table(const Axis& axis, const DeviceTable<acc>& table, const Device& device) {
  return launch_rows_of_table(build_rows<acc, Axis>, table.rows, device, axis, table, most_taps(axis));
}

template <class acc, class Axis>
cudaError_t transpose_table(const Axis& axis, const DeviceTable<acc>& table,
                            const DeviceTable<acc>& transposed, const Device& device) {
  return launch_rows_of_table(transpose_rows<acc, Axis>, transposed.rows, device, axis, table, transposed,
                              most_taps(axis));
}

template <class acc>
cudaError_t product_table(const DeviceTable<acc>& outer, const DeviceTable<acc>& inner, int64_t inner_sources,
                          int64_t inner_room, const DeviceTable<acc>& product, const Device& device) {
  return launch_rows_of_table(product_rows<acc>, product.rows, device, outer, inner, inner_sources,
                              inner_room, product);
}

template <class T, class acc>
cudaError_t resample_table(const TableParams<DeviceTable<acc>>& params, const Device& device) {
  return launch_resample_table<T>(params, device);
}

#define UPSAMPLE_TABLE_OF(acc, Axis)                                                                       \
  template cudaError_t build_table(const Axis<acc>&, const DeviceTable<acc>&, const Device&);              \
  template cudaError_t transpose_table(const Axis<acc>&, const DeviceTable<acc>&, const DeviceTable<acc>&, \
                                       const Device&)
#define UPSAMPLE_TABLES(acc)                                                                             \
  UPSAMPLE_TABLE_OF(acc, NearestAxis);                                                                   \
  UPSAMPLE_TABLE_OF(acc, LinearAxis);                                                                    \
  UPSAMPLE_TABLE_OF(acc, CubicAxis);                                                                     \
  UPSAMPLE_TABLE_OF(acc, AntialiasAxis);                                                                 \
  UPSAMPLE_TABLE_OF(acc, AreaAxis);                                                                      \
  UPSAMPLE_TABLE_OF(acc, FixedKernelAxis);                                                               \
  UPSAMPLE_TABLE_OF(acc, IdentityAxis);                                                                  \
  template cudaError_t product_table(const DeviceTable<acc>&, const DeviceTable<acc>&, int64_t, int64_t, \
                                     const DeviceTable<acc>&, const Device&)

UPSAMPLE_TABLES(float);
UPSAMPLE_TABLES(double);

template cudaError_t resample_table<double>(const TableParams<DeviceTable<double>>&, const Device&);
template cudaError_t resample_table<float>(const TableParams<DeviceTable<float>>&, const Device&);
template cudaError_t resample_table<half_t>(const TableParams<DeviceTable<float>>&, const Device&);
template cudaError_t resample_table<bfloat16_t>(const TableParams<DeviceTable<float>>&, const Device&);
template cudaError_t resample_table<uint8_t>(const TableParams<DeviceTable<float>>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext

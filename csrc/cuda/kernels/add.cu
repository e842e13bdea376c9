#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample_add(const ResampleParams<acc, Axis>& params, const AddOperands& operands,
                         const Device& device) {
  return launch_resample<T>(params, Add<T>(operands), device);
}

template cudaError_t resample_add<double>(const ResampleParams<double, LinearAxis<double>>&,
                                          const AddOperands&, const Device&);
template cudaError_t resample_add<float>(const ResampleParams<float, LinearAxis<float>>&, const AddOperands&,
                                         const Device&);
template cudaError_t resample_add<half_t>(const ResampleParams<float, LinearAxis<float>>&, const AddOperands&,
                                          const Device&);
template cudaError_t resample_add<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>&,
                                              const AddOperands&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext

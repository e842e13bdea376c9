#include "../kernels.h"
#include "concat.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
int64_t images_of_launch(const ResampleParams<acc, Axis>* images, int64_t count) {
  return count_images<T>(images, count);
}
template <class T, class acc, class Axis>
cudaError_t resample_images(const ResampleParams<acc, Axis>* images, int64_t count, const Device& device) {
  if (choose_concat<T>(images[0]) == ConcatKernel::kAlone) return resample<T>(images[0], device);
  return launch_concat<T>(images, count, device);
}

template int64_t images_of_launch<double>(const ResampleParams<double, LinearAxis<double>>*, int64_t);
template int64_t images_of_launch<float>(const ResampleParams<float, LinearAxis<float>>*, int64_t);
template int64_t images_of_launch<half_t>(const ResampleParams<float, LinearAxis<float>>*, int64_t);
template int64_t images_of_launch<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>*, int64_t);
template cudaError_t resample_images<double>(const ResampleParams<double, LinearAxis<double>>*, int64_t,
                                             const Device&);
template cudaError_t resample_images<float>(const ResampleParams<float, LinearAxis<float>>*, int64_t,
                                            const Device&);
template cudaError_t resample_images<half_t>(const ResampleParams<float, LinearAxis<float>>*, int64_t,
                                             const Device&);
template cudaError_t resample_images<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>*, int64_t,
                                                 const Device&);

}  // namespace gpu
}  // namespace upsample_ext

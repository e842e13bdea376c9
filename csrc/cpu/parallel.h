// at::parallel_for on the one OpenMP runtime of the process, torch's, whichever compiler builds this.
//
// at::parallel_for is a template in a header, so the parallel region is made by the compiler of the
// extension. g++ makes it of libgomp's GOMP_parallel, which torch's own runtime has. clang would make it of
// libomp, a second runtime with threads of its own; it therefore compiles without -fopenmp (setup.py), and
// the region is started here by the call that g++ makes.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "grain.h"

#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
extern "C" {
void GOMP_parallel(void (*region)(void*), void* data, unsigned num_threads, unsigned flags);
int omp_get_num_threads();
int omp_get_thread_num();
}
#endif

namespace upsample_ext {

// Calls f(first, last) for parts of begin .. end, of at least `grain_size` where there is more than one, as
// parallel_for below.
template <class F>
void parallel_parts(int64_t begin, int64_t end, int64_t grain_size, const F& f) {
#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
  struct Region {
    int64_t begin, end, grain_size;
    const F& f;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error = nullptr;

    void run_part(int64_t number, int64_t parts) {
      const int64_t length = (end - begin + parts - 1) / parts, first = begin + number * length;
      if (first >= end) return;
      try {
        const at::internal::ThreadIdGuard thread(static_cast<int>(number));
        const c10::ParallelGuard parallel(true);
        f(first, std::min(end, first + length));
      } catch (...) {
        if (!failed.test_and_set()) error = std::current_exception();
      }
    }
    static void run(void* data) {
      Region& region = *static_cast<Region*>(data);
      int64_t parts = omp_get_num_threads();
      if (region.grain_size > 0) {
        parts = std::min(parts, (region.end - region.begin + region.grain_size - 1) / region.grain_size);
      }
      region.run_part(omp_get_thread_num(), parts);
    }
  };
  if (begin >= end) return;
  at::internal::lazy_init_num_threads();
  Region region{begin, end, grain_size, f};
  const bool in_parts = end - begin > std::max<int64_t>(1, grain_size) && !at::in_parallel_region();
  if (in_parts && at::get_num_threads() > 1) {
    GOMP_parallel(&Region::run, &region, 0, 0);
  } else {
    region.run_part(0, 1);
  }
  if (region.error) std::rethrow_exception(region.error);
#else
  at::parallel_for(begin, end, grain_size, f);
#endif
}

// Calls f(first, last) for parts of begin .. end, of at least `grain_size` where there is more than one.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain_size, const F& f) {
  if (end - begin <= grain_size || at::in_parallel_region()) return parallel_parts(begin, end, grain_size, f);
  const auto start = TakenCores::Clock::now();
  auto done = start;
  parallel_parts(begin, end, grain_size, [&](int64_t first, int64_t last) {
    f(first, last);
    if (first == begin) done = TakenCores::Clock::now();
  });
  TakenCores::report(start, done);
}

}  // namespace upsample_ext

// Stands in for the OpenMP runtime where races are looked for (scripts/sanitize.sh thread).
//
// ThreadSanitizer knows pthreads, not the futexes by which libgomp starts and joins its threads, and takes
// every parallel region for a race. Linked into the extension, these hidden functions run its regions, and
// only its own, on threads made and joined one by one. g++ turns `#pragma omp parallel` into GOMP_parallel.
#include <thread>
#include <vector>

#define HIDDEN __attribute__((visibility("hidden")))

namespace {

constexpr int kThreads = 4;
thread_local int thread_num = 0;
thread_local int num_threads = 1;

}  // namespace

extern "C" {

HIDDEN int omp_get_thread_num() { return thread_num; }
HIDDEN int omp_get_num_threads() { return num_threads; }

HIDDEN void GOMP_parallel(void (*region)(void*), void* data, unsigned, unsigned) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([=] {
      thread_num = i;
      num_threads = kThreads;
      region(data);
    });
  }
  for (std::thread& thread : threads) thread.join();
}
}

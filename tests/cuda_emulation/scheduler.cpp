#include "scheduler.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fibre.h"
#include "launch.h"
#include "memory.h"
#include "observer.h"

// The kernels' view of these is const.
#define CUDA_EMULATION_KNOWN(name) cuda_emulation_##name __asm__(#name)
static_assert(sizeof(uint3) == 12 && sizeof(dim3) == 12);
__attribute__((visibility("hidden"))) uint3 CUDA_EMULATION_KNOWN(threadIdx);
__attribute__((visibility("hidden"))) uint3 CUDA_EMULATION_KNOWN(blockIdx);
__attribute__((visibility("hidden"))) dim3 CUDA_EMULATION_KNOWN(blockDim);
__attribute__((visibility("hidden"))) dim3 CUDA_EMULATION_KNOWN(gridDim);

// Bounds of the static shared variables (shared_memory.ld).
extern "C" __attribute__((visibility("hidden"))) char cuda_emulation_shared_begin[],
    cuda_emulation_shared_end[];

namespace cuda_emulation {

Observer* observer = nullptr;
int running_thread = -1;
bool atomic_access = false;

namespace {

// Uninitialised shared memory reads as NaN in every floating-point type, and as -1. Written out, because
// AddressSanitizer checks memset, and what is filled has guards between the variables.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void poison(uintptr_t begin, size_t bytes) {
  auto* const memory = reinterpret_cast<unsigned char*>(begin);
  for (size_t i = 0; i < bytes; ++i) memory[i] = 0xff;
}

struct Thread {
  enum State { kNotStarted, kReady, kAtBlockBarrier, kAtWarpBarrier, kEnded };
  State state;
  uint3 index;
  unsigned lane, warp;
  Fibre* fibre;  // while it runs or waits
  Place place;   // where it waits
  unsigned mask;
  uint64_t offered, shown;  // what it brings to a meeting of its warp; what the others see there
};

// In which order threads that could all run do: a right kernel does not care.
enum class Order { kForward, kReversed, kShuffled };

Order order_from_environment() {
  const char* given = std::getenv("CUSIM_ORDER");
  if (given == nullptr || std::strcmp(given, "forward") == 0) return Order::kForward;
  if (std::strcmp(given, "reversed") == 0) return Order::kReversed;
  if (std::strcmp(given, "shuffled") == 0) return Order::kShuffled;
  std::fprintf(stderr, "CUSIM_ORDER: expected forward, reversed or shuffled, got %s\n", given);
  std::abort();
}

unsigned seed_from_environment() {
  const char* given = std::getenv("CUSIM_SEED");
  return given == nullptr ? 1 : static_cast<unsigned>(std::atoi(given));
}

bool same_place(const Place& a, const Place& b) {
  return a.line == b.line && std::strcmp(a.operation, b.operation) == 0 && std::strcmp(a.file, b.file) == 0;
}

std::string text(const Place& place) {
  return std::string(place.operation) + " (" + place.file + ":" + std::to_string(place.line) + ")";
}

class Scheduler {
 public:
  cudaError_t run(const Grid& grid);

  // On a fibre.
  [[noreturn]] void fail(cudaError_t error, const std::string& what);
  void wait(Thread::State state, const Place& place);
  void run_threads();

  Thread& current() { return *current_; }
  Thread& of_warp(unsigned lane) { return threads_[current_->warp * kWarpLanes + lane]; }
  bool has_lane(unsigned lane) const { return current_->warp * kWarpLanes + lane < threads_.size(); }
  const SharedMemory& shared() const { return shared_; }

 private:
  void run_block();
  void run_ready();
  void resume(Thread& thread);
  bool take_next_unstarted();
  bool meet_in_warp(unsigned first);
  bool meet_in_block();
  void report(cudaError_t error, const std::string& what, const Thread* thread);
  Fibre* idle_fibre();

  Order order_;
  std::mt19937 random_;
  const Grid* grid_ = nullptr;
  SharedMemory shared_{};
  std::vector<Thread> threads_;
  std::vector<unsigned> sequence_;  // in which threads are taken up
  size_t next_ = 0;                 // of sequence_
  Thread* current_ = nullptr;
  cudaError_t error_ = cudaSuccess;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<Fibre*> idle_;
};

Scheduler& scheduler() {
  static Scheduler instance;
  return instance;
}

// ---- on the host ----------------------------------------------------------------------------------------

cudaError_t Scheduler::run(const Grid& grid) {
  order_ = order_from_environment();
  random_.seed(seed_from_environment());
  grid_ = &grid;
  error_ = cudaSuccess;
  cuda_emulation_gridDim = grid.blocks;
  cuda_emulation_blockDim = grid.threads;
  const size_t count = size_t{grid.threads.x} * grid.threads.y * grid.threads.z;
  threads_.resize(count);
  sequence_.resize(count);

  // From the heap, so that AddressSanitizer guards its ends.
  void* dynamic = nullptr;
  if (grid.shared_bytes > 0 && posix_memalign(&dynamic, 128, grid.shared_bytes) != 0) std::abort();
  const std::unique_ptr<void, decltype(&std::free)> owner(dynamic, &std::free);
  shared_ = {reinterpret_cast<uintptr_t>(dynamic), grid.shared_bytes,
             reinterpret_cast<uintptr_t>(cuda_emulation_shared_begin),
             static_cast<uintptr_t>(cuda_emulation_shared_end - cuda_emulation_shared_begin)};

  if (observer != nullptr) observer->grid_begins(grid);
  const bool backwards = order_ != Order::kForward;
  const int64_t blocks = int64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  for (int64_t i = 0; i < blocks && error_ == cudaSuccess; ++i) {
    const int64_t block = backwards ? blocks - 1 - i : i;
    cuda_emulation_blockIdx = {static_cast<unsigned>(block % grid.blocks.x),
                               static_cast<unsigned>(block / grid.blocks.x % grid.blocks.y),
                               static_cast<unsigned>(block / grid.blocks.x / grid.blocks.y)};
    run_block();
  }
  if (observer != nullptr) {
    const std::string wrong = observer->grid_ends();
    if (error_ == cudaSuccess && !wrong.empty()) report(cudaErrorLaunchFailure, wrong, nullptr);
  }
  return error_;
}

void Scheduler::run_block() {
  const dim3& extent = grid_->threads;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    threads_[i] = Thread{};
    threads_[i].index = {i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y};
    threads_[i].lane = i % kWarpLanes;
    threads_[i].warp = i / kWarpLanes;
    sequence_[i] = order_ == Order::kReversed ? static_cast<unsigned>(threads_.size()) - 1 - i : i;
  }
  poison(shared_.dynamic, shared_.dynamic_bytes);
  poison(shared_.statics, shared_.statics_bytes);

  if (observer != nullptr) observer->block_begins();
  // Each round takes every thread as far as it gets, then lets those go on that have met.
  for (bool all_ended = false; !all_ended && error_ == cudaSuccess;) {
    run_ready();
    if (error_ != cudaSuccess) break;
    bool met = false;
    for (unsigned first = 0; first < threads_.size(); first += kWarpLanes) met |= meet_in_warp(first);
    met |= meet_in_block();
    all_ended = std::all_of(threads_.begin(), threads_.end(),
                            [](const Thread& thread) { return thread.state == Thread::kEnded; });
    if (met || all_ended || error_ != cudaSuccess) continue;
    const auto waits = std::find_if(threads_.begin(), threads_.end(), [](const Thread& thread) {
      return thread.state == Thread::kAtWarpBarrier;
    });
    report(cudaErrorLaunchFailure,
           "deadlock: waits for ever at " + text(waits->place) +
               ", whose mask names lanes that never come there",
           &*waits);
  }
  if (observer != nullptr && error_ == cudaSuccess) observer->block_ends();
  if (error_ != cudaSuccess) {  // fibres were left in the middle of a kernel
    idle_.clear();
    for (auto& fibre : fibres_) {
      fibre->restart();
      idle_.push_back(fibre.get());
    }
  }
}

void Scheduler::run_ready() {
  if (order_ == Order::kShuffled) std::shuffle(sequence_.begin(), sequence_.end(), random_);
  for (next_ = 0; next_ < sequence_.size() && error_ == cudaSuccess;) {
    Thread& thread = threads_[sequence_[next_++]];
    if (thread.state == Thread::kNotStarted) thread.fibre = idle_fibre();
    if (thread.state == Thread::kNotStarted || thread.state == Thread::kReady) resume(thread);
  }
}

void Scheduler::resume(Thread& thread) {
  current_ = &thread;
  cuda_emulation_threadIdx = thread.index;
  running_thread = static_cast<int>(&thread - threads_.data());
  thread.state = Thread::kReady;
  thread.fibre->enter();
  running_thread = -1;
}

Fibre* Scheduler::idle_fibre() {
  if (idle_.empty()) {
    fibres_.push_back(std::make_unique<Fibre>([] { scheduler().run_threads(); }));
    return fibres_.back().get();
  }
  Fibre* const fibre = idle_.back();
  idle_.pop_back();
  return fibre;
}

// Lanes of one warp that wait for one another go on. Returns whether any did.
bool Scheduler::meet_in_warp(unsigned first) {
  const unsigned lanes = std::min<unsigned>(kWarpLanes, static_cast<unsigned>(threads_.size()) - first);
  bool met = false;
  for (unsigned i = 0; i < lanes; ++i) {
    Thread& thread = threads_[first + i];
    if (thread.state != Thread::kAtWarpBarrier) continue;
    bool all = true;
    for (unsigned j = 0; j < kWarpLanes && all; ++j) {
      if ((thread.mask >> j & 1) == 0) continue;
      if (j >= lanes || threads_[first + j].state == Thread::kEnded) {
        report(cudaErrorLaunchFailure, text(thread.place) + " names an exited or absent lane in its mask",
               &thread);
        return false;
      }
      const Thread& other = threads_[first + j];
      all = other.state == Thread::kAtWarpBarrier && other.mask == thread.mask &&
            same_place(other.place, thread.place);
    }
    if (!all) continue;
    for (unsigned j = 0; j < lanes; ++j) {
      if ((thread.mask >> j & 1) == 0) continue;
      threads_[first + j].shown = threads_[first + j].offered;
      threads_[first + j].state = Thread::kReady;
    }
    if (observer != nullptr) observer->warp_meets(first / kWarpLanes, thread.mask);
    met = true;
  }
  return met;
}

// When no thread but those at a barrier is left, they must be all, and at one barrier.
bool Scheduler::meet_in_block() {
  size_t waiting = 0, ended = 0;
  const Thread* waits = nullptr;
  for (const Thread& thread : threads_) {
    ended += thread.state == Thread::kEnded;
    if (thread.state != Thread::kAtBlockBarrier) continue;
    ++waiting;
    if (waits == nullptr) waits = &thread;
  }
  if (waiting == 0 || waiting + ended < threads_.size()) return false;
  if (ended > 0) {
    report(cudaErrorLaunchFailure,
           "divergent barrier: " + std::to_string(waiting) + " threads wait at " + text(waits->place) + ", " +
               std::to_string(ended) + " have exited",
           waits);
    return false;
  }
  for (Thread& thread : threads_) {
    if (same_place(thread.place, waits->place)) continue;
    report(
        cudaErrorLaunchFailure,
        "divergent barrier: some threads wait at " + text(waits->place) + ", others at " + text(thread.place),
        &thread);
    return false;
  }
  for (Thread& thread : threads_) thread.state = Thread::kReady;
  if (observer != nullptr) observer->block_meets();
  return true;
}

void Scheduler::report(cudaError_t error, const std::string& what, const Thread* thread) {
  const auto coordinates = [](uint3 at) {
    return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
  };
  error_ = error;
  std::string message = what;
  if (thread != nullptr) {
    message += ": block " + coordinates(cuda_emulation_blockIdx) + ", thread " + coordinates(thread->index);
  }
  set_last_failure(message);
}

// ---- on a fibre -----------------------------------------------------------------------------------------

// What a fibre does: threads that run to their end without waiting share one, one after another.
void Scheduler::run_threads() {
  for (;;) {
    do {
      grid_->run(grid_->arguments);
      current_->state = Thread::kEnded;
    } while (take_next_unstarted());
    Fibre* const mine = current_->fibre;
    idle_.push_back(mine);
    mine->leave();
  }
}

bool Scheduler::take_next_unstarted() {
  if (next_ == sequence_.size()) return false;
  Thread& thread = threads_[sequence_[next_]];
  if (thread.state != Thread::kNotStarted) return false;
  ++next_;
  thread.state = Thread::kReady;
  thread.fibre = current_->fibre;
  current_ = &thread;
  cuda_emulation_threadIdx = thread.index;
  running_thread = static_cast<int>(&thread - threads_.data());
  return true;
}

void Scheduler::wait(Thread::State state, const Place& place) {
  current_->state = state;
  current_->place = place;
  current_->fibre->leave();
}

void Scheduler::fail(cudaError_t error, const std::string& what) {
  report(error, what, current_);
  current_->fibre->leave();
  std::abort();  // a failed grid is not taken up again
}

}  // namespace

// ---- the interface --------------------------------------------------------------------------------------

cudaError_t run_grid(const Grid& grid) { return scheduler().run(grid); }

void fail(cudaError_t error, const char* format, ...) {
  char words[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(words, sizeof words, format, arguments);
  va_end(arguments);
  scheduler().fail(error, words);
}

void wait_for_block(Place place) { scheduler().wait(Thread::kAtBlockBarrier, place); }

void wait_for_warp(unsigned mask, Place place, uint64_t value) {
  Thread& thread = scheduler().current();
  if ((mask >> thread.lane & 1) == 0) {
    fail(cudaErrorLaunchFailure, "%s: the calling lane is not in its mask", text(place).c_str());
  }
  thread.mask = mask;
  thread.offered = value;
  scheduler().wait(Thread::kAtWarpBarrier, place);
}

uint64_t shown_by(unsigned lane, unsigned mask, Place place) {
  if ((mask >> lane & 1) == 0 || !scheduler().has_lane(lane)) {
    fail(cudaErrorLaunchFailure, "%s reads a lane outside its mask", text(place).c_str());
  }
  return scheduler().of_warp(lane).shown;
}

unsigned lane() { return scheduler().current().lane; }

void* dynamic_shared_memory() { return reinterpret_cast<void*>(scheduler().shared().dynamic); }

const SharedMemory& shared_memory() { return scheduler().shared(); }

void begin_atomic() { atomic_access = true; }
void end_atomic() { atomic_access = false; }

bool inside_a_kernel() { return running_thread >= 0; }

}  // namespace cuda_emulation

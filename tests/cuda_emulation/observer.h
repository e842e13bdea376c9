// Events of a running grid that the scheduler reports: to the tracer; in the other flavours to nothing.
#pragma once

#include <string>

#include "scheduler.h"

namespace cuda_emulation {

class Observer {
 public:
  virtual void grid_begins(const Grid& grid) = 0;
  virtual void block_begins() = 0;
  virtual void block_meets() = 0;  // all its threads are at a barrier
  virtual void warp_meets(unsigned warp, unsigned mask) = 0;
  virtual void block_ends() = 0;
  // Returns what was wrong with the grid, or an empty string.
  virtual std::string grid_ends() = 0;

 protected:
  ~Observer() = default;
};

extern Observer* observer;  // or null

// The thread that runs, numbered within its block; -1 outside of kernels.
extern int running_thread;
// Whether what it does is an atomic access.
extern bool atomic_access;

// The memory of a block that its threads share.
struct SharedMemory {
  uintptr_t dynamic, dynamic_bytes;
  uintptr_t statics, statics_bytes;

  bool holds(uintptr_t address) const {
    return address - dynamic < dynamic_bytes || address - statics < statics_bytes;
  }
};
const SharedMemory& shared_memory();

}  // namespace cuda_emulation

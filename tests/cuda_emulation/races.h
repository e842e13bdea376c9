// Finds data races: accesses to the same bytes, at least one of them a plain write, that nothing orders.
//
// Within a block, a barrier of the block orders everything before it before everything after it, and a
// meeting of lanes of a warp does so among these lanes. Blocks are never ordered. The check does not depend
// on the order in which the emulation happens to run threads: it judges by barriers alone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "scheduler.h"

namespace cuda_emulation {

// One access of one thread.
struct Access {
  uintptr_t address;
  uint32_t instruction;  // a number that the tracer gives
  uint32_t occurrence;   // how often this thread has been there before, in this block
  uint32_t span;         // of the thread's time, see Races
  uint16_t thread;
  uint8_t bytes;
  bool write, atomic, shared;
};

struct Race {
  Access one, other;  // between blocks only one is known
  bool between_blocks;
};

class Races {
 public:
  void grid_begins();
  void block_begins(unsigned threads);
  void warp_meets(unsigned warp, unsigned mask);
  // At a barrier of the block and at its end: looks at what it did since the last.
  void barrier(const Access* begin, const Access* end);
  // At its end: looks at all it did to memory that other blocks reach.
  void block_ends(const Access* begin, const Access* end);

  // Each pair of instructions is reported once.
  const std::vector<Race>& found() const { return found_; }
  // The span that a thread is in.
  uint32_t span(unsigned thread) const { return current_[thread]; }

 private:
  // A stretch of a thread's time without a meeting of its warp, as a vector clock: `number` counts the
  // thread's own, `seen` tells of each lane of the warp which of its spans are over for this one.
  struct Span {
    uint32_t number;
    std::array<uint32_t, kWarpLanes> seen;
  };
  // Which blocks have touched each byte of a page of memory, numbered from 1; 0 is none.
  struct Page {
    static constexpr uintptr_t kBytes = 4096;
    static constexpr uint32_t kSeveral = UINT32_MAX;
    std::array<uint32_t, kBytes> writer, reader;
  };

  void new_spans();
  bool ordered(const Access& a, const Access& b) const;
  void compare(const Access& a, const Access& b);
  void add(const Access& one, const Access& other, bool between_blocks);
  Page& page_of(uintptr_t address);

  std::vector<Span> spans_;
  std::vector<uint32_t> current_;  // of each thread, into spans_
  std::vector<const Access*> writes_;
  uint32_t block_ = 0;
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_page_number_ = 0;
  Page* last_page_ = nullptr;
  std::vector<Race> found_;
};

}  // namespace cuda_emulation

// A fibre: a stack on which a function runs until it gives the processor back. x86-64 only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulation {

class Fibre {
 public:
  using Entry = void (*)();  // must never return

  static constexpr size_t kStackBytes = size_t{256} << 10;
  static constexpr size_t kMost = 1024;  // one for each thread of the largest block

  explicit Fibre(Entry entry);
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Called by the host: runs the fibre from where it left, until it leaves again.
  void enter();
  // Called on the fibre: goes back to the host.
  void leave();
  // Forgets what it was doing: the next enter() starts anew.
  void restart();

  // Whether an address lies on the stack of any fibre: what a thread holds there is its own, as registers
  // are.
  static bool holds(uintptr_t address) { return address - stacks_ < kMost * kStackBytes; }

 private:
  static uintptr_t stacks_;  // of all fibres, side by side
  static size_t made_;

  Entry entry_;
  char* stack_;
  void* stack_pointer_ = nullptr;
  // AddressSanitizer is told of each switch; this is what it wants to be reminded of.
  void* sanitizer_state_ = nullptr;

  friend void begin_fibre();
};

}  // namespace cuda_emulation

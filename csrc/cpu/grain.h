// How much work a thread gets at least.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace upsample_ext {

// Whether other programs hold the cores. A region ends when its last thread has run: where that thread finds
// no core, the others wait for a time slice of another program, many times what a small call takes. Such
// waiting is measured, and small calls then stay on their thread for kRest times as long: it costs them at
// most a fiftieth.
class TakenCores {
 public:
  using Clock = std::chrono::steady_clock;

  static bool now() { return Clock::now().time_since_epoch() < Clock::duration(until_.load(relaxed)); }

  // A region began at `start`, and its first thread, which waits for all others, had done its part at `done`.
  static void report(Clock::time_point start, Clock::time_point done) {
    constexpr int kRest = 50, kUnequal = 4;
    constexpr std::chrono::microseconds kWakeUp(500);
    const auto end = Clock::now();
    const auto waited = end - done;
    if (waited > kWakeUp + kUnequal * (done - start)) {
      until_.store((end + kRest * waited).time_since_epoch().count(), relaxed);
    }
  }

 private:
  static constexpr auto relaxed = std::memory_order_relaxed;
  inline static std::atomic<Clock::rep> until_{0};
};

// How many of `units` units of equal work a thread gets at least. The work is `elements` in all, read or
// written, whichever is more: a thread that is woken gets about 10 us of them, and 50 us where it may have to
// wait.
inline int64_t grain_of(int64_t units, int64_t elements) {
  constexpr int64_t kGrain = 1 << 15, kGrainOfTaken = 1 << 17, kParts = 3;
  if (elements < kParts * kGrain) return std::max<int64_t>(1, units);
  const int64_t grain = TakenCores::now() ? kGrainOfTaken : kGrain;
  if (elements < kParts * grain) return std::max<int64_t>(1, units);
  return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(grain) * units / elements));
}

}  // namespace upsample_ext

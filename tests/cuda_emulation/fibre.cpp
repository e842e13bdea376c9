#include "fibre.h"

#include <sys/mman.h>

#include <cstdlib>

#if defined(CUDA_EMULATION_SANITIZED)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "fibres are written for x86-64"
#endif

namespace cuda_emulation {

// Saves the callee-saved registers, then the stack pointer, and switches to another stack.
extern "C" void cuda_emulation_switch_stack(void** save, void* load);
__asm__(
    ".text\n"
    ".hidden cuda_emulation_switch_stack\n"
    ".globl cuda_emulation_switch_stack\n"
    ".type cuda_emulation_switch_stack,@function\n"
    "cuda_emulation_switch_stack:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\n"
    "movq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
    "ret\n"
    ".size cuda_emulation_switch_stack,.-cuda_emulation_switch_stack\n");

namespace {

constexpr int kSavedRegisters = 6;

// The host's side of a switch. One host thread at a time runs kernels (launch.cpp).
void* host_stack_pointer;
Fibre* running;

#if defined(CUDA_EMULATION_SANITIZED)
const void* host_stack;
size_t host_stack_bytes;
void switching_to_fibre(void** state, const void* stack) {
  __sanitizer_start_switch_fiber(state, stack, Fibre::kStackBytes);
}
void switching_to_host(void** state) { __sanitizer_start_switch_fiber(state, host_stack, host_stack_bytes); }
void arrived_on_host(void* state) { __sanitizer_finish_switch_fiber(state, nullptr, nullptr); }
void arrived_on_fibre(void* state) { __sanitizer_finish_switch_fiber(state, &host_stack, &host_stack_bytes); }
void forget_stack(void* stack) { __asan_unpoison_memory_region(stack, Fibre::kStackBytes); }
#else
void switching_to_fibre(void**, const void*) {}
void switching_to_host(void**) {}
void arrived_on_host(void*) {}
void arrived_on_fibre(void*) {}
void forget_stack(void*) {}
#endif

}  // namespace

uintptr_t Fibre::stacks_ = 0;
size_t Fibre::made_ = 0;

void begin_fibre() {
  arrived_on_fibre(nullptr);
  running->entry_();
  std::abort();
}

Fibre::Fibre(Entry entry) : entry_(entry) {
  if (stacks_ == 0) {
    void* const all = mmap(nullptr, kMost * kStackBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) std::abort();
    stacks_ = reinterpret_cast<uintptr_t>(all);
  }
  if (made_ == kMost) std::abort();
  stack_ = reinterpret_cast<char*>(stacks_ + made_++ * kStackBytes);
  mprotect(stack_, 4096, PROT_NONE);  // a kernel that runs over its stack faults here
  restart();
}

void Fibre::restart() {
  forget_stack(stack_);
  // The stack as begin_fibre would find it had it been called: 16-byte aligned under a return address.
  void** sp = reinterpret_cast<void**>(stack_ + kStackBytes - 64);
  *--sp = nullptr;
  *--sp = reinterpret_cast<void*>(&begin_fibre);
  for (int i = 0; i < kSavedRegisters; ++i) *--sp = nullptr;
  stack_pointer_ = sp;
  sanitizer_state_ = nullptr;
}

void Fibre::enter() {
  void* state = nullptr;
  running = this;
  switching_to_fibre(&state, stack_);
  cuda_emulation_switch_stack(&host_stack_pointer, stack_pointer_);
  arrived_on_host(state);
}

void Fibre::leave() {
  switching_to_host(&sanitizer_state_);
  cuda_emulation_switch_stack(&stack_pointer_, host_stack_pointer);
  arrived_on_fibre(sanitizer_state_);
}

}  // namespace cuda_emulation

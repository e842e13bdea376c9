// cuda_sim.h - run CUDA C++ kernels on the host, one fibre per CUDA thread.
// Use: g++ -std=c++17 -x c++ -include cuda_sim.h -I/usr/local/cuda-13.0/include kernel.cu
// A block is run at a time, its threads as fibres on one OS thread, switched only at
// __syncthreads / __syncwarp / warp collectives. Modes by compiler flag:
//   -fsanitize=address,undefined  bounds (global buffers from malloc/new, __shared__ statics)
//   -fsanitize=thread             race check between the threads of a block (deterministic)
//   -DSIM_TRACE + -fsanitize=thread with own hooks (see sim_trace.h): traffic / coalescing
#pragma once
#define UPSAMPLE_EXT_CUDA_EMULATION 1
#include <cuda_runtime_api.h>
#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __align__
#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#undef __grid_constant__
#define __grid_constant__
// x SIM_DYN_SHARED(T, name) in both worlds:
#define SIM_DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(cusim::S().dyn)
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cmath>
#include <cfloat>
#include <algorithm>
#include <functional>
#include <random>
#include <tuple>
#include <utility>
#include <vector>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/asan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__) && !defined(SIM_TRACE)
#define SIM_TSAN 1
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__)
#define SIM_NOINSTR __attribute__((no_sanitize("thread")))
#else
#define SIM_NOINSTR
#endif

inline dim3 gridDim, blockDim; inline uint3 blockIdx, threadIdx;  // set on every switch
namespace cusim {
enum Wait { RUN, BLOCK, WARP, DONE };
struct Fiber {
  void* sp = nullptr; char* stack = nullptr; Wait st = DONE; uint3 tid; unsigned lane, warp;
  const void* site = nullptr; unsigned mask = 0; unsigned long long val[2]; unsigned nval = 0;
  unsigned long long seq = 0; int pred = 0; void* fake = nullptr; void* tsan = nullptr;
};
struct State {
  std::vector<Fiber> f; unsigned n = 0; Fiber* cur = nullptr; void* main_sp = nullptr;
  dim3 grid, block; uint3 bid; std::function<void()> body; char* dyn = nullptr; size_t dyn_cap = 0;
  void* main_fake = nullptr; const void* main_bottom = nullptr; size_t main_size = 0; void* main_tsan = nullptr;
  int order = 0; unsigned seed = 1; size_t stack = 256 << 10; int ksync = 0, kstart = 0, bsync = 0;
  unsigned long long blocks = 0; bool atomic = false, trapped = false;
};
inline State& S() { static State s; return s; }
[[noreturn]] inline void die(const char* what) {
  State& s = S();
  fprintf(stderr, "cuda_sim: %s: block (%u,%u,%u) thread (%u,%u,%u)\n", what, s.bid.x, s.bid.y, s.bid.z,
          s.cur ? s.cur->tid.x : 0, s.cur ? s.cur->tid.y : 0, s.cur ? s.cur->tid.z : 0);
  abort();
}
extern "C" void cusim_swap(void** save, void* load);
__asm__(".text\n.globl cusim_swap\n.weak cusim_swap\n.type cusim_swap,@function\ncusim_swap:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size cusim_swap,.-cusim_swap\n");
SIM_NOINSTR inline void to_main(bool dying = false) {
  State& s = S(); Fiber* me = s.cur;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(dying ? nullptr : &me->fake, s.main_bottom, s.main_size);
#endif
#ifdef SIM_TSAN
  __tsan_switch_to_fiber(s.main_tsan, __tsan_switch_to_fiber_no_sync);
#endif
  (void)dying;
  cusim_swap(&me->sp, s.main_sp);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(me->fake, &s.main_bottom, &s.main_size);
#endif
}
SIM_NOINSTR inline void entry() {
  State& s = S();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &s.main_bottom, &s.main_size);
#endif
#ifdef SIM_TSAN
  __tsan_acquire(&s.kstart);
#endif
  s.body();
#ifdef SIM_TSAN
  __tsan_release(&s.ksync);
#endif
  s.cur->st = DONE;
  to_main(true);
  abort();
}
SIM_NOINSTR inline void to_fiber(Fiber& f) {
  State& s = S(); s.cur = &f; threadIdx = f.tid;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&s.main_fake, f.stack, s.stack);
#endif
#ifdef SIM_TSAN
  __tsan_switch_to_fiber(f.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  cusim_swap(&s.main_sp, f.sp);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(s.main_fake, nullptr, nullptr);
#endif
}
SIM_NOINSTR inline void prepare(Fiber& f) {
  State& s = S();
  if (!f.stack) f.stack = (char*)mmap(nullptr, s.stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(f.stack, s.stack);
#endif
  void** sp = (void**)(f.stack + s.stack - 64);  // 16-aligned; entry sees rsp%16==8
  *--sp = nullptr; *--sp = (void*)&entry;
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.sp = sp; f.st = RUN; f.seq = 0; f.site = nullptr;
#ifdef SIM_TSAN
  if (!f.tsan) f.tsan = __tsan_create_fiber(0);  // reused: making one costs 0.5 ms
#endif
}
SIM_NOINSTR inline void run_block() {
  State& s = S(); s.n = s.block.x * s.block.y * s.block.z;
  if (s.f.size() < s.n) s.f.resize(s.n);
  for (unsigned i = 0; i < s.n; ++i) {
    Fiber& f = s.f[i];
    f.tid = {i % s.block.x, i / s.block.x % s.block.y, i / (s.block.x * s.block.y)};
    f.lane = i & 31; f.warp = i >> 5; prepare(f);
  }
  std::vector<unsigned> ord(s.n);
  for (unsigned i = 0; i < s.n; ++i) ord[i] = s.order == 1 ? s.n - 1 - i : i;
  std::mt19937 rng(s.seed + s.blocks++);
  for (;;) {
    if (s.order == 2) std::shuffle(ord.begin(), ord.end(), rng);
    bool progress = false; unsigned done = 0, atb = 0;
    for (unsigned k : ord) if (s.f[k].st == RUN && !s.trapped) { to_fiber(s.f[k]); progress = true; }
    if (s.trapped) break;  // the other threads are left where they are
    for (unsigned w = 0; w * 32 < s.n; ++w) {  // warp-level rendezvous
      unsigned lo = w * 32, hi = std::min(s.n, lo + 32);
      for (unsigned i = lo; i < hi; ++i) if (s.f[i].st == WARP) {
        Fiber& f = s.f[i]; bool ok = true;
        if (!(f.mask >> f.lane & 1)) { s.cur = &f; die("warp collective: own lane not in mask"); }
        for (unsigned j = lo; j < lo + 32 && ok; ++j) if (f.mask >> (j - lo) & 1) {
          if (j >= hi || s.f[j].st == DONE) { s.cur = &f; die("warp collective names an exited or absent lane"); }
          ok = s.f[j].st == WARP && s.f[j].mask == f.mask && s.f[j].site == f.site;
        }
        if (ok) { for (unsigned j = lo; j < hi; ++j) if (f.mask >> (j - lo) & 1) s.f[j].st = RUN; progress = true; }
      }
    }
    for (unsigned i = 0; i < s.n; ++i) { done += s.f[i].st == DONE; atb += s.f[i].st == BLOCK; }
    if (done == s.n) break;
    if (atb && atb + done == s.n) {
      if (done) { s.cur = nullptr; fprintf(stderr, "cuda_sim: %u threads exited, %u wait at __syncthreads\n", done, atb); die("barrier divergence"); }
      const void* site = s.f[0].site;
      for (unsigned i = 0; i < s.n; ++i) { if (s.f[i].site != site) { s.cur = &s.f[i]; die("threads of one block wait at different __syncthreads"); } }
      for (unsigned i = 0; i < s.n; ++i) s.f[i].st = RUN;
      progress = true;
    }
    if (!progress) { s.cur = nullptr; for (unsigned i = 0; i < s.n; ++i) if (s.f[i].st == WARP) s.cur = &s.f[i]; die("deadlock"); }
  }
  s.cur = nullptr;
}
#if defined(SIM_TRACE)
void trace_block_end();
void trace_kernel(const char* name);
#endif
template <class F> SIM_NOINSTR inline void launch_body(dim3 g, dim3 b, size_t smem, F&& body) {
  State& s = S();
  if (b.x * b.y * b.z == 0 || b.x * b.y * b.z > 1024 || b.z > 64) die("invalid block size");
  if (!g.x || !g.y || !g.z || g.y > 65535 || g.z > 65535) die("invalid grid size");
  s.grid = gridDim = g; s.block = blockDim = b; s.body = std::forward<F>(body);
  if (const char* e = getenv("CUSIM_ORDER")) s.order = atoi(e);
  if (const char* e = getenv("CUSIM_SEED")) s.seed = atoi(e);
#ifdef SIM_TSAN
  s.main_tsan = __tsan_get_current_fiber(); __tsan_release(&s.kstart);
#endif
  free(s.dyn); s.dyn = smem ? (char*)aligned_alloc(128, (smem + 127) / 128 * 128) : nullptr; s.dyn_cap = smem;
#if defined(__SANITIZE_ADDRESS__)
  if (smem) __asan_poison_memory_region(s.dyn + smem, (128 - smem % 128) % 128);
#endif
  for (unsigned z = 0; z < g.z; ++z) for (unsigned y = 0; y < g.y; ++y) for (unsigned x = 0; x < g.x; ++x) {
    if (s.trapped) break;
    s.bid = blockIdx = {x, y, z};
    for (size_t i = 0; i < smem; ++i) ((volatile char*)s.dyn)[i] = (char)0xFF;  // NaN poison: uninitialised dynamic shared memory shows
#ifdef SIM_TSAN
    __tsan_release(&s.kstart);
#endif
    run_block();
#ifdef SIM_TSAN
    __tsan_acquire(&s.ksync);
#endif
#if defined(SIM_TRACE)
    trace_block_end();
#endif
  }
#ifdef SIM_TSAN
  __tsan_acquire(&s.ksync);
#endif
#if defined(__SANITIZE_ADDRESS__)
  if (s.dyn) __asan_unpoison_memory_region(s.dyn, (smem + 127) / 128 * 128);
#endif
}
// __trap(): the thread ends here, and with it the launch, which returns cudaErrorAssert.
[[noreturn]] SIM_NOINSTR inline void trap() {
  S().trapped = true; S().cur->st = DONE;
  to_main(true);
  abort();
}
template <class... P, class... A>
inline void launch(void (*k)(P...), dim3 g, dim3 b, size_t smem, cudaStream_t, A&&... a) {
  std::tuple<P...> args{static_cast<P>(std::forward<A>(a))...};
  launch_body(g, b, smem, [&] { std::apply(k, args); });
}
// --- barriers and warp collectives -------------------------------------------------------
#define CUSIM_L int cusim_line = __builtin_LINE()
#define CUSIM_SITE ((const void*)(size_t)cusim_line)
__attribute__((noinline)) SIM_NOINSTR inline void barrier_block(int cusim_line) {
  State& s = S(); s.cur->st = BLOCK; s.cur->site = CUSIM_SITE;
#ifdef SIM_TSAN
  __tsan_release(&s.bsync);
#endif
  to_main();
#ifdef SIM_TSAN
  __tsan_acquire(&s.bsync);
#endif
}
SIM_NOINSTR inline void barrier_warp(unsigned mask, const void* site) {
  State& s = S(); s.cur->st = WARP; s.cur->mask = mask; s.cur->site = site;
#ifdef SIM_TSAN
  static int wsync[32]; __tsan_release(&wsync[s.cur->warp]);
#endif
  to_main();
#ifdef SIM_TSAN
  __tsan_acquire(&wsync[s.cur->warp]);
#endif
}
template <class T> __attribute__((noinline)) SIM_NOINSTR T shfl(unsigned mask, T v, int src, const void* site) {
  static_assert(sizeof(T) <= 8, "shfl"); State& s = S(); Fiber* me = s.cur; unsigned par = me->seq++ & 1;
  me->val[par] = 0; memcpy(&me->val[par], &v, sizeof v);
  barrier_warp(mask, site);
  unsigned t = (me->warp << 5) + (unsigned)src;
  if (!(mask >> src & 1) || t >= s.n) die("shfl reads a lane outside the mask");
  T r; memcpy((void*)&r, &s.f[t].val[par], sizeof r); return r;
}
#define CUSIM_NI __attribute__((noinline)) SIM_NOINSTR
}  // namespace cusim
#define warpSize 32
#define SIM_LAUNCH(kernel, grid, block, smem, stream, ...) cusim::launch(kernel, dim3(grid), dim3(block), smem, stream, __VA_ARGS__)
[[noreturn]] static inline void __trap() { cusim::trap(); }
static inline void __syncthreads(CUSIM_L) { cusim::barrier_block(cusim_line); }
CUSIM_NI static void __syncwarp(unsigned m = 0xffffffffu, CUSIM_L) { cusim::barrier_warp(m, CUSIM_SITE); }
namespace cusim { inline int lane() { return (int)S().cur->lane; } }
#define CUSIM_LO(w) (cusim::lane() & ~((w)-1))
template <class T> CUSIM_NI T __shfl_sync(unsigned m, T v, int l, int w = 32, CUSIM_L) { return cusim::shfl(m, v, CUSIM_LO(w) + (l & (w - 1)), CUSIM_SITE); }
template <class T> CUSIM_NI T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, CUSIM_L) { int t = cusim::lane() ^ x; if (t >= CUSIM_LO(w) + w) t = cusim::lane(); return cusim::shfl(m, v, t, CUSIM_SITE); }
template <class T> CUSIM_NI T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, CUSIM_L) { int t = cusim::lane() - (int)d; if (t < CUSIM_LO(w)) t = cusim::lane(); return cusim::shfl(m, v, t, CUSIM_SITE); }
template <class T> CUSIM_NI T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, CUSIM_L) { int t = cusim::lane() + (int)d; if (t >= CUSIM_LO(w) + w) t = cusim::lane(); return cusim::shfl(m, v, t, CUSIM_SITE); }
CUSIM_NI static unsigned __ballot_sync(unsigned m, int p, CUSIM_L) {
  cusim::State& s = cusim::S(); auto* me = s.cur; unsigned par = me->seq++ & 1; me->val[par] = p != 0;
  cusim::barrier_warp(m, CUSIM_SITE); unsigned r = 0;
  for (int i = 0; i < 32; ++i) if (m >> i & 1) r |= (unsigned)s.f[(me->warp << 5) + i].val[par] << i;
  return r;
}
CUSIM_NI static unsigned __activemask() { return cusim::S().n - (cusim::S().cur->warp << 5) >= 32 ? ~0u : (1u << (cusim::S().n & 31)) - 1; }
#define __any_sync(m, p) (__ballot_sync(m, p) != 0)
#define __all_sync(m, p) (__ballot_sync(m, p) == (unsigned)(m))
static inline void __threadfence() {}
static inline void __threadfence_block() {}
// --- memory and arithmetic intrinsics ---------------------------------------------------------
template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T, class U> static inline void __stcs(T* p, U v) { *p = v; }
template <class T, class U> static inline void __stcg(T* p, U v) { *p = v; }
#ifdef SIM_TSAN
template <class T> static inline T cusim_rmw(T* p, T v, T (*op)(T, T)) {  // a real atomic to TSan
  T o; __atomic_load(p, &o, __ATOMIC_RELAXED); T d;
  do { d = op(o, v); } while (!__atomic_compare_exchange(p, &o, &d, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return o; }
#else
template <class T> static inline T cusim_rmw(T* p, T v, T (*op)(T, T)) { cusim::S().atomic = true; T o = *p; *p = op(o, v); cusim::S().atomic = false; return o; }
#endif
template <class T> static inline T atomicAdd(T* p, T v) { return cusim_rmw<T>(p, v, [](T a, T b) { return (T)(a + b); }); }
template <class T> static inline T atomicMax(T* p, T v) { return cusim_rmw<T>(p, v, [](T a, T b) { return b > a ? b : a; }); }
template <class T> static inline T atomicMin(T* p, T v) { return cusim_rmw<T>(p, v, [](T a, T b) { return b < a ? b : a; }); }
template <class T> static inline T atomicExch(T* p, T v) { return cusim_rmw<T>(p, v, [](T, T b) { return b; }); }
template <class T> static inline T atomicCAS(T* p, T c, T v) { T o = *p; if (o == c) *p = v; return o; }
// cuda_fp16.h/cuda_bf16.h give g++ conversions and + - * /; the fused forms are added here:
static inline __half __hfma(__half a, __half b, __half c) { return __float2half_rn(fmaf(__half2float(a), __half2float(b), __half2float(c))); }
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return __halves2half2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdividef(float a, float b) { return a / b; }
#define __expf(a) expf(a)
#define __logf(a) logf(a)
static inline float rsqrtf(float a) { return 1.f / sqrtf(a); }
static inline float __int2float_rn(int a) { return (float)a; }
static inline int __float2int_rd(float a) { return (int)floorf(a); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
static inline float __uint_as_float(unsigned i) { float f; memcpy(&f, &i, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned i; memcpy(&i, &f, 4); return i; }
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
using std::max;
using std::min;
template <class... P, class... A>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* c, void (*k)(P...), A&&... a) {
  cusim::launch(k, c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream, std::forward<A>(a)...); return cudaSuccess; }

#include <mutex>
#include "../../csrc/cuda/device.h"
#define UPSAMPLE_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(cusim::S().dyn)
namespace cusim { inline std::mutex launch_mutex; }
namespace upsample_ext { namespace gpu {
template <class... P, class... A>
cudaError_t launch(void (*k)(P...), const Device& device, int64_t blocks, int threads, size_t shared, const A&... a) {
  if (blocks == 0) return cudaSuccess;
  std::lock_guard<std::mutex> lock(cusim::launch_mutex);
  cusim::S().trapped = false;
  cusim::launch(k, dim3(blocks), dim3(threads), shared, device.stream, a...);
  return cusim::S().trapped ? cudaErrorAssert : cudaSuccess;
}
} }

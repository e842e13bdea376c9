// Loads and stores with a cache hint, which behave like plain ones here, and atomics.
#pragma once

#include <cstring>

#include "scheduler.h"

#define CUDA_EMULATION_LOAD(name)    \
  template <class T>                 \
  static inline T name(const T* p) { \
    return *p;                       \
  }
CUDA_EMULATION_LOAD(__ldg)
CUDA_EMULATION_LOAD(__ldca)
CUDA_EMULATION_LOAD(__ldcg)
CUDA_EMULATION_LOAD(__ldcs)
CUDA_EMULATION_LOAD(__ldcv)
CUDA_EMULATION_LOAD(__ldlu)
#undef CUDA_EMULATION_LOAD

#define CUDA_EMULATION_STORE(name)         \
  template <class T>                       \
  static inline void name(T* p, T value) { \
    *p = value;                            \
  }
CUDA_EMULATION_STORE(__stcg)
CUDA_EMULATION_STORE(__stcs)
CUDA_EMULATION_STORE(__stwb)
CUDA_EMULATION_STORE(__stwt)
#undef CUDA_EMULATION_STORE

namespace cuda_emulation {

// Between the two, accesses are atomic to the tracer.
void begin_atomic();
void end_atomic();

template <class T, class Change>
T read_modify_write(T* p, Change change) {
  begin_atomic();
  const T before = *p;
  *p = change(before);
  end_atomic();
  return before;
}

template <class T>
struct Same {
  typedef T type;
};

}  // namespace cuda_emulation

template <class T>
T atomicAdd(T* p, typename cuda_emulation::Same<T>::type value) {
  return cuda_emulation::read_modify_write(p, [&](T before) { return static_cast<T>(before + value); });
}
template <class T>
T atomicMax(T* p, typename cuda_emulation::Same<T>::type value) {
  return cuda_emulation::read_modify_write(p, [&](T before) { return value > before ? value : before; });
}
template <class T>
T atomicMin(T* p, typename cuda_emulation::Same<T>::type value) {
  return cuda_emulation::read_modify_write(p, [&](T before) { return value < before ? value : before; });
}
template <class T>
T atomicExch(T* p, typename cuda_emulation::Same<T>::type value) {
  return cuda_emulation::read_modify_write(p, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* p, typename cuda_emulation::Same<T>::type compare,
            typename cuda_emulation::Same<T>::type value) {
  return cuda_emulation::read_modify_write(p, [&](T before) { return before == compare ? value : before; });
}

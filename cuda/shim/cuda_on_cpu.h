// How does the same kernel source run on a machine without a GPU?
//
// Every CUDA thread of a block is a fiber: made once by ucontext, switched by _setjmp and _longjmp, which do no system
// calls. Barriers and warp operations count arrivals and let the other fibers run; blocks run one after another, so
// __shared__ is static. Fibers are run in a shuffled order, which finds some missing barriers; data races between
// instructions are not found.
//
// Build with -ffp-contract=off and -U_FORTIFY_SOURCE (its longjmp refuses to change stacks). Linux only.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Dimensions {
  uint32_t x;
};

static Dimensions threadIdx, blockIdx, blockDim;

namespace shim {

struct Fiber {
  ucontext_t start;
  jmp_buf resume;
  bool has_started = false;
  bool has_ended = false;
};

struct Barrier {
  uint32_t n_arrived = 0;
  uint32_t generation = 0;
};

static const size_t STACK_BYTES = 64 * 1024;
static std::vector<Fiber> fibers;
static std::vector<Barrier> warp_barriers;
static std::vector<uint32_t> slots;
static Barrier block_barrier;
static jmp_buf scheduler;
static void (*kernel)();

inline void yield() {
  if (_setjmp(fibers[threadIdx.x].resume) == 0) _longjmp(scheduler, 1);
}

inline void wait(Barrier& barrier, uint32_t n_threads) {
  uint32_t generation = barrier.generation;
  if (++barrier.n_arrived == n_threads) {
    barrier.n_arrived = 0;
    ++barrier.generation;
  } else {
    while (barrier.generation == generation) yield();
  }
}

inline void warp_wait() { wait(warp_barriers[threadIdx.x / 32], 32); }

inline uint32_t exchange(uint32_t value, uint32_t from) {
  slots[threadIdx.x] = value;
  warp_wait();
  uint32_t received = slots[threadIdx.x / 32 * 32 + from];
  warp_wait();
  return received;
}

static void run_fiber() {
  kernel();
  fibers[threadIdx.x].has_ended = true;
  _longjmp(scheduler, 1);
}

// Run one block to its end.
static void run_block(void (*function)(), uint32_t n_threads, uint32_t order_seed) {
  kernel = function;
  blockDim.x = n_threads;
  block_barrier = Barrier();
  warp_barriers.assign(n_threads / 32, Barrier());
  slots.assign(n_threads, 0);
  fibers.assign(n_threads, Fiber());
  static std::vector<char> stacks;
  if (stacks.size() < n_threads * STACK_BYTES) stacks.resize(n_threads * STACK_BYTES);
  for (uint32_t thread = 0; thread < n_threads; ++thread) {
    ucontext_t& start = fibers[thread].start;
    getcontext(&start);
    start.uc_stack.ss_sp = &stacks[thread * STACK_BYTES];
    start.uc_stack.ss_size = STACK_BYTES;
    makecontext(&start, run_fiber, 0);
  }
  // Volatile: they live across longjmp. An odd factor permutes a power of two; other block sizes run in order.
  volatile uint32_t n_ended = 0, turn = 0;
  const uint32_t factor = n_threads & (n_threads - 1) ? 1 : (2 * order_seed + 1);
  while (n_ended < n_threads) {
    uint32_t thread = turn * factor % n_threads;
    turn = (turn + 1) % n_threads;
    if (fibers[thread].has_ended) continue;
    threadIdx.x = thread;
    if (_setjmp(scheduler) == 0) {
      if (fibers[thread].has_started) _longjmp(fibers[thread].resume, 1);
      fibers[thread].has_started = true;
      setcontext(&fibers[thread].start);
    }
    if (fibers[threadIdx.x].has_ended) n_ended = n_ended + 1;
  }
}

}  // namespace shim

inline void __syncthreads() { shim::wait(shim::block_barrier, blockDim.x); }

inline uint32_t __shfl_xor_sync(uint32_t, uint32_t value, int distance) {
  return shim::exchange(value, (threadIdx.x % 32) ^ distance);
}

inline uint32_t __shfl_up_sync(uint32_t, uint32_t value, uint32_t distance) {
  uint32_t lane = threadIdx.x % 32;
  return shim::exchange(value, lane >= distance ? lane - distance : lane);
}

inline uint32_t __ballot_sync(uint32_t, bool flag) {
  shim::slots[threadIdx.x] = flag;
  shim::warp_wait();
  uint32_t ballot = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) ballot |= shim::slots[threadIdx.x / 32 * 32 + lane] << lane;
  shim::warp_wait();
  return ballot;
}

inline void atomicAdd(unsigned long long* address, unsigned long long value) { *address += value; }
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }

inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float __uint_as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

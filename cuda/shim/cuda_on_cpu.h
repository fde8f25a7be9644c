// How does the same kernel source run on a machine without a GPU?
//
// Every CUDA thread is a fiber: made by ucontext, switched by _setjmp and _longjmp, which do no system calls. Barriers
// and warp operations count arrivals and let the other fibers run. Shared memory lies in a linker section of its own.
// Blocks run one after another; the blocks of a cluster take turns, from one cluster barrier to the next, and the
// section is exchanged with the block. Fibers run in a shuffled order, which finds some missing barriers; data races
// between instructions are not found.
//
// Build with -ffp-contract=off and -U_FORTIFY_SOURCE (its longjmp refuses to change stacks). Linux only.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <utility>
#include <vector>

#define TOKENLOOM_SHIM
#define __global__
#define __device__
#define __shared__ __attribute__((section("shared_memory"))) static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct Dimensions {
  uint32_t x, y;
};

static Dimensions threadIdx, blockIdx, blockDim, gridDim;

// The section must exist, and dynamic shared memory lies in it.
static const size_t DYNAMIC_SHARED_BYTES = 232448;
__attribute__((section("shared_memory"), aligned(16), used)) static char dynamic_shared_bytes[DYNAMIC_SHARED_BYTES] = {
    0};
#define dynamic_shared ((Quad*)dynamic_shared_bytes)
extern "C" __attribute__((visibility("hidden"))) char __start_shared_memory[], __stop_shared_memory[];

namespace shim {

struct Fiber {
  ucontext_t start;
  jmp_buf resume;
  bool has_started = false, has_ended = false, is_parked = false;
};

struct Barrier {
  uint32_t n_arrived = 0;
  uint32_t generation = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Barrier> warps;
  std::vector<uint32_t> slots;
  Barrier all;
  std::vector<char> shared;
};

static const size_t STACK_BYTES = 48 * 1024;
static std::vector<Block> blocks;
static uint32_t rank, n_cluster;
static jmp_buf scheduler;
static void (*kernel)(void**);
static void** parameters;

inline Block& block() { return blocks[rank]; }
inline Fiber& fiber() { return block().fibers[threadIdx.x]; }

inline void yield() {
  if (_setjmp(fiber().resume) == 0) _longjmp(scheduler, 1);
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

inline void warp_wait() { wait(block().warps[threadIdx.x / 32], 32); }

inline uint32_t exchange(uint32_t value, uint32_t from) {
  std::vector<uint32_t>& slots = block().slots;
  slots[threadIdx.x] = value;
  warp_wait();
  uint32_t received = slots[threadIdx.x / 32 * 32 + from];
  warp_wait();
  return received;
}

static void run_fiber() {
  kernel(parameters);
  fiber().has_ended = true;
  _longjmp(scheduler, 1);
}

// Run the fibers of one block until all have ended or wait for the cluster.
static bool run_block(const std::vector<uint32_t>& order) {
  // Volatile: they live across longjmp.
  volatile uint32_t n_waiting = 0, turn = 0, n_idle = 0;
  const uint32_t n_threads = order.size();
  for (uint32_t thread = 0; thread < n_threads; ++thread) {
    n_waiting = n_waiting + (block().fibers[thread].has_ended || block().fibers[thread].is_parked);
  }
  while (n_waiting < n_threads) {
    uint32_t thread = order[turn];
    turn = (turn + 1) % n_threads;
    Fiber& next = block().fibers[thread];
    if (next.has_ended || next.is_parked) continue;
    threadIdx.x = thread;
    if (_setjmp(scheduler) == 0) {
      if (next.has_started) _longjmp(next.resume, 1);
      next.has_started = true;
      setcontext(&next.start);
    }
    bool has_stopped = fiber().has_ended || fiber().is_parked;
    n_waiting = n_waiting + has_stopped;
    n_idle = has_stopped ? 0 : n_idle + 1;
    if (n_idle > 100000000) fprintf(stderr, "the fibers wait for each other\n"), abort();
  }
  for (uint32_t thread = 0; thread < n_threads; ++thread) {
    if (!block().fibers[thread].has_ended) return false;
  }
  return true;
}

// Run a cluster of blocks, the first of which is `first`, to its end.
static void run_cluster(uint32_t first, uint32_t n_threads, uint32_t order_seed) {
  static std::vector<char> stacks;
  if (stacks.size() < (size_t)n_cluster * n_threads * STACK_BYTES) stacks.resize(n_cluster * n_threads * STACK_BYTES);
  const size_t n_shared = __stop_shared_memory - __start_shared_memory;
  blocks.resize(n_cluster);
  std::vector<uint32_t> order(n_threads);
  for (uint32_t i = 0; i < n_threads; ++i) {
    order_seed = order_seed * 1664525u + 1013904223u;
    uint32_t j = (order_seed >> 8) % (i + 1);
    order[i] = order[j];
    order[j] = i;
  }
  for (rank = 0; rank < n_cluster; ++rank) {
    block().all = Barrier();
    block().warps.assign(n_threads / 32, Barrier());
    block().slots.assign(n_threads, 0);
    block().fibers.assign(n_threads, Fiber());
    if (n_cluster > 1) block().shared.assign(n_shared, 0x55);
    for (uint32_t thread = 0; thread < n_threads; ++thread) {
      ucontext_t& start = block().fibers[thread].start;
      getcontext(&start);
      start.uc_stack.ss_sp = &stacks[((size_t)rank * n_threads + thread) * STACK_BYTES];
      start.uc_stack.ss_size = STACK_BYTES;
      makecontext(&start, run_fiber, 0);
    }
  }
  for (uint32_t n_ended = 0; n_ended < n_cluster;) {
    n_ended = 0;
    for (rank = 0; rank < n_cluster; ++rank) {
      blockIdx.x = first + rank;
      if (n_cluster > 1) memcpy(__start_shared_memory, block().shared.data(), n_shared);
      n_ended += run_block(order);
      if (n_cluster > 1) memcpy(block().shared.data(), __start_shared_memory, n_shared);
    }
    // Whoever waits is at the cluster barrier, in every block: on a device the others would wait for ever, or read what
    // is no longer there.
    if (n_ended && n_ended < n_cluster) fprintf(stderr, "a block has ended and another waits for it\n"), abort();
    for (Block& other : blocks) {
      for (Fiber& waiting : other.fibers) waiting.is_parked = false;
    }
  }
}

// Run a grid; `n_in_cluster` divides `n_x`.
static void run_grid(void (*function)(void**), void** values, uint32_t n_x, uint32_t n_y, uint32_t n_threads,
                     uint32_t n_in_cluster, uint32_t order_seed) {
  kernel = function;
  parameters = values;
  blockDim = {n_threads, 1};
  gridDim = {n_x, n_y};
  n_cluster = n_in_cluster;
  for (uint32_t y = 0; y < n_y; ++y) {
    for (uint32_t x = 0; x < n_x; x += n_cluster) {
      blockIdx = {x, y};
      run_cluster(x, n_threads, order_seed + x + 7919 * y);
    }
  }
}

template <class... Types, size_t... places>
void call(void (*function)(Types...), void** values, std::index_sequence<places...>) {
  function(*(Types*)values[places]...);
}

template <class... Types>
void call(void (*function)(Types...), void** values) {
  call(function, values, std::index_sequence_for<Types...>());
}

}  // namespace shim

inline void __syncthreads() { shim::wait(shim::block().all, blockDim.x); }
inline void __syncwarp() { shim::warp_wait(); }

inline void cluster_wait() {
  shim::fiber().is_parked = true;
  shim::yield();
}
inline uint32_t cluster_rank() { return shim::rank; }
inline uint32_t cluster_size() { return shim::n_cluster; }
// The same variable of another block of the cluster; to be read between two cluster barriers.
template <class T>
T* cluster_peer(T* variable, uint32_t rank) {
  if (rank == shim::rank) return variable;
  return (T*)(shim::blocks[rank].shared.data() + ((char*)variable - __start_shared_memory));
}

inline uint32_t __shfl_sync(uint32_t, uint32_t value, int lane) { return shim::exchange(value, lane & 31); }

inline uint32_t __shfl_xor_sync(uint32_t, uint32_t value, int distance) {
  return shim::exchange(value, (threadIdx.x % 32) ^ distance);
}

inline uint32_t __shfl_up_sync(uint32_t, uint32_t value, uint32_t distance) {
  uint32_t lane = threadIdx.x % 32;
  return shim::exchange(value, lane >= distance ? lane - distance : lane);
}

inline uint32_t __ballot_sync(uint32_t, bool flag) {
  std::vector<uint32_t>& slots = shim::block().slots;
  slots[threadIdx.x] = flag;
  shim::warp_wait();
  uint32_t ballot = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) ballot |= slots[threadIdx.x / 32 * 32 + lane] << lane;
  shim::warp_wait();
  return ballot;
}

template <class T, class U>
T atomicAdd(T* address, U value) {
  T before = *address;
  *address += value;
  return before;
}

template <class T, class U>
T atomicMin(T* address, U value) {
  T before = *address;
  if ((T)value < before) *address = value;
  return before;
}

template <class T, class U>
T atomicMax(T* address, U value) {
  T before = *address;
  if ((T)value > before) *address = value;
  return before;
}

inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

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

inline long long __double_as_longlong(double value) {
  long long bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline double __longlong_as_double(long long bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

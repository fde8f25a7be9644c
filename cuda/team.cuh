// How do the blocks of a row agree on one value?
//
// A row is shared by the blocks of a cluster (sm_90 and later; one block elsewhere), which see each other's shared
// memory. Every merge is associative and commutative on bits (integer sums, maxima, minima with ids), so neither the
// number of blocks nor their size can change a result. Blocks are multiples of 32 threads.
#pragma once
#include "types.cuh"

#define FULL_WARP 0xFFFFFFFFu
#define MAX_WARPS 32

#ifndef TOKENLOOM_SHIM
#if __CUDA_ARCH__ >= 900
static __device__ __forceinline__ u32 cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
static __device__ __forceinline__ u32 cluster_size() {
  u32 size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
// Without `.aligned`: the threads of a warp need not come here together.
static __device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.arrive;\nbarrier.cluster.wait;" ::: "memory");
}
// The same variable in the shared memory of another block.
template <class T>
static __device__ __forceinline__ T* cluster_peer(T* variable, u32 rank) {
  u64 peer;
  asm("mapa.u64 %0, %1, %2;" : "=l"(peer) : "l"(variable), "r"(rank));
  return (T*)peer;
}
#else
static __device__ __forceinline__ u32 cluster_rank() { return 0; }
static __device__ __forceinline__ u32 cluster_size() { return 1; }
static __device__ __forceinline__ void cluster_wait() { __syncthreads(); }
template <class T>
static __device__ __forceinline__ T* cluster_peer(T* variable, u32) {
  return variable;
}
#endif
#endif

// All threads of the row's blocks have come here.
static __device__ __forceinline__ void team_wait() {
  if (cluster_size() > 1) {
    cluster_wait();
  } else {
    __syncthreads();
  }
}

template <class T>
static __device__ __forceinline__ T shuffled(const T& value, int distance) {
  union Words {
    T whole;
    u32 part[sizeof(T) / 4];
    __device__ Words() {}
  } words;
  words.whole = value;
#pragma unroll
  for (u32 n = 0; n < sizeof(T) / 4; ++n) words.part[n] = __shfl_xor_sync(FULL_WARP, words.part[n], distance);
  return words.whole;
}

// Where the warps of a block leave what they merge, and the block behind them.
#define MERGED_BYTES 128
__shared__ u64 merge_space[(MAX_WARPS + 1) * MERGED_BYTES / 8];

// `value` merged over all threads of the team, in every thread. `T::merge` takes another one in.
template <class T>
static __device__ T merged(T value) {
  static_assert(sizeof(T) <= MERGED_BYTES, "room for every kind of value");
  T* of_warp = (T*)merge_space;
  T& of_block = of_warp[MAX_WARPS];
#pragma unroll 1
  for (int distance = 16; distance > 0; distance /= 2) value.merge(shuffled(value, distance));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (u32 warp = 1; warp < blockDim.x / 32; ++warp) value.merge(of_warp[warp]);
    of_block = value;
  }
  team_wait();
  value = *cluster_peer(&of_block, 0);
#pragma unroll 1
  for (u32 rank = 1; rank < cluster_size(); ++rank) value.merge(*cluster_peer(&of_block, rank));
  team_wait();
  return value;
}

struct Sum {
  u64 value;
  __device__ void merge(const Sum& other) { value += other.value; }
};

// The first two arrivals of a race; ties go to the smaller token.
struct Finish {
  float time;
  float next_time;
  u32 token;

  __device__ void merge(const Finish& other) {
    bool is_later = other.time < time || (other.time == time && other.token < token);
    float loser = is_later ? time : other.time;
    float next = is_later ? other.next_time : next_time;
    if (is_later) {
      time = other.time;
      token = other.token;
    }
    next_time = loser < next ? loser : next;
  }
};

static __device__ __forceinline__ Finish nobody() { return {infinity(), infinity(), 0xFFFFFFFFu}; }

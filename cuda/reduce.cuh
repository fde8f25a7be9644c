// How do the threads of a block agree on one value?
//
// Shuffles inside a warp, shared memory between warps. Every merge used here is associative and commutative on bits
// (integer sums, maxima, minima with ids), so the block size cannot change a result. The block is a multiple of 32.
#pragma once
#include "types.cuh"

#define FULL_WARP 0xFFFFFFFFu
#define MAX_WARPS 32

static __device__ __forceinline__ u64 shuffle_u64(u64 value, int distance) {
  u32 low = __shfl_xor_sync(FULL_WARP, (u32)value, distance);
  u32 high = __shfl_xor_sync(FULL_WARP, (u32)(value >> 32), distance);
  return (u64)high << 32 | low;
}

// The sum over the block, in every thread.
static __device__ u64 block_sum(u64 value) {
  __shared__ u64 of_warp[MAX_WARPS];
  for (int distance = 16; distance > 0; distance /= 2) value += shuffle_u64(value, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  u64 total = 0;
  for (u32 warp = 0; warp < blockDim.x / 32; ++warp) total += of_warp[warp];
  __syncthreads();
  return total;
}

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

static __device__ Finish block_finish(Finish finish) {
  __shared__ Finish of_warp[MAX_WARPS];
  for (int distance = 16; distance > 0; distance /= 2) {
    Finish other;
    other.time = __uint_as_float(__shfl_xor_sync(FULL_WARP, __float_as_uint(finish.time), distance));
    other.next_time = __uint_as_float(__shfl_xor_sync(FULL_WARP, __float_as_uint(finish.next_time), distance));
    other.token = __shfl_xor_sync(FULL_WARP, finish.token, distance);
    finish.merge(other);
  }
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = finish;
  __syncthreads();
  finish = nobody();
  for (u32 warp = 0; warp < blockDim.x / 32; ++warp) finish.merge(of_warp[warp]);
  __syncthreads();
  return finish;
}

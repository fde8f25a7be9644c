// Where does an order end? Twin of `cut_by_mass` in rust/decode/src/sample/keep.rs.
//
// Radix selection on a u64 order, one byte at a time: sum the mass of every byte value among the elements that share
// the prefix found so far, take the byte in which the running mass crosses the limit, go on inside it. Sums are
// integers, so the order of the atomic additions does not matter.
#pragma once
#include "reduce.cuh"

#define N_DIGITS 256

// The last element, in ascending order, before which there is less mass than `limit`. Elements 0 .. n, of which
// `visit(i, &order, &mass)` says whether they take part. All threads of the block call it and get the same answer.
template <class Visit>
static __device__ u64 find_cut(u32 n, double limit, Visit visit) {
  __shared__ u64 masses[N_DIGITS];
  __shared__ u64 found_prefix, found_before;
  u64 prefix = 0, before = 0;
  limit = limit > 0.5 ? limit : 0.5;
  for (int shift = 56; shift >= 0; shift -= 8) {
    // Ids are below 2^24: their top byte is zero. It is the place to ask whether there is a tie at all.
    if (shift == 24) {
      u64 n_ties = 0;
      for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        u64 order, mass;
        if (visit(i, &order, &mass)) n_ties += order >> 32 == prefix >> 32;
      }
      if (block_sum(n_ties) == 1) return prefix | 0xFFFFFFFFu;
      continue;
    }
    for (u32 digit = threadIdx.x; digit < N_DIGITS; digit += blockDim.x) masses[digit] = 0;
    __syncthreads();
    u64 above = shift == 56 ? 0 : ~0ull << (shift + 8);
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
      u64 order, mass;
      if (visit(i, &order, &mass) && (order & above) == prefix) atomicAdd(&masses[order >> shift & 255], mass);
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      u32 lane = threadIdx.x;
      const u32 per_lane = N_DIGITS / 32;
      u64 own = 0;
      for (u32 digit = 0; digit < per_lane; ++digit) own += masses[lane * per_lane + digit];
      u64 through = own;
      for (u32 distance = 1; distance < 32; distance *= 2) {
        u32 low = __shfl_up_sync(FULL_WARP, (u32)through, distance);
        u32 high = __shfl_up_sync(FULL_WARP, (u32)(through >> 32), distance);
        if (lane >= distance) through += (u64)high << 32 | low;
      }
      u64 start = before + through - own;
      // The lanes that start below the limit are the first ones; the crossing is in the last of them.
      u32 n_lanes = __popc(__ballot_sync(FULL_WARP, (double)start < limit));
      if (lane + 1 == n_lanes) {
        u32 digit = lane * per_lane;
        u32 end = digit + per_lane - 1;
        while (digit < end && (double)(start + masses[digit]) < limit) start += masses[digit++];
        found_prefix = prefix | (u64)digit << shift;
        found_before = start;
      }
    }
    __syncthreads();
    prefix = found_prefix;
    before = found_before;
    __syncthreads();
  }
  return prefix;
}

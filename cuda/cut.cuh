// Where does an order end? Twin of `cut_by_mass` in rust/decode/src/sample/keep.rs.
//
// Radix selection on a u64 order, one byte at a time: sum the mass of every byte value among the elements that share
// the prefix found so far, take the byte in which the running mass crosses the limit, go on inside it. Sums are
// integers, so the order of the atomic additions does not matter. One barrier of the team a byte.
#pragma once
#include "team.cuh"

#define N_DIGITS 256

struct CutSpace {
  u64 masses[2][N_DIGITS];
  u64 prefix, before;
};

__shared__ CutSpace cut_space;

// The last element, in ascending order, before which there is less mass than `limit`; with `keeps_ties`, and all that
// have its upper half. `pass(visit)` calls `visit(order, mass)` for this thread's elements. All of them lie between
// `least` and `greatest`. All threads of the team call it and get the same answer.
template <class Pass>
static __device__ u64 find_cut(double limit, bool keeps_ties, u64 least, u64 greatest, Pass pass) {
  u64(&masses)[2][N_DIGITS] = cut_space.masses;
  limit = limit > 0.5 ? limit : 0.5;
  team_wait();  // the other blocks may still read what the last cut left
  // The bytes that all elements share need not be looked for.
  int shift = 56;
  while (shift > 0 && (least >> shift) == (greatest >> shift)) shift -= 8;
  if (shift == 0 && least == greatest) return least;
  u64 prefix = shift == 56 ? 0 : least & (~0ull << (shift + 8)), before = 0;
  if (keeps_ties && shift < 32) return least | 0xFFFFFFFFull;
#pragma unroll 1
  for (; shift >= 0; shift -= 8) {
    if (shift == 24) {
      if (keeps_ties) return prefix | 0xFFFFFFFFull;
      // Ids are below 2^24: their top byte is zero. It is the place to ask whether there is a tie at all.
      u64 n_ties = 0;
      pass([&](u64 order, u64) { n_ties += order >> 32 == prefix >> 32; });
      if (merged(Sum{n_ties}).value == 1) return prefix | 0xFFFFFFFFull;
      continue;
    }
    u64* own = masses[shift / 8 & 1];
    for (u32 digit = threadIdx.x; digit < N_DIGITS; digit += blockDim.x) own[digit] = 0;
    __syncthreads();
    u64 above = shift == 56 ? 0 : ~0ull << (shift + 8);
    pass([&](u64 order, u64 mass) {
      if (mass && (order & above) == prefix) atomicAdd(&own[order >> shift & 255], mass);
    });
    team_wait();
    if (threadIdx.x < 32) {
      u32 lane = threadIdx.x;
      const u32 per_lane = N_DIGITS / 32;
      u64 of_digit[per_lane];
      u64 total = 0;
#pragma unroll
      for (u32 n = 0; n < per_lane; ++n) {
        of_digit[n] = 0;
#pragma unroll 1
        for (u32 rank = 0; rank < cluster_size(); ++rank) of_digit[n] += *cluster_peer(&own[lane * per_lane + n], rank);
        total += of_digit[n];
      }
      u64 through = total;
      for (u32 distance = 1; distance < 32; distance *= 2) {
        u32 low = __shfl_up_sync(FULL_WARP, (u32)through, distance);
        u32 high = __shfl_up_sync(FULL_WARP, (u32)(through >> 32), distance);
        if (lane >= distance) through += (u64)high << 32 | low;
      }
      u64 start = before + through - total;
      // The lanes that start below the limit are the first ones; the crossing is in the last of them.
      u32 n_lanes = __popc(__ballot_sync(FULL_WARP, (double)start < limit));
      if (lane + 1 == n_lanes) {
        u32 digit = 0;
        bool is_found = false;
#pragma unroll
        for (u32 n = 0; n + 1 < per_lane; ++n) {
          is_found = is_found || !((double)(start + of_digit[n]) < limit);
          if (!is_found) start += of_digit[n], digit = n + 1;
        }
        cut_space.prefix = prefix | (u64)(lane * per_lane + digit) << shift;
        cut_space.before = start;
      }
    }
    __syncthreads();
    prefix = cut_space.prefix;
    before = cut_space.before;
  }
  return prefix;
}

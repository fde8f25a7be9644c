// Which tokens arrive first, and which come next? Twin of `RaceOrder` in rust/decode/src/sample/finishers.rs, bit for
// bit.
//
// The keys of the race that `tokenloom_sample` runs, at temperature 1: a caller that checks tokens one by one (adaptive
// rejection) wants the first few, and later those behind a known key. Keys are a function of the address, so nothing is
// kept between launches. One read of the row; times replace logits in shared memory, and the cut looks only at times.
#include "cut.cuh"
#include "noise.cuh"
#include "row.cuh"

#define MOST_ARRIVALS 256u

__shared__ Part part;
__shared__ u64 arrived[MOST_ARRIVALS];
__shared__ u32 n_arrived;

// This thread's arrivals, in order of time and token.
struct Times {
  template <class Visit>
  __device__ __forceinline__ void operator()(Visit visit) const {
    part.each([&](u32 token, float time) {
      if (time < infinity()) visit((u64)__float_as_uint(time) << 32 | token, 1);
    });
  }
};

// The first `n_wanted` arrivals of each row behind (`after_times`, `after_tokens`), a token of -1 is the start.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_arrivals(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, const u64* seeds,
                       const u64* positions, u32 purpose, const float* after_times, const i64* after_tokens,
                       u32 n_wanted, float* workspace, i64* tokens, float* times, float* log_probs, i8* statuses) {
  const u32 n_row = blockIdx.y;
  const bool is_first = cluster_rank() == 0 && threadIdx.x == 0;
  Source source = {(const u8*)logits + (u64)n_row * row_stride * (dtype == FLOAT32 ? 4 : 2), dtype, nullptr, nullptr,
                   0};
  const u32 n_blocks = cluster_size();
  float* of_row = workspace ? workspace + (u64)n_row * n_blocks * tokens_of_part(n_vocab, n_blocks) : nullptr;
  const Extent extent = read_part(part, source, n_vocab, of_row);
  const bool is_good = extent.n_bad == 0 && extent.max > -infinity();
  const u64 first_out = (u64)n_row * n_wanted;
  u64 n_found = 0;
  if (is_good) {
    const Rng rng = {seeds[n_row], positions[n_row], purpose};
    const i64 after_token = after_tokens[n_row];
    const u64 after = after_token < 0 ? 0 : (u64)__float_as_uint(after_times[n_row]) << 32 | (u32)after_token;
    u64 total = 0;
#pragma unroll 1
    for (u32 i = 4 * threadIdx.x; i < part.n_tokens; i += 4 * blockDim.x) {
      const u32 first = part.first + i;
      const Words words = rng.words(first >> 2, 0);
#pragma unroll 1
      for (u32 n = 0; n < 4; ++n) {
        float weight = exp_negative(part.values[i + n] - extent.max);
        total += mass_of(weight);
        float time = weight > 0.0f ? wait_of(rng, first + n, words.of(n)) / weight : infinity();
        u64 order = (u64)__float_as_uint(time) << 32 | (first + n);
        part.values[i + n] = after_token < 0 || order > after ? time : infinity();
      }
    }
    total = merged(Sum{total}).value;
    const u64 last = find_cut((double)n_wanted, false, 0, ~0ull, Times());
    if (threadIdx.x == 0) n_arrived = 0;
    __syncthreads();
    part.each([&](u32 token, float time) {
      u64 order = (u64)__float_as_uint(time) << 32 | token;
      if (time < infinity() && order <= last) {
        u32 place = atomicAdd(&n_arrived, 1u);
        if (place < MOST_ARRIVALS) arrived[place] = order;
      }
    });
    team_wait();
    const float log_total = ln_mass(total);
    for (u32 rank = 0; rank < n_blocks; ++rank) n_found += *cluster_peer(&n_arrived, rank);
    for (u32 n = threadIdx.x; n < n_arrived; n += blockDim.x) {
      const u64 own = arrived[n];
      u32 place = 0;
      for (u32 rank = 0; rank < n_blocks; ++rank) {
        const u64* others = cluster_peer(arrived, rank);
        const u32 n_others = *cluster_peer(&n_arrived, rank);
        for (u32 other = 0; other < n_others; ++other) place += others[other] < own;
      }
      const u32 token = (u32)own;
      tokens[first_out + place] = token;
      times[first_out + place] = __uint_as_float((u32)(own >> 32));
      log_probs[first_out + place] = load_float(source.logits, token, dtype) - extent.max - log_total;
    }
  }
  if (cluster_rank() == 0) {
    for (u64 n = n_found + threadIdx.x; n < n_wanted; n += blockDim.x) {
      tokens[first_out + n] = -1;
      times[first_out + n] = infinity();
      log_probs[first_out + n] = -infinity();
    }
  }
  if (is_first) statuses[n_row] = is_good ? 0 : extent.n_bad ? 1 : 2;
  team_wait();  // the others may still read from this block
}

// How is the next token drawn from a row of logits, in one launch? Twin of rust/decode/src/sample, bit for bit.
//
// A team of blocks takes a row: reads it once (row.cuh), goes through the row's operations (kept.cuh) and runs the race
// (noise.cuh) among what is left. No host synchronisation and nothing allocated: the launch can be captured in a graph.
//
// Reads of global memory: one of the row, V/8 bytes of mask, the adjusted tokens.
#include "kept.cuh"
#include "noise.cuh"

// The race among the kept tokens, and their mass in `kept.found`. A waiting time is at least the fraction that its word
// is of 2^32, so most tokens are passed by without a logarithm and a division.
static __device__ __noinline__ Finish race(const Rng rng) {
  __shared__ u32 latest_bits;
  if (threadIdx.x == 0) latest_bits = __float_as_uint(infinity());
  __syncthreads();
  Finish finish = nobody();
  u64 sum = 0;
  const Scale scale = kept.scale;
  const bool is_listed = kept.part.n_listed != NOTHING;
  const u32 width = is_listed ? 1 : 4, n_tokens = is_listed ? kept.part.n_listed : kept.part.n_tokens;
  const float* logits = is_listed ? kept.part.listed_logits : kept.part.values;
#pragma unroll 1
  for (u32 i = width * threadIdx.x; i < n_tokens; i += width * blockDim.x) {
    const u32 first = is_listed ? kept.part.listed_tokens[i] : kept.part.first + i;
    float heaviest = 0.0f;
    u32 flags = 0;
#pragma unroll 1
    for (u32 n = 0; n < width; ++n) {
      float logit = logits[i + n];
      if (!kept.has(first + n, logit)) continue;
      float weight = scale.weight(logit);
      sum += mass_of(weight);
      heaviest = weight > heaviest ? weight : heaviest;
      flags |= 1u << n;
    }
    if (heaviest == 0.0f) continue;
    const Words words = rng.words(first >> 2, 0);
    // The slack covers the rounding of waiting times, weights and quotients.
    const float latest = __uint_as_float(*(volatile u32*)&latest_bits) * heaviest * 4.3e9f + 1.0f;
#pragma unroll 1
    for (u32 n = 0; n < width; ++n) {
      u32 word = words.of((first + n) & 3);
      if (!(flags >> n & 1) || (float)word > latest) continue;
      float weight = scale.weight(logits[i + n]);
      finish.merge({wait_of(rng, first + n, word) / weight, infinity(), first + n});
    }
    if (finish.next_time < infinity()) atomicMin(&latest_bits, __float_as_uint(finish.next_time));
  }
  sum = merged(Sum{sum}).value;
  if (threadIdx.x == 0) kept.found.total = sum;
  return merged(finish);
}

extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_sample(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, const u32* mask, i64 mask_stride,
                     const Shape* shapes, const Adjust* adjusts, const i64* adjust_offsets, const u64* seeds,
                     const u64* positions, u32 purpose, const float* mus, float* workspace, i64* tokens,
                     float* log_probs, i8* statuses, float* margins, float* new_mus) {
  u32 n_row = blockIdx.y;
  const Shape& shape = shapes[n_row];
  float mu = mus ? mus[n_row] : not_a_number();
  mu = mu == mu ? mu : 2.0f * shape.mirostat_tau;

  Source source = source_of(logits, row_stride, dtype, n_row);
  source.mask = mask ? mask + n_row * mask_stride : nullptr;
  source.adjusts = adjusts ? adjusts + adjust_offsets[n_row] : nullptr;
  source.n_adjusts = adjusts ? adjust_offsets[n_row + 1] - adjust_offsets[n_row] : 0;
  i32 status = begin(source, n_vocab, workspace, n_row);
  if (status) {
    if (cluster_rank() == 0 && threadIdx.x == 0) {
      tokens[n_row] = -1;
      log_probs[n_row] = margins[n_row] = new_mus[n_row] = not_a_number();
      statuses[n_row] = status;
    }
    return;
  }
  Rng rng = {seeds[n_row], positions[n_row], purpose};
  bool is_greedy = apply_all(shape, rng, mu);

  Finish finish;
  float log_prob = 0.0f, margin;
  if (is_greedy) {
    finish.token = (u32)kept.found.best;
    u64 next = kept.found.next;
    margin = next == ~0ull ? infinity() : logit_of(kept.found.best) - logit_of(next);
  } else {
    finish = race(rng);
    float ratio = finish.next_time / finish.time;
    margin = ratio < infinity() ? ln(ratio) : infinity();
    log_prob = -ln_mass(kept.found.total);
  }
  // The block that has the token writes; it has the logit too.
  if (kept.part.holds(finish.token) && threadIdx.x == 0) {
    if (!is_greedy) log_prob += kept.scale.log_weight(kept.part.values[finish.token - kept.part.first]);
    tokens[n_row] = finish.token;
    log_probs[n_row] = log_prob;
    statuses[n_row] = 0;
    margins[n_row] = margin;
    if (shape.mirostat) {
      float surprise = -log_prob * 1.44269504088896341f;
      mu -= shape.mirostat_eta * (surprise - shape.mirostat_tau);
    }
    new_mus[n_row] = mu;
  }
}

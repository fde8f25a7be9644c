// What does a row look like, and what do the rules leave of it? Twin of stats.rs and `Sampler::fill_processed` in
// rust/decode/src/sample, bit for bit.
//
// Beside the draw, for those who ask: one more read of the row, which is then often still in the L2 cache. The best
// tokens come one after the other, a pass over what is listed for each.
#include "kept.cuh"

// What the moments of `Survey` do not say, and where a token stands.
struct Standing {
  u64 surprise_squares;
  u64 above;
  u64 rank;

  __device__ void merge(const Standing& other) {
    surprise_squares += other.surprise_squares;
    above += other.above;
    rank += other.rank;
  }
};

struct Least {
  u64 order;

  __device__ void merge(const Least& other) { order = other.order < order ? other.order : order; }
};

static __device__ __noinline__ Standing standing_of(u64 own) {
  Standing found = {0, 0, 0};
  const Scale scale = kept.scale;
  kept.each([&](u32 token, float logit) {
    float log_weight = scale.log_weight(logit);
    float weight = exp_negative(log_weight);
    found.surprise_squares += weight > 0.0f ? mass_of(weight * -log_weight * -log_weight) : 0;
    if (order_of(logit, token) < own) {
      found.above += mass_of(weight);
      ++found.rank;
    }
  });
  return merged(found);
}

// The best of what is left, best first, and the logarithms of their probabilities, `n_top` numbers of each;
// `kept.found` is a survey of it.
static __device__ __noinline__ void write_top(u32 n_top, i64* tokens, float* log_probs) {
  const float log_total = ln_mass(kept.found.total);
  const bool writes = cluster_rank() == 0 && threadIdx.x == 0;
  if (n_top) keep_top_k(n_top, false);
  u64 last = 0;
#pragma unroll 1
  for (u32 n = 0; n < n_top; ++n) {
    Least next = {~0ull};
    if (last != ~0ull) {
      kept.each([&](u32 token, float logit) {
        u64 order = order_of(logit, token);
        next.order = order > last && order < next.order ? order : next.order;
      });
      next = merged(next);
    }
    last = next.order;
    if (writes) {
      tokens[n] = last == ~0ull ? -1 : (i64)(u32)last;
      log_probs[n] = last == ~0ull ? -infinity() : kept.scale.log_weight(logit_of(last)) - log_total;
    }
  }
}

static __device__ void write_no_top(u32 n_top, i64* tokens, float* log_probs) {
  if (cluster_rank()) return;
  for (u32 n = threadIdx.x; n < n_top; n += blockDim.x) {
    tokens[n] = -1;
    log_probs[n] = -infinity();
  }
}

// The numbers of `LogitStats` but for the rank, of rows as the model gave them, and where the drawn tokens stand; a
// token of -1 is none. `quantiles` are shares of the mass.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_stats(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, const i64* drawn,
                    const double* quantiles, u32 n_quantiles, u32 n_top, float* workspace, float* raw_log_probs,
                    float* numbers, i64* ranks, i64* top_tokens, float* top_log_probs) {
  const u32 n_row = blockIdx.y, n_numbers = 7 + n_quantiles;
  const bool writes = cluster_rank() == 0 && threadIdx.x == 0;
  const Source source = source_of(logits, row_stride, dtype, n_row);
  const i64 token = drawn[n_row];
  float* of_row = numbers + (u64)n_row * n_numbers;
  top_tokens += (u64)n_row * n_top;
  top_log_probs += (u64)n_row * n_top;
  i32 status = begin(source, n_vocab, workspace, n_row);
  if (status || token < 0) {
    if (writes) {
      for (u32 n = 0; n < n_numbers; ++n) of_row[n] = not_a_number();
      raw_log_probs[n_row] = not_a_number();
      ranks[n_row] = -1;
    }
    write_no_top(n_top, top_tokens, top_log_probs);
    return;
  }
  survey(0.0f, infinity());
  const float own_logit = load_float(source.logits, token, dtype);
  const Standing standing = standing_of(order_of(own_logit, (u32)token));
  const double total = (double)kept.found.total;
  const float log_total = ln_mass(kept.found.total), center = kept.found.center();
  if (writes) {
    const double spread = (double)standing.surprise_squares / total - (double)center * (double)center;
    const u64 next = kept.found.next;
    of_row[0] = kept.scale.max + log_total;
    of_row[1] = log_total + center;
    of_row[2] = (float)(spread > 0.0 ? spread : 0.0);
    of_row[3] = (float)((double)kept.found.squares * 4398046511104.0 / (total * total));
    of_row[4] = -log_total;
    of_row[5] = next == ~0ull ? infinity() : kept.scale.max - logit_of(next);
    of_row[6] = (float)((double)standing.above / total);
    raw_log_probs[n_row] = kept.scale.log_weight(own_logit) - log_total;
    ranks[n_row] = (i64)standing.rank;
  }
#pragma unroll 1
  for (u32 n = 0; n < n_quantiles; ++n) {
    cut(MASS_OF_BEST, quantiles[n] * total, true, 0.0f, kept.found.best, ~0ull);
    if (writes) of_row[7 + n] = log_total - kept.scale.log_weight(logit_of(kept.cut));
  }
  write_top(n_top, top_tokens, top_log_probs);
  team_wait();  // the others may still read what this block has
}

// The logits that the rules leave, adjusted and divided by the temperature, `-inf` elsewhere, where `processed` is not
// null; and the best of them with their probabilities under the rules.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_process(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, const u32* mask, i64 mask_stride,
                      const Shape* shapes, const Adjust* adjusts, const i64* adjust_offsets, const u64* seeds,
                      const u64* positions, const float* mus, u32 n_top, float* workspace, float* processed,
                      i8* statuses, i64* top_tokens, float* top_log_probs) {
  const u32 n_row = blockIdx.y;
  const Shape& shape = shapes[n_row];
  float mu = mus ? mus[n_row] : not_a_number();
  mu = mu == mu ? mu : 2.0f * shape.mirostat_tau;
  Source source = source_of(logits, row_stride, dtype, n_row);
  source.mask = mask ? mask + n_row * mask_stride : nullptr;
  source.adjusts = adjusts ? adjusts + adjust_offsets[n_row] : nullptr;
  source.n_adjusts = adjusts ? adjust_offsets[n_row + 1] - adjust_offsets[n_row] : 0;
  float* of_row = processed ? processed + (u64)n_row * n_vocab : nullptr;
  top_tokens += (u64)n_row * n_top;
  top_log_probs += (u64)n_row * n_top;
  i32 status = begin(source, n_vocab, workspace, n_row);
  if (cluster_rank() == 0 && threadIdx.x == 0) statuses[n_row] = status;
  const u32 first = kept.part.first, n_tokens = first < n_vocab ? n_vocab - first : 0;
  const u32 n_own = n_tokens < kept.part.n_tokens ? n_tokens : kept.part.n_tokens;
  if (status) {
    if (of_row) {
      for (u32 i = threadIdx.x; i < n_own; i += blockDim.x) of_row[first + i] = not_a_number();
    }
    write_no_top(n_top, top_tokens, top_log_probs);
    return;
  }
  const bool is_greedy = apply_all(shape, Rng{seeds[n_row], positions[n_row], 0}, mu);
  if (is_greedy) {
    if (threadIdx.x == 0) {
      kept.last_best = kept.found.best;
      kept.scale = {logit_of(kept.found.best), 1.0f};
    }
    __syncthreads();
  }
  survey(0.0f, infinity());
  if (of_row) {
    const Scale scale = kept.scale;
    for (u32 i = threadIdx.x; i < n_own; i += blockDim.x) {
      const float logit = kept.part.values[i];
      const float left = is_greedy ? 0.0f : logit / scale.temperature;
      of_row[first + i] = kept.has(first + i, logit) ? left : -infinity();
    }
  }
  write_top(n_top, top_tokens, top_log_probs);
  team_wait();  // the others may still read what this block has
}

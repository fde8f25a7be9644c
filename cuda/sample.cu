// How is the next token drawn from a row of logits, in one launch? Twin of rust/decode/src/sample, bit for bit.
//
// One block a row: read the row for its best token and its status, cut by top-k, top-p, min-p and typical in that order
// (cut.cuh), run the race (noise.cuh). Whatever is summed is an integer and whatever is compared has an id to break the
// tie, so neither the block size nor the batch can change a token, a log-probability or a status. No workspace, no host
// synchronisation: the launch can be captured in a graph.
//
// Reads of a row of V logits: 2 without cuts; each of top-k, top-p and typical adds 5 to 8, most of them from L2.
#include "cut.cuh"
#include "noise.cuh"

struct Row {
  const float* logits;
  const u32* mask;  // bit t % 32 of word t / 32 allows token t; null allows all
  u32 n_vocab;
  float max;
  float temperature;

  // A token that is not allowed cannot occur.
  __device__ float logit(u32 token) const {
    bool allowed = !mask || (mask[token / 32] >> (token % 32) & 1);
    return allowed ? logits[token] : -infinity();
  }
  __device__ float log_weight(float logit) const { return (logit - max) / temperature; }
  __device__ float weight(float logit) const { return exp_negative(log_weight(logit)); }
};

// Better logits are smaller, ties are in order of id; -0.0 and 0.0 are one value.
static __device__ __forceinline__ u64 order_of(float logit, u32 token) {
  u32 bits = __float_as_uint(logit + 0.0f);
  u32 ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
  return (u64)~ascending << 32 | token;
}

static __device__ __forceinline__ float logit_of(u64 order) {
  u32 ascending = ~(u32)(order >> 32);
  return __uint_as_float(ascending >> 31 ? ascending & 0x7FFFFFFFu : ~ascending);
}

// What the rules have kept so far.
struct Kept {
  u64 last_best;     // best first, up to this one
  u64 last_typical;  // nearest to the entropy first, up to this one
  float center;      // the entropy, less the surprise of the best token
  float min_weight;

  __device__ u64 typical_order(const Row& row, float logit, u32 token) const {
    return (u64)__float_as_uint(fabsf(-row.log_weight(logit) - center)) << 32 | token;
  }
  __device__ bool has(const Row& row, float logit, u32 token) const {
    if (!(logit > -infinity()) || order_of(logit, token) > last_best) return false;
    if (min_weight > 0.0f && row.weight(logit) < min_weight) return false;
    return last_typical == ~0ull || typical_order(row, logit, token) <= last_typical;
  }
};

static __device__ u64 total_mass(const Row& row, const Kept& kept) {
  u64 total = 0;
  for (u32 token = threadIdx.x; token < row.n_vocab; token += blockDim.x) {
    float logit = row.logit(token);
    if (kept.has(row, logit, token)) total += mass_of(row.weight(logit));
  }
  return block_sum(total);
}

static __device__ void keep_top_k(const Row& row, Kept& kept, u32 k, float own_max) {
  // The k-th best of the maxima of the threads: at least k tokens reach it, so worse ones need not be counted.
  float bound = -infinity();
  if (k <= blockDim.x) {
    auto maxima = [&](u32 thread, u64* order, u64* mass) {
      *order = order_of(own_max, thread);
      *mass = 1;
      return thread == threadIdx.x;
    };
    bound = logit_of(find_cut(blockDim.x, (double)k, maxima));
  }
  u64 n_listed = 0;
  for (u32 token = threadIdx.x; token < row.n_vocab; token += blockDim.x) {
    float logit = row.logit(token);
    n_listed += logit > -infinity() && logit >= bound;
  }
  if (block_sum(n_listed) < k) return;
  u64 last = find_cut(row.n_vocab, (double)k, [&](u32 token, u64* order, u64* mass) {
    float logit = row.logit(token);
    *order = order_of(logit, token);
    *mass = 1;
    return logit > -infinity() && logit >= bound;
  });
  kept.last_best = last | 0xFFFFFFFFu;  // and all that tie with it
}

static __device__ void keep_top_p(const Row& row, Kept& kept, double top_p) {
  u64 total = total_mass(row, kept);
  // Tokens below half of (1 - p) times the mean hold less than 1 - p together: the cut lies above them.
  float bound = -infinity();
  if (1.0 - top_p > 1e-6) {
    float share = (float)((1.0 - top_p) / 2.0) * ((float)total * 2.2737368e-13f) / (float)row.n_vocab;
    float log_share = ln(share);
    bound = row.max + row.temperature * (log_share - 1e-4f * (1.0f + fabsf(log_share)));
    bound -= fabsf(bound) * 1e-6f;
  }
  kept.last_best = find_cut(row.n_vocab, top_p * (double)total, [&](u32 token, u64* order, u64* mass) {
    float logit = row.logit(token);
    *order = order_of(logit, token);
    *mass = mass_of(row.weight(logit));
    return logit >= bound && kept.has(row, logit, token);
  });
}

static __device__ void keep_typical(const Row& row, Kept& kept, double typical_p) {
  u64 total = 0, surprise = 0;
  for (u32 token = threadIdx.x; token < row.n_vocab; token += blockDim.x) {
    float logit = row.logit(token);
    if (!kept.has(row, logit, token)) continue;
    float weight = row.weight(logit);
    total += mass_of(weight);
    if (weight > 0.0f) surprise += mass_of(weight * -row.log_weight(logit));
  }
  total = block_sum(total);
  surprise = block_sum(surprise);
  kept.center = (float)((double)surprise / (double)total);
  u64 last = find_cut(row.n_vocab, typical_p * (double)total, [&](u32 token, u64* order, u64* mass) {
    float logit = row.logit(token);
    *order = kept.typical_order(row, logit, token);
    *mass = mass_of(row.weight(logit));
    return kept.has(row, logit, token);
  });
  kept.last_typical = last | 0xFFFFFFFFu;  // and all that are as near
}

// The best logit that is kept: typical may have removed the best of all.
static __device__ float best_kept(const Row& row, const Kept& kept) {
  Finish best = nobody();
  for (u32 token = threadIdx.x; token < row.n_vocab; token += blockDim.x) {
    float logit = row.logit(token);
    if (kept.has(row, logit, token)) best.merge({-logit, infinity(), token});
  }
  return -block_finish(best).time;
}

// The race among the kept tokens, weighed as `weighed` says, and their mass.
static __device__ Finish race(const Row& row, const Row& weighed, const Kept& kept, const Rng& rng, u64* total) {
  Finish finish = nobody();
  u64 sum = 0;
  for (u32 block = threadIdx.x; block < (row.n_vocab + 3) / 4; block += blockDim.x) {
    u32 first = 4 * block;
    float logits[4];
    u32 flags = 0;
#pragma unroll
    for (u32 word = 0; word < 4; ++word) {
      u32 token = first + word;
      logits[word] = token < row.n_vocab ? row.logit(token) : -infinity();
      flags |= (u32)kept.has(row, logits[word], token) << word;
    }
    if (!flags) continue;
    Words words = rng.words(block, 0);
#pragma unroll
    for (u32 word = 0; word < 4; ++word) {
      if (!(flags >> word & 1)) continue;
      float weight = weighed.weight(logits[word]);
      sum += mass_of(weight);
      finish.merge({wait_of(rng, first + word, words.word[word]) / weight, infinity(), first + word});
    }
  }
  *total = block_sum(sum);
  return block_finish(finish);
}

// The best two tokens as a race whose times are the negative logits; `is_bad` if a logit is NaN or +inf.
static __device__ Finish best_two(const Row& row, bool* is_bad) {
  Finish finish = nobody();
  u64 n_bad = 0;
  for (u32 token = threadIdx.x; token < row.n_vocab; token += blockDim.x) {
    float logit = row.logit(token);
    n_bad += !(logit < infinity());
    if (logit > -infinity()) finish.merge({-logit, infinity(), token});
  }
  *is_bad = block_sum(n_bad) > 0;
  return finish;
}

extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_sample(const float* logits, i64 row_stride, u32 n_vocab, const u32* mask, i64 mask_stride,
                     const float* temperatures, const i64* top_ks, const double* top_ps, const double* min_ps,
                     const double* typical_ps, const u64* seeds, const u64* positions, u32 purpose, i64* tokens,
                     float* log_probs, i8* statuses, float* margins) {
  u32 n_row = blockIdx.x;
  Row row;
  row.logits = logits + n_row * row_stride;
  row.mask = mask ? mask + n_row * mask_stride : nullptr;
  row.n_vocab = n_vocab;
  row.temperature = temperatures[n_row];

  bool is_bad;
  Finish own = best_two(row, &is_bad);
  Finish finish = block_finish(own);
  row.max = -finish.time;
  bool is_empty = finish.token == 0xFFFFFFFFu;
  if (is_bad || is_empty) {
    if (threadIdx.x == 0) {
      tokens[n_row] = -1;
      log_probs[n_row] = margins[n_row] = __uint_as_float(0x7FC00000u);
      statuses[n_row] = is_bad ? 1 : 2;
    }
    return;
  }

  float log_prob = 0.0f, margin = finish.next_time - finish.time;
  bool is_greedy = row.temperature < 1.17549435e-38f;
  if (!is_greedy) {
    Kept kept = {~0ull, ~0ull, 0.0f, 0.0f};
    i64 top_k = top_ks[n_row];
    if (top_k > 0 && top_k < (i64)n_vocab) keep_top_k(row, kept, (u32)top_k, -own.time);
    if (top_ps[n_row] < 1.0) keep_top_p(row, kept, top_ps[n_row]);
    kept.min_weight = (float)min_ps[n_row];
    Row weighed = row;
    if (typical_ps[n_row] < 1.0) {
      keep_typical(row, kept, typical_ps[n_row]);
      weighed.max = best_kept(row, kept);
    }
    u64 total;
    Rng rng = {seeds[n_row], positions[n_row], purpose};
    finish = race(row, weighed, kept, rng, &total);
    log_prob = weighed.log_weight(row.logits[finish.token]) - ln_mass(total);
    float ratio = finish.next_time / finish.time;
    margin = ratio < infinity() ? ln(ratio) : infinity();
  }
  if (threadIdx.x == 0) {
    tokens[n_row] = finish.token;
    log_probs[n_row] = log_prob;
    statuses[n_row] = 0;
    margins[n_row] = margin;
  }
}

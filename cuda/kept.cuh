// Which tokens of a row do the rules keep? Twin of shape.rs and keep.rs in rust/decode/src/sample, bit for bit.
//
// What is kept is a cut of the order (value falling, id rising) and a list of conditions; nothing is written per token.
// Whatever is summed is an integer and whatever is compared has an id to break the tie, so neither the number of blocks
// nor their size nor the batch can change a token, a log-probability or a status.
//
// Passes over shared memory: two for each threshold, about ten for a cut in which more than N_LISTED tokens of a block
// take part.
#pragma once
#include "cut.cuh"
#include "philox.cuh"
#include "row.cuh"

#define TEMPERATURE 1u
#define TOP_K 2u
#define TOP_K_WITH_TIES 3u
#define TOP_P 4u
#define MIN_P 5u
#define TYPICAL 6u
#define TYPICAL_WITH_TIES 7u
#define EPSILON 8u
#define ETA 9u
#define TOP_N_SIGMA 10u
#define P_LESS 11u
#define XTC 12u
#define MIROSTAT 13u

// The numbers of a row's operations: `Shape` in rust/decode/src/sample/shape.rs, byte for byte.
struct Shape {
  u64 ops;
  double top_p;
  double typical_p;
  u64 xtc_cells;
  u32 top_k;
  u32 mirostat;
  float temperature;
  float temperature_range;
  float temperature_exponent;
  float min_p;
  float epsilon;
  float eta;
  float sqrt_eta;
  float n_sigma;
  u32 p_less_is_normed;
  float xtc_threshold;
  float mirostat_tau;
  float mirostat_eta;
};

#define XTC_PURPOSE 0x40000001u

struct Scale {
  float max;
  float temperature;

  __device__ float log_weight(float logit) const { return (logit - max) / temperature; }
  __device__ float weight(float logit) const { return exp_negative(log_weight(logit)); }
  // A logit that every token with at least this log-weight reaches, whatever the rounding.
  __device__ float logit_bound(float log_weight) const {
    float bound = max + temperature * (log_weight - 1e-4f * (1.0f + fabsf(log_weight)));
    return bound - fabsf(bound) * 1e-6f;
  }
};

static __device__ __forceinline__ float units_of(u64 mass) { return (float)mass * 2.2737368e-13f; }

// What keeps a token. Every operation adds one; a token must pass all of them.
#define WEIGHT_OF_AT_LEAST 0u
#define LOGIT_OF_AT_LEAST 1u
#define NEAR_THE_ENTROPY 2u
#define NOT_BETTER_THAN 3u

#define MAX_CONDITIONS 16

struct Condition {
  u64 order;
  Scale scale;
  float number;
  u32 kind;

  __device__ u64 distance_order(float logit, u32 token) const {
    return (u64)__float_as_uint(fabsf(-scale.log_weight(logit) - number)) << 32 | token;
  }
  __device__ bool holds(float logit, u32 token) const {
    if (kind == WEIGHT_OF_AT_LEAST) return scale.weight(logit) >= number || logit == scale.max;
    if (kind == LOGIT_OF_AT_LEAST) return logit >= number;
    if (kind == NEAR_THE_ENTROPY) return distance_order(logit, token) <= order;
    return order_of(logit, token) >= order;
  }
};

// What there is among the kept tokens, in one pass.
struct Survey {
  u64 total;
  u64 surprise;
  u64 squares;
  u64 deviations;
  u64 squared_deviations;
  u64 best;          // order of the best token
  u64 next;          // and of the next
  u64 last_obvious;  // the worst order among tokens of at least some weight; 0 without any
  u64 n_tokens;
  float least;
  u32 padding;

  __device__ void merge(const Survey& other) {
    total += other.total;
    surprise += other.surprise;
    squares += other.squares;
    deviations += other.deviations;
    squared_deviations += other.squared_deviations;
    u64 later = best > other.best ? best : other.best;
    best = best < other.best ? best : other.best;
    next = next < other.next ? next : other.next;
    next = later < next ? later : next;
    last_obvious = other.last_obvious > last_obvious ? other.last_obvious : last_obvious;
    n_tokens += other.n_tokens;
    least = other.least < least ? other.least : least;
  }
  // The mean of the surprise relative to the best token: the entropy without the logarithm of the total.
  __device__ float center() const { return (float)((double)surprise / (double)total); }
  __device__ float entropy() const { return ln_mass(total) + center(); }
};

static __device__ __forceinline__ float deviation(float logit, float max, float unit) {
  return (max * 0.125f - logit * 0.125f) * unit;
}

// What the operations have left of a row. In shared memory: all threads see the same, thread 0 changes it.
struct Kept {
  Part part;
  Scale scale;
  u64 last_best;  // best first, up to this one
  Condition conditions[MAX_CONDITIONS];
  u32 n_conditions;
  u32 n_vocab;
  Survey found;
  u64 cut;

  __device__ bool has(u32 token, float logit) const {
    if (!(logit > -infinity()) || order_of(logit, token) > last_best) return false;
#pragma unroll 1
    for (u32 n = 0; n < n_conditions; ++n) {
      if (!conditions[n].holds(logit, token)) return false;
    }
    return true;
  }

  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    part.each([&](u32 token, float logit) {
      if (has(token, logit)) visit(token, logit);
    });
  }
};

__shared__ Kept kept;

// Look at what is left; leaves what it sees in `kept.found`. Tokens of at least the weight `obvious` are obvious.
static __device__ __noinline__ void survey(float unit, float obvious) {
  Survey own = {0, 0, 0, 0, 0, ~0ull, ~0ull, 0, 0, infinity(), 0};
  const Scale scale = kept.scale;
  kept.each([&](u32 token, float logit) {
    float log_weight = scale.log_weight(logit);
    float weight = exp_negative(log_weight);
    u64 order = order_of(logit, token);
    own.total += mass_of(weight);
    own.surprise += weight > 0.0f ? mass_of(weight * -log_weight) : 0;
    own.squares += mass_of(weight * weight);
    if (unit > 0.0f) {
      float x = deviation(logit, scale.max, unit);
      own.deviations += mass_of(x);
      own.squared_deviations += mass_of(x * x);
    }
    u64 later = order > own.best ? order : own.best;
    own.best = order < own.best ? order : own.best;
    own.next = later < own.next ? later : own.next;
    if (weight >= obvious && order > own.last_obvious) own.last_obvious = order;
    ++own.n_tokens;
    own.least = logit < own.least ? logit : own.least;
  });
  own = merged(own);
  if (threadIdx.x == 0) kept.found = own;
  __syncthreads();
}

// From now on, pass by what is not kept, if the rest is few in this block.
static __device__ __noinline__ void list() {
  __shared__ u32 n_kept;
  if (kept.part.n_listed != NOTHING) return;
  if (threadIdx.x == 0) n_kept = 0;
  __syncthreads();
  kept.each([&](u32 token, float logit) {
    u32 place = atomicAdd(&n_kept, 1u);
    if (place < N_LISTED) {
      kept.part.listed_tokens[place] = token;
      kept.part.listed_logits[place] = logit;
    }
  });
  __syncthreads();
  if (threadIdx.x == 0 && n_kept <= N_LISTED) kept.part.n_listed = n_kept;
  __syncthreads();
}

#define ONES_OF_BEST 0u
#define MASS_OF_BEST 1u
#define MASS_OF_NEAR 2u
#define ONES_OF_THREADS 3u

// This thread's elements of an order. A struct: NVRTC 13.0 does not take a lambda of any type for device code.
struct Elements {
  u32 of;
  Condition near;
  u64 own_best;

  template <class Visit>
  __device__ __forceinline__ void operator()(Visit visit) const {
    if (of == ONES_OF_THREADS) {
      if (own_best != ~0ull) visit(own_best, 1);
      return;
    }
    kept.each([&](u32 token, float logit) {
      u64 order = of == MASS_OF_NEAR ? near.distance_order(logit, token) : order_of(logit, token);
      visit(order, of == ONES_OF_BEST ? 1 : mass_of(near.scale.weight(logit)));
    });
  }
};

// The last element of an order before which there is less than `limit`, in `kept.cut`: of the kept tokens, best first,
// by ones or by mass; nearest to the entropy `center` first, by mass; or of the best token of each thread.
static __device__ __noinline__ void cut(u32 of, double limit, bool keeps_ties, float center, u64 least, u64 greatest) {
  Elements elements = {of, {0, kept.scale, center, NEAR_THE_ENTROPY}, ~0ull};
  if (of == ONES_OF_THREADS) {
    kept.each([&](u32 token, float logit) {
      u64 order = order_of(logit, token);
      elements.own_best = order < elements.own_best ? order : elements.own_best;
    });
  }
  u64 found = find_cut(limit, keeps_ties, least, greatest, elements);
  if (threadIdx.x == 0) kept.cut = found;
  __syncthreads();
}

static __device__ void keep_until(u64 last) {
  __syncthreads();
  if (threadIdx.x == 0 && last < kept.last_best) kept.last_best = last;
  __syncthreads();
  list();
}

static __device__ __noinline__ void keep_if(u32 kind, float number, u64 order) {
  __syncthreads();
  if (threadIdx.x == 0) kept.conditions[kept.n_conditions++] = {order, kept.scale, number, kind};
  __syncthreads();
  list();
}

// What is left is weighed against its own best.
static __device__ void rescale() {
  survey(0.0f, infinity());
  if (threadIdx.x == 0 && kept.found.n_tokens) kept.scale.max = logit_of(kept.found.best);
  __syncthreads();
}

static __device__ void keep_top_k(u32 k, bool with_ties) {
  if (kept.found.n_tokens <= k) return;
  const u64 least = kept.found.best;
  // What all blocks know decides, not which of them have a list: a cut is made by all or by none.
  if (kept.found.n_tokens > N_LISTED && k <= cluster_size() * blockDim.x) {
    // The k-th best of the threads' best: at least k tokens reach it, so worse ones need not be looked at.
    cut(ONES_OF_THREADS, (double)k, true, 0.0f, least, ~0ull);
    keep_until(kept.cut);
  }
  cut(ONES_OF_BEST, (double)k, with_ties, 0.0f, least, kept.last_best | 0xFFFFFFFFull);
  keep_until(kept.cut);
}

static __device__ void keep_top_p(double top_p) {
  const u64 least = kept.found.best;
  const double limit = top_p * (double)kept.found.total;
  if (1.0 - top_p > 1e-6) {
    // Below this log-weight all tokens together hold less than (1 - p) / 2 of the mass.
    float share = (float)((1.0 - top_p) / 2.0) * (units_of(kept.found.total) / (float)kept.n_vocab);
    keep_until(order_of(kept.scale.logit_bound(ln(share)), 0) | 0xFFFFFFFFull);
  }
  cut(MASS_OF_BEST, limit, false, 0.0f, least, kept.last_best | 0xFFFFFFFFull);
  keep_until(kept.cut);
}

static __device__ void keep_typical(double typical_p, bool with_ties) {
  const float center = kept.found.center();
  cut(MASS_OF_NEAR, typical_p * (double)kept.found.total, with_ties, center, 0, ~0ull);
  keep_if(NEAR_THE_ENTROPY, center, kept.cut);
  rescale();
}

static __device__ void keep_top_n_sigma(float n_sigma) {
  const float max = kept.scale.max;
  const float range = deviation(kept.found.least, max, 1.0f);
  if (range < 1.17549435e-38f) return;
  // A power of two that is not below the range, so that deviations lie between 0 and 1.
  i32 biased = 127 - ((i32)(__float_as_uint(range) >> 23) - 126);
  biased = biased < 1 ? 1 : biased > 254 ? 254 : biased;
  const float unit = __uint_as_float((u32)biased << 23);
  survey(unit, infinity());
  double scaled = 4398046511104.0 * (double)kept.found.n_tokens;
  double mean = (double)kept.found.deviations / scaled;
  double variance = (double)kept.found.squared_deviations / scaled - mean * mean;
  double sigma = sqrt(variance > 0.0 ? variance : 0.0) / (double)(unit * 0.125f);
  keep_if(LOGIT_OF_AT_LEAST, (float)((double)max - (double)n_sigma * sigma), 0);
}

// The least weight of p-less.
static __device__ float agreement(bool is_normed) {
  const Survey& found = kept.found;
  double least = (double)found.squares / (double)found.total;
  if (is_normed) {
    double n_vocab = (double)kept.n_vocab, others = n_vocab - 1.0;
    double units = (double)found.total / 4398046511104.0;
    least = (n_vocab * least - units) / (others > 1.0 ? others : 1.0);
  }
  return (float)(least > 0.0 ? least : 0.0);
}

static __device__ void remove_obvious(float threshold) {
  survey(0.0f, threshold * units_of(kept.found.total));
  if (kept.found.last_obvious == 0) return;
  keep_if(NOT_BETTER_THAN, 0.0f, kept.found.last_obvious);
  rescale();
}

// The temperature at the entropy of what is left. NaN leaves it as it is.
static __device__ float dynamic_temperature(const Shape& shape) {
  const Survey& found = kept.found;
  if (shape.temperature_range <= 0.0f) return shape.temperature;
  if (found.n_tokens < 2) return not_a_number();
  float share = found.entropy() / ln((float)found.n_tokens);
  share = share < 1.0f ? share : 1.0f;
  float power;
  if (share < 1.17549435e-38f) {
    power = shape.temperature_exponent == 0.0f ? 1.0f : 0.0f;
  } else {
    float exponent = ln(share);
    power = exp_negative(shape.temperature_exponent * (exponent < 0.0f ? exponent : 0.0f));
  }
  float low = shape.temperature - shape.temperature_range;
  low = low > 0.0f ? low : 0.0f;
  return low + (shape.temperature + shape.temperature_range - low) * power;
}

// Apply one operation; false where it leaves the best token alone.
static __device__ bool apply(u32 op, const Shape& shape, u32 coin, float mu) {
  // A fixed temperature and min-p do not ask what is left.
  if (op != MIN_P && !(op == TEMPERATURE && shape.temperature_range <= 0.0f)) survey(0.0f, infinity());
  const float units = units_of(kept.found.total);
  float least = -1.0f;
  if (op == TEMPERATURE) {
    float temperature = dynamic_temperature(shape);
    if (temperature < 1.17549435e-38f) return false;
    __syncthreads();
    if (threadIdx.x == 0 && temperature == temperature) kept.scale.temperature = temperature;
    __syncthreads();
  } else if (op == TOP_K || op == TOP_K_WITH_TIES) {
    keep_top_k(shape.top_k, op == TOP_K_WITH_TIES);
  } else if (op == TOP_P) {
    keep_top_p(shape.top_p);
  } else if (op == MIN_P) {
    least = shape.min_p;
  } else if (op == TYPICAL || op == TYPICAL_WITH_TIES) {
    keep_typical(shape.typical_p, op == TYPICAL_WITH_TIES);
  } else if (op == EPSILON) {
    least = shape.epsilon * units;
  } else if (op == ETA) {
    least = shape.sqrt_eta * exp_negative(-kept.found.entropy());
    least = (shape.eta < least ? shape.eta : least) * units;
  } else if (op == TOP_N_SIGMA) {
    keep_top_n_sigma(shape.n_sigma);
  } else if (op == P_LESS) {
    least = agreement(shape.p_less_is_normed == 1);
  } else if (op == XTC) {
    if ((u64)coin < shape.xtc_cells) remove_obvious(shape.xtc_threshold);
  } else if (op == MIROSTAT) {
    float x = -mu * 0.693147180559945309f;
    least = mu < 0.0f ? infinity() : exp_negative(x < 0.0f ? x : 0.0f) * units;
  }
  if (least >= 0.0f) keep_if(WEIGHT_OF_AT_LEAST, least, 0);
  return true;
}

// One row of a batch as every kernel gets it.
static __device__ __forceinline__ Source source_of(const void* logits, i64 row_stride, u32 dtype, u32 n_row) {
  return {(const u8*)logits + (u64)n_row * row_stride * (dtype == FLOAT32 ? 4 : 2), dtype, nullptr, nullptr, 0};
}

// Read a row and begin with all of it; 0, or the status of a row that cannot be drawn from.
static __device__ i32 begin(const Source& source, u32 n_vocab, float* workspace, u32 n_row) {
  u32 n_blocks = cluster_size();
  float* of_row = workspace ? workspace + (u64)n_row * n_blocks * tokens_of_part(n_vocab, n_blocks) : nullptr;
  Extent extent = read_part(kept.part, source, n_vocab, of_row);
  if (threadIdx.x == 0) {
    kept.scale = {extent.max, 1.0f};
    kept.last_best = ~0ull;
    kept.n_conditions = 0;
    kept.n_vocab = n_vocab;
  }
  __syncthreads();
  return extent.n_bad ? 1 : extent.max > -infinity() ? 0 : 2;
}

// Apply all operations; true where the best token is left alone, which is then in `kept.found`.
static __device__ bool apply_all(const Shape& shape, const Rng& rng, float mu) {
  u32 coin = 0;
  if (shape.xtc_cells) coin = Rng{rng.seed, rng.position, XTC_PURPOSE}.words(0, 0).word[0];
  bool is_greedy = false;
#pragma unroll 1
  for (u64 ops = shape.ops; ops && !is_greedy; ops >>= 4) is_greedy = !apply(ops & 15, shape, coin, mu);
  if (is_greedy) survey(0.0f, infinity());
  return is_greedy;
}

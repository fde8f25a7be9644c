// Which drafted tokens may stay without changing the distribution? Twin of rust/decode/src/verify (walk.rs, chain.rs,
// siblings.rs, residual.rs, chance.rs): the same decisions, from the same random numbers.
//
// Two launches. The first adds up every row, in the order of tiles.rs, so that all rows of all trees are read at full
// bandwidth. In the second a cluster walks each tree: a step gathers the probabilities of the candidates, and only a
// refusal or the last draw passes over a row again. A residual is two rows and a number (residual.rs), so nothing as
// long as the vocabulary is written; a workspace holds one number for 512 tokens.
#include "noise.cuh"
#include "team.cuh"

#define TILE 512u
#define N_GROUPS 64u
#define MOST_NODES 1024u

#define GREEDY 0u
#define WALK 1u
#define CHAIN 2u
#define BLOCK 3u
#define RECURSIVE 4u
#define KSEQ 5u

#define NOT_FINITE 1
#define EMPTY 2
#define NEGATIVE 3
#define DRAFT 4

#define PURPOSE_SAMPLE 0u
#define PURPOSE_ACCEPT 2u
#define PURPOSE_RESIDUAL 3u

__shared__ double groups[N_GROUPS];
__shared__ double all_groups[N_GROUPS];

// The groups of all blocks, folded; in every thread.
static __device__ __noinline__ double folded_groups() {
  const u32 n_warps = blockDim.x / 32;
  team_wait();
  for (u32 group = threadIdx.x; group < N_GROUPS; group += blockDim.x) {
    u32 rank = group % (n_warps * cluster_size()) / n_warps;
    all_groups[group] = *cluster_peer(&groups[group], rank);
  }
#pragma unroll 1
  for (u32 half = N_GROUPS / 2; half > 0; half /= 2) {
    __syncthreads();
    for (u32 group = threadIdx.x; group < half; group += blockDim.x) all_groups[group] += all_groups[group + half];
  }
  __syncthreads();
  double total = all_groups[0];
  team_wait();
  return total;
}

// The sum of one tile, in every lane of the warp that asks.
template <class Value>
static __device__ __forceinline__ double tile_sum(u32 tile, u32 n_vocab, Value value) {
  double sum = 0.0;
#pragma unroll 4
  for (u32 step = 0; step < TILE / 32; ++step) {
    u32 token = tile * TILE + step * 32 + threadIdx.x % 32;
    if (token < n_vocab) sum += value(token);
  }
#pragma unroll 1
  for (int half = 16; half > 0; half /= 2) sum += shuffled(sum, half);
  return sum;
}

// The sum over a row in the order of tiles.rs: tile `t` belongs to group `t % 64`, a warp takes a group.
template <class Value>
static __device__ __forceinline__ double row_sum(u32 n_vocab, Value value) {
  const u32 n_warps = blockDim.x / 32, own = cluster_rank() * n_warps + threadIdx.x / 32;
#pragma unroll 1
  for (u32 group = own; group < N_GROUPS; group += n_warps * cluster_size()) {
    double sum = 0.0;
#pragma unroll 1
    for (u32 tile = group; tile * TILE < n_vocab; tile += N_GROUPS) sum += tile_sum(tile, n_vocab, value);
    if (threadIdx.x % 32 == 0) groups[group] = sum;
  }
  return folded_groups();
}

// The first number of a row that is none of a distribution: its token, and the status it means.
struct FirstBad {
  u32 token;
  u32 status;

  __device__ void merge(const FirstBad& other) {
    if (other.token < token) *this = other;
  }
};

static __device__ __forceinline__ bool is_normal(double x) {
  u64 exponent = (u64)__double_as_longlong(x) >> 52 & 0x7FF;
  return exponent != 0 && exponent != 0x7FF;
}

// One over the sum of each row, and whether it is a distribution. Row `blockIdx.x / cluster` of tree `blockIdx.y`.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_row_scales(const float* rows, i64 tree_stride, i64 row_stride, u32 n_vocab, u32 n_rows, double* scales,
                         i8* statuses) {
  const u32 n_row = blockIdx.x / cluster_size();
  const float* row = rows + blockIdx.y * tree_stride + n_row * row_stride;
  FirstBad bad = {0xFFFFFFFFu, 0};
  double mass = row_sum(n_vocab, [&](u32 token) {
    float value = row[token];
    bool is_finite = fabsf(value) < infinity();
    if ((!is_finite || value < 0.0f) && token < bad.token) bad = {token, is_finite ? (u32)NEGATIVE : (u32)NOT_FINITE};
    return (double)value;
  });
  bad = merged(bad);
  if (cluster_rank() == 0 && threadIdx.x == 0) {
    const u64 place = (u64)blockIdx.y * n_rows + n_row;
    bool is_good = bad.status == 0 && is_normal(mass) && is_normal(1.0 / mass);
    scales[place] = 1.0 / mass;
    statuses[place] = is_good ? 0 : bad.status ? bad.status : mass > 0.0 ? NOT_FINITE : EMPTY;
  }
}

// What is left of the target: masses (p - c q)+. Twin of residual.rs.
struct Residual {
  const float* p;
  const float* q;
  double p_scale;
  double q_scale;
  double c;
  double mass;

  __device__ double of(u32 token) const {
    double left = p_scale * (double)p[token] - c * q_scale * (double)q[token];
    return left > 0.0 ? left : 0.0;
  }
  __device__ double prob(u32 token) const { return mass > 0.0 ? of(token) / mass : 0.0; }
  __device__ double drawn(u32 token) const { return (double)q[token] * q_scale; }
  __device__ void make_whole() {
    q = p;
    c = 0.0;
    mass = 1.0;
  }
};

static __device__ __noinline__ double sum_of_left(const float* p, double a, const float* q, double b, u32 n_vocab) {
  return row_sum(n_vocab, [&](u32 token) {
    double left = a * (double)p[token] - b * (double)q[token];
    return left > 0.0 ? left : 0.0;
  });
}

static __device__ double left_after(const Residual& residual, double c, u32 n_vocab) {
  return sum_of_left(residual.p, residual.p_scale, residual.q, c * residual.q_scale, n_vocab);
}

__shared__ u32 removed[MOST_NODES];
__shared__ i32 candidates[MOST_NODES];
__shared__ i32 rows_of_text[MOST_NODES + 1];
__shared__ double shares[MOST_NODES + 1];
__shared__ u32 n_candidates, n_rows_of_text;

// The sum of a row without the first `n_removed` of `removed`.
static __device__ __noinline__ double sum_without(const float* row, u32 n_removed, u32 n_vocab) {
  return row_sum(n_vocab, [&](u32 token) {
    bool is_kept = true;
#pragma unroll 1
    for (u32 n = 0; n < n_removed; ++n) is_kept = is_kept && removed[n] != token;
    return is_kept ? (double)row[token] : 0.0;
  });
}

struct Arrival {
  double time;
  u32 token;
  u32 padding;

  __device__ void merge(const Arrival& other) {
    if (other.time < time || (other.time == time && other.token < token)) *this = other;
  }
};

// The token of a whole row that arrives first; NOBODY where nothing has mass. Twin of `WeightedRace`.
#define NOBODY 0xFFFFFFFFu
static __device__ __noinline__ u32 race(const float* p, double scale, u32 n_vocab, const Rng rng) {
  const u64 none = 0x7FF0000000000000ull;
  Arrival first = {__longlong_as_double((i64)none), NOBODY, 0};
  const u32 n_threads = blockDim.x * cluster_size();
#pragma unroll 1
  for (u32 quad = cluster_rank() * blockDim.x + threadIdx.x; 4 * quad < n_vocab; quad += n_threads) {
    const Words words = rng.words(quad, 0);
#pragma unroll 1
    for (u32 n = 0; n < 4 && 4 * quad + n < n_vocab; ++n) {
      u32 token = 4 * quad + n;
      double weight = scale * (double)p[token];
      if (weight > 0.0) first.merge({(double)wait_of(rng, token, words.of(n)) / weight, token, 0});
    }
  }
  return merged(first).token;
}

__shared__ double tile_of_sums[TILE];
__shared__ double left_to_pass;
__shared__ u32 found_place;

// Go through `n` numbers in `tile_of_sums` until their sum passes `left_to_pass`; thread 0 leaves the place of the last
// positive one it came to. True where it ends here.
static __device__ bool passes_here(u32 first, u32 n) {
  bool has_passed = false;
  double left = left_to_pass;
  for (u32 i = 0; i < n && !has_passed; ++i) {
    double sum = tile_of_sums[i];
    if (!(sum > 0.0)) continue;
    found_place = first + i;
    has_passed = left < sum;
    if (!has_passed) left -= sum;
  }
  left_to_pass = left;
  return has_passed;
}

__shared__ u32 has_passed;

// The token at which the masses, added up in order, pass the share `uniform` of their sum. Twin of `at_share`.
static __device__ __noinline__ u32 at_share(Residual residual, double uniform, u32 n_vocab, double* sums) {
  const u32 n_tiles = (n_vocab + TILE - 1) / TILE, n_warps = blockDim.x / 32;
  const u32 own = cluster_rank() * n_warps + threadIdx.x / 32;
#pragma unroll 1
  for (u32 attempt = 0; attempt < 2; ++attempt) {
#pragma unroll 1
    for (u32 group = own; group < N_GROUPS; group += n_warps * cluster_size()) {
      double of_group = 0.0;
#pragma unroll 1
      for (u32 tile = group; tile < n_tiles; tile += N_GROUPS) {
        double sum = tile_sum(tile, n_vocab, [&](u32 token) { return residual.of(token); });
        if (threadIdx.x % 32 == 0) sums[tile] = sum;
        of_group += sum;
      }
      if (threadIdx.x % 32 == 0) groups[group] = of_group;
    }
    double total = folded_groups();
    if (threadIdx.x == 0) {
      left_to_pass = uniform * total;
      found_place = NOBODY;
      has_passed = 0;
    }
    __syncthreads();
    for (u32 first = 0; first < n_tiles && !has_passed; first += TILE) {
      u32 n = n_tiles - first < TILE ? n_tiles - first : TILE;
      __syncthreads();
      for (u32 i = threadIdx.x; i < n; i += blockDim.x) tile_of_sums[i] = sums[first + i];
      __syncthreads();
      if (threadIdx.x == 0) has_passed = passes_here(first, n);
      __syncthreads();
    }
    u32 tile = found_place;
    __syncthreads();
    if (tile != NOBODY) {
      u32 first = tile * TILE, n = n_vocab - first < TILE ? n_vocab - first : TILE;
      for (u32 i = threadIdx.x; i < n; i += blockDim.x) tile_of_sums[i] = residual.of(first + i);
      __syncthreads();
      if (threadIdx.x == 0) passes_here(first, n);
      __syncthreads();
      return found_place;
    }
    if (!(residual.c > 0.0)) return NOBODY;
    team_wait();  // the other blocks may still read these sums
    residual.make_whole();
  }
  return NOBODY;
}

struct Best {
  float value;
  u32 token;
  u32 n_bad;

  __device__ void merge(const Best& other) {
    n_bad += other.n_bad;
    if (other.value > value || (other.value == value && other.token < token)) value = other.value, token = other.token;
  }
};

// One tree, its rows and its random numbers.
struct Tree {
  const i32* tokens;
  const i32* parents;
  u32 n_nodes;
  const float *p, *q;
  i64 p_stride, q_stride;
  const double *p_scales, *q_scales;
  const i8 *p_statuses, *q_statuses;
  u32 n_vocab;
  u64 seed, position;
  double* sums;
  // What is found.
  i32 last;
  u32 next_token;
  i32 status;

  __device__ bool fails(i32 found) {
    if (found) status = found;
    return found != 0;
  }
  // Take a row of the target and of the draft; false where one of them is no distribution.
  __device__ bool take(Residual& residual, u32 row, bool draft_first) {
    const i32 of_p = p_statuses ? p_statuses[row] : 0, of_q = q_statuses ? q_statuses[row] : 0;
    if (fails(draft_first ? of_q : of_p) || fails(draft_first ? of_p : of_q)) return false;
    residual = {p + row * p_stride,
                q + row * q_stride,
                p_scales ? p_scales[row] : 1.0,
                q_scales ? q_scales[row] : 1.0,
                0.0,
                1.0};
    return true;
  }
  __device__ bool accepts(u32 node, double probability) const {
    if (probability >= 1.0) return true;
    if (!(probability > 0.0)) return false;
    const Rng rng = {seed, position, PURPOSE_ACCEPT};
    u64 bits = (u64)rng.words(node >> 2, 0).of(node & 3) << 32 | rng.refinement(node);
    return uniform_of(bits) < probability;
  }
  static __device__ double uniform_of(u64 bits) {
    double u = ((double)bits + 0.5) * 5.421010862427522e-20;
    return u < 0.9999999999999999 ? u : 0.9999999999999999;
  }
  // Draw from a whole row of the target.
  __device__ bool draw_whole(u32 row, u32 depth) {
    if (fails(p_statuses ? p_statuses[row] : 0)) return false;
    const Rng rng = {seed, position + depth, PURPOSE_SAMPLE};
    next_token = race(p + row * p_stride, p_scales ? p_scales[row] : 1.0, n_vocab, rng);
    return !fails(next_token == NOBODY ? EMPTY : 0);
  }
  __device__ void draw_left(const Residual& residual, u32 depth) {
    const Rng rng = {seed, position + depth, PURPOSE_RESIDUAL};
    u64 bits = (u64)rng.words(0, 0).of(0) << 32 | rng.refinement(0);
    next_token = at_share(residual, uniform_of(bits), n_vocab, sums);
    fails(next_token == NOBODY ? EMPTY : 0);
  }
  // The token of a node, which must be a column.
  __device__ bool is_column(u32 node) { return !fails((u32)tokens[node] >= n_vocab ? DRAFT : 0); }
};

static __device__ __forceinline__ bool best_of(Tree& tree, u32 row) {
  const float* logits = tree.p + row * tree.p_stride;
  Best own = {-infinity(), NOBODY, 0};
  for (u32 token = cluster_rank() * blockDim.x + threadIdx.x; token < tree.n_vocab;
       token += blockDim.x * cluster_size()) {
    float logit = logits[token];
    own.merge({logit, logit > -infinity() ? token : NOBODY, !(logit < infinity())});
  }
  own = merged(own);
  tree.next_token = own.token;
  return !tree.fails(own.n_bad ? NOT_FINITE : own.token == NOBODY ? EMPTY : 0);
}

// Walk down while the token that the target says is a child.
static __device__ void walk(Tree& tree, bool is_greedy) {
  for (u32 depth = 0;; ++depth) {
    const u32 row = tree.last + 1;
    if (!(is_greedy ? best_of(tree, row) : tree.draw_whole(row, depth))) return;
    i32 child = -1;
    for (u32 node = row; node < tree.n_nodes && child < 0; ++node) {
      if (tree.parents[node] == tree.last && (u32)tree.tokens[node] == tree.next_token) child = node;
    }
    if (child < 0) return;
    tree.last = child;
  }
}

// p/q of the token of a node of a chain; negative where something is wrong.
static __device__ double ratio_of(Tree& tree, const Residual& residual, u32 node) {
  if (!tree.is_column(node)) return -1.0;
  const u32 token = tree.tokens[node];
  double drawn = residual.drawn(token);
  if (tree.fails(drawn > 0.0 ? 0 : DRAFT)) return -1.0;
  return residual.of(token) / drawn;
}

static __device__ void chain(Tree& tree) {
  Residual residual;
  for (u32 node = 0; node < tree.n_nodes; ++node) {
    if (!tree.take(residual, node, false)) return;
    double ratio = ratio_of(tree, residual, node);
    if (tree.status) return;
    if (!tree.accepts(node, ratio)) {
      residual.c = 1.0;
      return tree.draw_left(residual, node);
    }
    tree.last = node;
  }
  tree.draw_whole(tree.n_nodes, tree.n_nodes);
}

static __device__ void block(Tree& tree) {
  Residual residual;
  u32 n_shares = 1;
  double share = 1.0;
  for (u32 node = 0; node < tree.n_nodes; ++node) {
    if (!tree.take(residual, node, false)) return;
    double ratio = ratio_of(tree, residual, node);
    if (tree.status) return;
    share = share * ratio;
    share = share < 1.0 ? share : 1.0;
    if (share == 0.0) break;
    if (threadIdx.x == 0) shares[n_shares] = share;
    ++n_shares;
  }
  __syncthreads();
  for (u32 n_kept = n_shares - 1; n_kept > 0; --n_kept) {
    share = shares[n_kept];
    if (n_kept == tree.n_nodes) {
      if (!tree.accepts(n_kept - 1, share)) continue;
      tree.last = n_kept - 1;
      tree.draw_whole(n_kept, n_kept);
      return;
    }
    if (!tree.take(residual, n_kept, false)) return;
    double c = 1.0 / share;
    residual.c = c < 1.7976931348623157e308 ? c : 1.7976931348623157e308;
    double left = share * left_after(residual, residual.c, tree.n_vocab);
    if (tree.accepts(n_kept - 1, share >= 1.0 ? 1.0 : left / (left + 1.0 - share))) {
      tree.last = n_kept - 1;
      return tree.draw_left(residual, n_kept);
    }
  }
  if (tree.n_nodes == 0) {
    tree.draw_whole(0, 0);
  } else if (tree.take(residual, 0, false)) {
    residual.c = 1.0;
    tree.draw_left(residual, 0);
  }
}

// Test the candidates of a place in turn; the accepted one, or -1.
static __device__ i32 choose_in_turn(Tree& tree, Residual& residual, bool with_replacement) {
  u32 n_removed = 0;
  double rest = 1.0;
  for (u32 n = 0; n < n_candidates; ++n) {
    const u32 node = candidates[n];
    if (!tree.is_column(node)) return -1;
    const u32 token = tree.tokens[node];
    bool is_removed = false;
    for (u32 i = 0; i < n_removed; ++i) is_removed = is_removed || removed[i] == token;
    double drawn = is_removed ? 0.0 : residual.drawn(token) / rest;
    if (tree.fails(drawn > 0.0 ? 0 : DRAFT)) return -1;
    if (tree.accepts(node, residual.prob(token) / drawn)) return node;
    residual.c = residual.c + residual.mass / rest;
    residual.mass = left_after(residual, residual.c, tree.n_vocab);
    if (residual.mass <= 0.0) residual.c = 0.0, residual.mass = 1.0;
    if (!with_replacement) {
      if (threadIdx.x == 0) removed[n_removed] = token;
      __syncthreads();
      rest = sum_without(residual.q, ++n_removed, tree.n_vocab) * residual.q_scale;
    }
  }
  return -1;
}

// How far 1 - (1 - b)^k is above rho b; see siblings.rs.
static __device__ double gap_of(const Residual& residual, double rho, u32 n_drafts, u32 n_vocab) {
  double left = left_after(residual, rho, n_vocab);
  double refused = 1.0 - (1.0 - left) / rho, power = 1.0;
  refused = refused > 0.0 ? refused : 0.0;
  for (u32 n = 0; n < n_drafts; ++n) power = power * refused;
  return power - left;
}

// The division factor of k-SEQ, by false position.
static __device__ double rho_of(const Residual& residual, u32 n_drafts, u32 n_vocab) {
  const double largest_gap = 1e-14;
  double low = 1.0, low_gap = gap_of(residual, low, n_drafts, n_vocab);
  if (low_gap >= -largest_gap) return low;
  double high = (double)n_drafts, high_gap = gap_of(residual, high, n_drafts, n_vocab);
  if (high_gap <= largest_gap) return high;
  double moved = 0.0;
  for (u32 n = 0; n < 200; ++n) {
    double inside = (low * high_gap - high * low_gap) / (high_gap - low_gap);
    double rho = inside > low && inside < high ? inside : 0.5 * (low + high);
    double found = gap_of(residual, rho, n_drafts, n_vocab);
    if (fabs(found) <= largest_gap || high - low <= 8.881784197001252e-16 * rho) return rho;
    bool is_low = found < 0.0;
    if (is_low) {
      low = rho, low_gap = found;
      if (moved * found > 0.0) high_gap *= 0.5;
    } else {
      high = rho, high_gap = found;
      if (moved * found > 0.0) low_gap *= 0.5;
    }
    moved = found;
  }
  return high;
}

static __device__ i32 choose_by_threshold(Tree& tree, Residual& residual) {
  const double rho = rho_of(residual, n_candidates, tree.n_vocab);
  for (u32 n = 0; n < n_candidates; ++n) {
    const u32 node = candidates[n];
    if (!tree.is_column(node)) return -1;
    const u32 token = tree.tokens[node];
    double drawn = residual.drawn(token);
    if (tree.fails(drawn > 0.0 ? 0 : DRAFT)) return -1;
    if (tree.accepts(node, residual.of(token) / (rho * drawn))) return node;
  }
  residual.c = rho;
  return -1;
}

// Go down while a candidate is accepted; otherwise draw from what is left.
static __device__ void descend(Tree& tree, u32 rule, bool with_replacement) {
  if (threadIdx.x == 0) {
    rows_of_text[0] = 0;
    n_rows_of_text = 1;
  }
  for (u32 depth = 0;; ++depth) {
    __syncthreads();
    if (threadIdx.x == 0) {
      n_candidates = 0;
      for (u32 n = 0; n < n_rows_of_text; ++n) {
        i32 row = rows_of_text[n];
        for (u32 node = row; node < tree.n_nodes; ++node) {
          if (tree.parents[node] == row - 1) candidates[n_candidates++] = node;
        }
      }
    }
    __syncthreads();
    if (n_candidates == 0) {
      tree.draw_whole(rows_of_text[0], depth);
      return;
    }
    Residual residual;
    if (!tree.take(residual, tree.parents[candidates[0]] + 1, true)) return;
    i32 node = rule == KSEQ ? choose_by_threshold(tree, residual) : choose_in_turn(tree, residual, with_replacement);
    if (tree.status) return;
    if (node < 0) return tree.draw_left(residual, depth);
    tree.last = node;
    __syncthreads();
    if (threadIdx.x == 0) {
      rows_of_text[0] = node + 1;
      n_rows_of_text = 1;
      for (u32 n = 0; with_replacement && n < n_candidates; ++n) {
        i32 other = candidates[n];
        if (other != node && tree.tokens[other] == tree.tokens[node]) rows_of_text[n_rows_of_text++] = other + 1;
      }
    }
  }
}

// How many nodes of a tree have no parent among the nodes before them; in a chain that is the node before.
static __device__ u64 n_misplaced(const Tree& tree, bool is_chain) {
  u64 own = 0;
  for (u32 node = threadIdx.x; node < tree.n_nodes; node += blockDim.x) {
    const i32 parent = tree.parents[node];
    own += parent < -1 || parent >= (i32)node || (is_chain && parent != (i32)node - 1);
  }
  return merged(Sum{own}).value;
}

// Verify tree `blockIdx.y`: its accepted path, the token behind it, and what is wrong with it.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_verify(u32 rule, u32 with_replacement, const float* p, i64 p_tree_stride, i64 p_row_stride,
                     const float* q, i64 q_tree_stride, i64 q_row_stride, u32 n_vocab, const double* p_scales,
                     const i8* p_statuses, u32 n_p_rows, const double* q_scales, const i8* q_statuses, u32 n_q_rows,
                     const i32* tokens, const i32* parents, u32 n_nodes, const i32* lengths, const u64* seeds,
                     const u64* positions, double* sums, i32* paths, i32* next_tokens, i32* n_accepted, i8* statuses) {
  const u64 n = blockIdx.y;
  Tree tree;
  tree.tokens = tokens + n * n_nodes;
  tree.parents = parents + n * n_nodes;
  tree.n_nodes = lengths[n];
  tree.p = p + n * p_tree_stride;
  tree.q = q ? q + n * q_tree_stride : tree.p;
  tree.p_stride = p_row_stride;
  tree.q_stride = q ? q_row_stride : p_row_stride;
  tree.p_scales = p_scales ? p_scales + n * n_p_rows : nullptr;
  tree.q_scales = q_scales ? q_scales + n * n_q_rows : nullptr;
  tree.p_statuses = p_statuses ? p_statuses + n * n_p_rows : nullptr;
  tree.q_statuses = q_statuses ? q_statuses + n * n_q_rows : nullptr;
  tree.n_vocab = n_vocab;
  tree.seed = seeds[n];
  tree.position = positions[n];
  tree.sums = sums + n * ((n_vocab + TILE - 1) / TILE);
  tree.last = -1;
  tree.next_token = NOBODY;
  tree.status = 0;
  const bool is_chain = rule == CHAIN || rule == BLOCK;
  if (!tree.fails((u32)lengths[n] > n_nodes || n_misplaced(tree, is_chain) ? DRAFT : 0)) {
    if (rule == GREEDY || rule == WALK) walk(tree, rule == GREEDY);
    if (rule == CHAIN) chain(tree);
    if (rule == BLOCK) block(tree);
    if (rule == RECURSIVE || rule == KSEQ) descend(tree, rule, with_replacement);
  }
  if (cluster_rank() == 0 && threadIdx.x == 0) {
    u32 length = 0;
    const bool is_good = tree.status == 0;
    for (i32 node = is_good ? tree.last : -1; node >= 0; node = tree.parents[node]) ++length;
    for (u32 depth = length; depth < n_nodes; ++depth) paths[n * n_nodes + depth] = -1;
    u32 depth = length;
    for (i32 node = is_good ? tree.last : -1; node >= 0; node = tree.parents[node]) paths[n * n_nodes + --depth] = node;
    next_tokens[n] = is_good ? (i32)tree.next_token : -1;
    n_accepted[n] = length;
    statuses[n] = (i8)tree.status;
  }
  team_wait();
}

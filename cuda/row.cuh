// What is in a row of logits, read once?
//
// The blocks of a team share a row: each takes a part of it, converts it to float32, masks and adjusts it (twins of
// `Reader` and `Adjust` in rust/decode/src/sample) and keeps it in its shared memory, where all passes read it. Where
// that is too small the part lies in a workspace in global memory. When few tokens are left they are listed, and passes
// read the list.
#pragma once
#include "math.cuh"
#include "team.cuh"

#define N_LISTED 1024u
#define NOTHING 0xFFFFFFFFu

#ifndef TOKENLOOM_SHIM
extern __shared__ Quad dynamic_shared[];
#endif

// What happens to the logit of one token. Twin of `Adjust` in rust/decode/src/sample/adjust.rs.
struct Adjust {
  u32 token;
  float bias;
  float repetition;
  float penalty;

  __device__ float apply(float logit) const {
    if (bias == -infinity()) return -infinity();
    float biased = logit + bias;
    float repeated = biased > 0.0f ? biased / repetition : biased * repetition;
    return repeated - penalty;
  }
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

struct Source {
  const void* logits;
  u32 dtype;
  const u32* mask;  // bit t % 32 of word t / 32 allows token t; null allows all
  const Adjust* adjusts;
  u64 n_adjusts;

  __device__ bool allows(u32 token) const { return !mask || (mask[token / 32] >> (token % 32) & 1); }
};

// The best logit and its token, and how many allowed logits are NaN or +inf.
struct Extent {
  float max;
  u32 n_bad;

  __device__ void see(float logit) {
    n_bad += !(logit < infinity());
    max = logit > max ? logit : max;
  }
  __device__ void merge(const Extent& other) {
    max = other.max > max ? other.max : max;
    n_bad += other.n_bad;
  }
};

// A block's part of a row, and of it what is listed.
struct Part {
  float* values;  // -inf behind the end and where a token is not allowed
  u32 first;
  u32 n_tokens;  // a multiple of 64
  u32 n_listed;  // NOTHING while all are passed
  u32 listed_tokens[N_LISTED];
  float listed_logits[N_LISTED];

  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    bool is_listed = n_listed != NOTHING;
    u32 n = is_listed ? n_listed : n_tokens;
    const float* logits = is_listed ? listed_logits : values;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) visit(is_listed ? listed_tokens[i] : first + i, logits[i]);
  }

  __device__ bool holds(u32 token) const { return token >= first && token - first < n_tokens; }
};

// Tokens of each block of a team: all alike, so that the host can reserve shared memory.
static __device__ __forceinline__ u32 tokens_of_part(u32 n_vocab, u32 n_blocks) {
  u32 per_block = (n_vocab + n_blocks - 1) / n_blocks;
  return (per_block + 63) / 64 * 64;
}

static __device__ __forceinline__ u32 allowed_of_quad(const Source& source, u32 token) {
  return source.mask ? source.mask[token / 32] >> (token % 32) & 15u : 15u;
}

// Read the block's part of a row to `part`, which is in shared memory; the row goes there too where `workspace` is
// null. Says what the whole row holds.
static __device__ Extent read_part(Part& part, const Source& source, u32 n_vocab, float* workspace) {
  const u32 n_tokens = tokens_of_part(n_vocab, cluster_size()), first = cluster_rank() * n_tokens;
  float* values = workspace ? workspace + first : (float*)dynamic_shared;
  if (threadIdx.x == 0) {
    part.n_tokens = n_tokens;
    part.first = first;
    part.values = values;
    part.n_listed = NOTHING;
  }
  Extent own = {-infinity(), 0};
  u32 n_bytes = source.dtype == FLOAT32 ? 4 : 2;
  bool is_aligned = ((u64)source.logits & (4 * n_bytes - 1)) == 0;
#pragma unroll 1
  for (u32 i = 4 * threadIdx.x; i < n_tokens; i += 4 * blockDim.x) {
    u32 token = first + i;
    u32 allowed = token < n_vocab ? allowed_of_quad(source, token) : 0;
    Quad quad = {{-infinity(), -infinity(), -infinity(), -infinity()}};
    if (allowed && is_aligned && token + 4 <= n_vocab) {
      if (source.dtype == FLOAT32) {
        quad = *(const Quad*)((const float*)source.logits + token);
      } else {
        u64 halves = *(const u64*)((const u16*)source.logits + token);
#pragma unroll
        for (u32 n = 0; n < 4; ++n) {
          u16 bits = (u16)(halves >> (16 * n));
          quad.value[n] = source.dtype == BFLOAT16 ? from_bfloat16(bits) : from_float16(bits);
        }
      }
    } else if (allowed) {
#pragma unroll
      for (u32 n = 0; n < 4; ++n) {
        if (token + n < n_vocab) quad.value[n] = load_float(source.logits, token + n, source.dtype);
      }
    }
#pragma unroll
    for (u32 n = 0; n < 4; ++n) {
      if (!(allowed >> n & 1)) quad.value[n] = -infinity();
      own.see(quad.value[n]);
    }
    *(Quad*)(values + i) = quad;
  }
  __syncthreads();
  if (source.n_adjusts) {
    for (u64 i = threadIdx.x; i < source.n_adjusts; i += blockDim.x) {
      Adjust adjust = source.adjusts[i];
      u32 place = adjust.token - first;
      if (adjust.token < first || place >= n_tokens || !source.allows(adjust.token)) continue;
      values[place] = adjust.apply(values[place]);
    }
    __syncthreads();
    own = {-infinity(), 0};
    part.each([&](u32, float logit) { own.see(logit); });
  }
  return merged(own);
}

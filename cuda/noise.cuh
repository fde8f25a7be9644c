// How long does each token wait in the race? Twin of rust/decode/src/sample/noise.rs, where the reasons are.
#pragma once
#include "math.cuh"
#include "philox.cuh"

static __device__ __forceinline__ float coarse_wait(u32 word) {
  bool is_near = word < 0x4AFB0CCCu;
  u32 cell = is_near ? word : ~word >> 1;
  float scale = is_near ? 2.3283064e-10f : 4.656613e-10f;
  float fraction = ((float)(i32)cell + 0.5f) * scale;
  float r;
  float exponent = split_exponent(fraction, &r);
  return -fmaf(is_near ? 0.0f : exponent, 0.693147180559945309f, ln_1p_reduced(is_near ? -fraction : r));
}

static __device__ __forceinline__ float fine_wait(u32 word, u32 refinement) {
  float fraction = ((float)(i32)(refinement >> 1) + 0.5f) * 4.656613e-10f;
  return -ln_1p_reduced(-(((float)(i32)word + fraction) * 2.3283064e-10f));
}

// The waiting time of a token whose first word is known.
static __device__ __forceinline__ float wait_of(const Rng& rng, u32 token, u32 word) {
  return word < (1u << 20) ? fine_wait(word, rng.refinement(token)) : coarse_wait(word);
}

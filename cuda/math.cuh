// Which exponential and logarithm have the same bits as the CPU's? Twin of rust/decode/src/sample/math.rs: the same
// IEEE operations in the same order, so this file must be compiled without contraction (--fmad=false,
// -ffp-contract=off).
#pragma once
#include "types.cuh"

// e^x for x <= 0; zero below -87 and for NaN.
static __device__ __forceinline__ float exp_negative(float x) {
  const float rounder = 12582912.0f;
  float shifted = fmaf(x, 1.44269504088896341f, rounder);
  float n = shifted - rounder;
  float r = fmaf(n, -0.6933594f, x);
  r = fmaf(n, 2.1219444e-4f, r);
  float q = 0.0013814467f;
  q = fmaf(r, q, 0.008368781f);
  q = fmaf(r, q, 0.041668393f);
  q = fmaf(r, q, 0.1666652f);
  q = fmaf(r, q, 0.49999994f);
  float fraction = fmaf(r * r, q, r) + 1.0f;
  u32 exponent = __float_as_uint(shifted) - __float_as_uint(rounder);
  float scaled = __uint_as_float(__float_as_uint(fraction) + (exponent << 23));
  return x >= -87.0f ? scaled : 0.0f;
}

// ln(1 + r) for sqrt(1/2) - 1 <= r < sqrt(2) - 1.
static __device__ __forceinline__ float ln_1p_reduced(float r) {
  float q = -0.0762211f;
  q = fmaf(r, q, 0.12904692f);
  q = fmaf(r, q, -0.13242976f);
  q = fmaf(r, q, 0.1418178f);
  q = fmaf(r, q, -0.16609077f);
  q = fmaf(r, q, 0.20001976f);
  q = fmaf(r, q, -0.25001583f);
  q = fmaf(r, q, 0.33333325f);
  q = fmaf(r, q, -0.49999988f);
  return fmaf(r * r, q, r);
}

// x = 2^exponent (1 + r) for a positive, normal, finite x.
static __device__ __forceinline__ float split_exponent(float x, float* r) {
  i32 exponent = (i32)(__float_as_uint(x) - 0x3F3504F3u) >> 23;
  *r = __uint_as_float(__float_as_uint(x) - ((u32)exponent << 23)) - 1.0f;
  return (float)exponent;
}

static __device__ __forceinline__ float ln(float x) {
  float r;
  float exponent = split_exponent(x, &r);
  return fmaf(exponent, 0.693147180559945309f, ln_1p_reduced(r));
}

// A weight in [0, 1] as a multiple of 2^-42, rounded down: sums of masses do not depend on an order.
static __device__ __forceinline__ u64 mass_of(float weight) { return (u64)(weight * 4398046511104.0f); }

static __device__ __forceinline__ float ln_mass(u64 total) { return ln((float)total * 2.2737368e-13f); }

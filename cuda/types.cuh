// Which integers do the kernels mean? NVRTC has no <stdint.h>, so the widths are named here. No CUDA header is used
// anywhere in this folder: what a kernel needs beyond the language is what NVRTC builds in.
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef int i32;
typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;

// Four neighbours, read or written at once.
struct __align__(16) Quad {
  float value[4];
};

static __device__ __forceinline__ float infinity() { return __uint_as_float(0x7F800000u); }
static __device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7FC00000u); }

// What logits are made of; the numbers are part of the kernels' interface.
#define FLOAT32 0u
#define BFLOAT16 1u
#define FLOAT16 2u

static __device__ __forceinline__ float from_bfloat16(u16 bits) { return __uint_as_float((u32)bits << 16); }

// Exact. The product moves the exponent, of subnormal numbers too.
static __device__ __forceinline__ float from_float16(u16 bits) {
  u32 magnitude = bits & 0x7FFFu;
  float moved = __uint_as_float(magnitude << 13) * __uint_as_float(0x77800000u);
  float value = magnitude >= 0x7C00u ? __uint_as_float(magnitude << 13 | 0x7F800000u) : moved;
  return __uint_as_float(__float_as_uint(value) | (u32)(bits & 0x8000u) << 16);
}

static __device__ __forceinline__ float load_float(const void* values, u64 at, u32 dtype) {
  if (dtype == FLOAT32) return ((const float*)values)[at];
  u16 bits = ((const u16*)values)[at];
  return dtype == BFLOAT16 ? from_bfloat16(bits) : from_float16(bits);
}

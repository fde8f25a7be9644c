// Which integers do the kernels mean? NVRTC has no <stdint.h>, so the widths are named here. No CUDA header is used
// anywhere in this folder: what a kernel needs beyond the language is what NVRTC builds in.
#pragma once

typedef signed char i8;
typedef int i32;
typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;

static __device__ __forceinline__ float infinity() { return __uint_as_float(0x7F800000u); }

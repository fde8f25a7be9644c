// Which random number belongs to this seed, position, token and purpose? Twin of rust/decode/src/rng.rs.
//
// Philox4x32-10 (Salmon et al., SC 2011): a keyed bijection of a 128-bit counter. Counter (token / 4, position low,
// position high, purpose), key = seed, word token % 4.
#pragma once
#include "types.cuh"

struct Words {
  u32 word[4];

  __device__ u32 of(u32 n) const {
    u32 low = n & 1 ? word[1] : word[0];
    u32 high = n & 1 ? word[3] : word[2];
    return n & 2 ? high : low;
  }
};

struct Rng {
  u64 seed;
  u64 position;
  u32 purpose;

  // The words of tokens 4 * block .. 4 * block + 4.
  __device__ Words words(u32 block, u32 purpose_bits) const {
    u32 c0 = block, c1 = (u32)position, c2 = (u32)(position >> 32), c3 = purpose | purpose_bits;
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      u64 left = (u64)0xD2511F53u * c0, right = (u64)0xCD9E8D57u * c2;
      c0 = (u32)(right >> 32) ^ c1 ^ k0;
      c1 = (u32)right;
      c2 = (u32)(left >> 32) ^ c3 ^ k1;
      c3 = (u32)left;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
  }

  // The next 32 bits of one token.
  __device__ u32 refinement(u32 token) const { return words(token >> 2, 0x80000000u).of(token & 3); }
};

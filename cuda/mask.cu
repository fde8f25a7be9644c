// How are forbidden tokens taken out of logits that somebody else will read? Twin of `forbid` in
// rust/decode/src/sample/forbid.rs.
//
// A warp takes a word of the mask, a lane a token. Only forbidden tokens are written: V/8 bytes are read for each mask,
// and no logits at all.
#include "types.cuh"

// Mask `blockIdx.y` is for row `rows[blockIdx.y]` of the logits, -1 for none; null takes them in order. `n_bytes` is
// the width of a logit, `forbidden` the bits of -inf.
extern "C" __global__ void __launch_bounds__(256, 1)
    tokenloom_forbid(void* logits, i64 row_stride, u32 n_vocab, u32 n_bytes, u32 forbidden, const u32* masks,
                     i64 mask_stride, const i64* rows) {
  i64 row = rows ? rows[blockIdx.y] : (i64)blockIdx.y;
  if (row < 0) return;
  const u32* mask = masks + blockIdx.y * mask_stride;
  const u32 lane = threadIdx.x % 32, n_words = (n_vocab + 31) / 32, n_warps = blockDim.x / 32 * gridDim.x;
  for (u32 n = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; n < n_words; n += n_warps) {
    u32 word = mask[n], token = 32 * n + lane;
    if (word >> lane & 1 || token >= n_vocab) continue;
    if (n_bytes == 4) {
      ((u32*)logits)[row * row_stride + token] = forbidden;
    } else {
      ((u16*)logits)[row * row_stride + token] = (u16)forbidden;
    }
  }
}

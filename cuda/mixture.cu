// What is the embedding of "one of these tokens, with these weights"? Twin of `fill_mixture` in
// rust/decode/src/sample/mixture.rs, bit for bit: one fused multiply-add a token, in the order given.
//
// A thread takes a column, so neighbours read neighbours. Reads the rows that are named once.
#include "types.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    tokenloom_mixture(const void* table, i64 row_stride, u32 dtype, i64 n_rows, u32 n_columns, const i64* tokens,
                      const float* weights, u32 n_kept, float* mixtures) {
  const u64 first = (u64)blockIdx.y * n_kept;
  for (u32 column = blockIdx.x * blockDim.x + threadIdx.x; column < n_columns; column += blockDim.x * gridDim.x) {
    float sum = 0.0f;
    for (u32 n = 0; n < n_kept; ++n) {
      i64 row = tokens[first + n];
      if (row < 0 || row >= n_rows) continue;
      sum = fmaf(weights[first + n], load_float(table, (u64)row * row_stride + column, dtype), sum);
    }
    mixtures[(u64)blockIdx.y * n_columns + column] = sum;
  }
}

// How much mass lies between two places of the sorted vocabulary? Twin of rust/decode/src/bytelevel/ranges.rs, bit for
// bit.
//
// Sorted by their bytes, the tokens below a node of the trie stand side by side. Each range is added up for itself, in
// float64 and relative to the row's maximum; token `i` of a range goes to lane `i % 256`, and the lanes are folded in
// halves, whatever the number of threads. A row is read once for its maximum and once, gathered, for its ranges.
#include "team.cuh"

#define N_LANES 256u

struct Maximum {
  float value;
  u32 n_bad;

  __device__ void merge(const Maximum& other) {
    value = other.value > value ? other.value : value;
    n_bad += other.n_bad;
  }
};

// The maximum of each row, NaN where a logit is NaN or +inf.
extern "C" __global__ void __launch_bounds__(512, 1)
    tokenloom_maxima(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, float* maxima) {
  Maximum own = {-infinity(), 0};
  for (u32 token = cluster_rank() * blockDim.x + threadIdx.x; token < n_vocab; token += blockDim.x * cluster_size()) {
    float logit = load_float(logits, (u64)blockIdx.y * row_stride + token, dtype);
    own.merge({logit, !(logit < infinity())});
  }
  own = merged(own);
  if (cluster_rank() == 0 && threadIdx.x == 0) maxima[blockIdx.y] = own.n_bad ? not_a_number() : own.value;
}

// e^x for -700 <= x <= 0. Twin of `exponential` in rust/decode/src/bytelevel/row.rs.
static __device__ __forceinline__ double exponential(double x) {
  const double rounder = 6755399441055744.0;
  double shifted = fma(x, 1.4426950408889634, rounder);
  double n = shifted - rounder;
  double r = fma(n, -6.931471803691238e-1, x);
  r = fma(n, -1.9082149292705877e-10, r);
  double q = 1.0 / 6227020800.0;
  q = fma(r, q, 1.0 / 479001600.0);
  q = fma(r, q, 1.0 / 39916800.0);
  q = fma(r, q, 1.0 / 3628800.0);
  q = fma(r, q, 1.0 / 362880.0);
  q = fma(r, q, 1.0 / 40320.0);
  q = fma(r, q, 1.0 / 5040.0);
  q = fma(r, q, 1.0 / 720.0);
  q = fma(r, q, 1.0 / 120.0);
  q = fma(r, q, 1.0 / 24.0);
  q = fma(r, q, 1.0 / 6.0);
  q = fma(r, q, 0.5);
  double fraction = fma(r * r, q, r) + 1.0;
  u64 exponent = (u64)__double_as_longlong(shifted) - (u64)__double_as_longlong(rounder);
  return __longlong_as_double((i64)((u64)__double_as_longlong(fraction) + (exponent << 52)));
}

__shared__ double lanes[N_LANES];

// The sum of e^(logit - maximum) over the tokens `order[from .. to]` of each range, for each row.
extern "C" __global__ void __launch_bounds__(256, 1)
    tokenloom_range_sums(const void* logits, i64 row_stride, u32 dtype, u32 n_vocab, const float* maxima,
                         const u32* order, u32 n_order, const u32* ranges, double* sums) {
  const u32 from = ranges[2 * blockIdx.x];
  u32 to = ranges[2 * blockIdx.x + 1];
  to = to < n_order ? to : n_order;
  const float maximum = maxima[blockIdx.y];
  for (u32 lane = threadIdx.x; lane < N_LANES; lane += blockDim.x) {
    double sum = 0.0;
    for (u64 place = (u64)from + lane; place < to; place += N_LANES) {
      u32 token = order[place];
      if (token >= n_vocab) continue;
      double x = (double)load_float(logits, (u64)blockIdx.y * row_stride + token, dtype) - (double)maximum;
      sum += x >= -700.0 ? exponential(x) : 0.0;
    }
    lanes[lane] = sum;
  }
  for (u32 half = N_LANES / 2; half > 0; half /= 2) {
    __syncthreads();
    for (u32 lane = threadIdx.x; lane < half; lane += blockDim.x) lanes[lane] += lanes[lane + half];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double none = (double)not_a_number();
    sums[(u64)blockIdx.y * gridDim.x + blockIdx.x] = maximum > -infinity() ? lanes[0] : none;
  }
}

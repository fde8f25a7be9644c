// The sampling kernel as a C function that runs on the CPU, one block after another.
#include "cuda_on_cpu.h"

#include "../sample.cu"

static struct {
  const float* logits;
  u32 n_vocab;
  const u32* mask;
  const float* temperatures;
  const i64* top_ks;
  const double *top_ps, *min_ps, *typical_ps;
  const u64 *seeds, *positions;
  u32 purpose;
  i64* tokens;
  float* log_probs;
  i8* statuses;
  float* margins;
} launch;

static void run_kernel() {
  tokenloom_sample(launch.logits, launch.n_vocab, launch.n_vocab, launch.mask, (launch.n_vocab + 31) / 32,
                   launch.temperatures, launch.top_ks, launch.top_ps, launch.min_ps, launch.typical_ps, launch.seeds,
                   launch.positions, launch.purpose, launch.tokens, launch.log_probs, launch.statuses, launch.margins);
}

extern "C" void sample_on_cpu(u32 n_rows, u32 n_threads, const float* logits, u32 n_vocab, const u32* mask,
                              const float* temperatures, const i64* top_ks, const double* top_ps, const double* min_ps,
                              const double* typical_ps, const u64* seeds, const u64* positions, u32 purpose,
                              i64* tokens, float* log_probs, i8* statuses, float* margins) {
  launch = {logits, n_vocab,   mask,    temperatures, top_ks,    top_ps,   min_ps, typical_ps,
            seeds,  positions, purpose, tokens,       log_probs, statuses, margins};
  for (u32 n_row = 0; n_row < n_rows; ++n_row) {
    blockIdx.x = n_row;
    shim::run_block(run_kernel, n_threads, n_row + 1);
  }
}

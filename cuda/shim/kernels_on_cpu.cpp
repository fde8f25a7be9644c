// Every kernel by its name, on the CPU.
#include "cuda_on_cpu.h"

#include "../cut.cuh"
#include "../kept.cuh"
#include "../noise.cuh"
#include "../row.cuh"

namespace arrivals {
#include "../arrivals.cu"
}
namespace mask {
#include "../mask.cu"
}
namespace mixture {
#include "../mixture.cu"
}
namespace ranges {
#include "../ranges.cu"
}
namespace report {
#include "../report.cu"
}
namespace sample {
#include "../sample.cu"
}
namespace verify {
#include "../verify.cu"
}

struct Entry {
  const char* name;
  void (*run)(void**);
};

#define ENTRY(unit, kernel) {#kernel, [](void** values) { shim::call(unit::kernel, values); }}

static const Entry KERNELS[] = {
    ENTRY(arrivals, tokenloom_arrivals), ENTRY(mask, tokenloom_forbid),       ENTRY(mixture, tokenloom_mixture),
    ENTRY(ranges, tokenloom_maxima),     ENTRY(ranges, tokenloom_range_sums), ENTRY(report, tokenloom_process),
    ENTRY(report, tokenloom_stats),      ENTRY(sample, tokenloom_sample),     ENTRY(verify, tokenloom_row_scales),
    ENTRY(verify, tokenloom_verify),
};

static const Entry* kernel_named(const char* name) {
  for (const Entry& entry : KERNELS) {
    if (strcmp(entry.name, name) == 0) return &entry;
  }
  return nullptr;
}

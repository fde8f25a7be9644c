// Every kernel by its name, on the CPU.
#include "cuda_on_cpu.h"

#include "../cut.cuh"
#include "../noise.cuh"
#include "../row.cuh"

namespace sample {
#include "../sample.cu"
}

struct Entry {
  const char* name;
  void (*run)(void**);
};

#define ENTRY(unit, kernel) {#kernel, [](void** values) { shim::call(unit::kernel, values); }}

static const Entry KERNELS[] = {
    ENTRY(sample, tokenloom_sample),
};

static const Entry* kernel_named(const char* name) {
  for (const Entry& entry : KERNELS) {
    if (strcmp(entry.name, name) == 0) return &entry;
  }
  return nullptr;
}

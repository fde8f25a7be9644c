// A CUDA driver whose only device is the CPU: what the loader and torch code hand over can be seen without a GPU. "Device"
// addresses are host addresses. `fake_*` set what the next calls do, or say what was done.
#include "../../cuda/shim/kernels_on_cpu.cpp"

static void* current = nullptr;
static int version = 13020, arch = 90;
// Which images cuModuleLoadData takes: 1 ELF, 2 PTX.
static int takes = 3;
static unsigned n_threads_forced = 0, order_seed = 1, n_launches = 0;

struct LaunchConfig {
  unsigned grid[3], block[3], n_shared_bytes;
  void* stream;
  const unsigned* attributes;
  unsigned n_attributes;
};

static int launch(void* function, unsigned x, unsigned y, unsigned n_threads, unsigned n_cluster, unsigned n_shared,
                  void** values) {
  if (current != &current) return 201;
  if (x % n_cluster || n_shared > DYNAMIC_SHARED_BYTES || n_threads % 32 || n_threads > 1024) return 1;
  ++n_launches;
  const Entry* entry = (const Entry*)function;
  shim::run_grid(entry->run, values, x, y, n_threads_forced ? n_threads_forced : n_threads, n_cluster, order_seed);
  return 0;
}

extern "C" {
void fake_set(int new_version, int new_arch, int new_takes) {
  version = new_version, arch = new_arch, takes = new_takes;
}
void fake_fibers(unsigned n_threads, unsigned seed) { n_threads_forced = n_threads, order_seed = seed; }
unsigned fake_n_launches() { return n_launches; }

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* served) { return *served = version, 0; }
int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_FAKE", 0; }
int cuDeviceGetCount(int* n_devices) { return *n_devices = 1, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? 0 : 101; }
int cuDeviceGetName(char* name, int, int) { return strcpy(name, "fibers"), 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16 ? 1 : attribute == 75 ? arch / 10 : attribute == 76 ? arch % 10 : 0;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &current, 0; }
int cuCtxGetCurrent(void** context) { return *context = current, 0; }
int cuCtxSetCurrent(void* context) { return current = context, 0; }
int cuModuleLoadData(void** module, const void* image) {
  *module = &version;
  bool is_elf = memcmp(image, "\x7f" "ELF", 4) == 0;
  bool is_ptx = !is_elf && strstr((const char*)image, ".version");
  return (is_elf && takes & 1) || (is_ptx && takes & 2) ? 0 : is_ptx ? 222 : 200;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = (void*)kernel_named(name);
  return *function ? 0 : 500;
}
int cuFuncSetAttribute(void*, int attribute, int value) {
  return attribute == 8 && (unsigned)value <= DYNAMIC_SHARED_BYTES ? 0 : 1;
}
int cuStreamIsCapturing(void* stream, int* status) { return *status = stream == (void*)7, 0; }
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned, unsigned n_threads, unsigned, unsigned,
                   unsigned n_shared, void*, void** values, void**) {
  return launch(function, x, y, n_threads, 1, n_shared, values);
}
int cuLaunchKernelEx(const LaunchConfig* config, void* function, void** values, void**) {
  if (config->n_attributes != 1 || config->attributes[0] != 4) return 1;
  unsigned n_cluster = config->attributes[2];
  return launch(function, config->grid[0], config->grid[1], config->block[0], n_cluster, config->n_shared_bytes, values);
}
}

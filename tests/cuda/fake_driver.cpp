// A CUDA driver whose device is the CPU: it launches the shim, so the loader and the order, size and meaning of every launch
// parameter are tested where there is no GPU. "Device" addresses are host addresses.
#include "../../cuda/shim/sample_on_cpu.cpp"

static void* current = nullptr;
static int n_launches = 0;

extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 13020, 0; }
int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_FAKE", 0; }
int cuDeviceGetCount(int* n_devices) { return *n_devices = 1, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? 0 : 101; }
int cuDeviceGetName(char* name, int, int) { return strcpy(name, "fibers"), 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16 ? 1 : attribute == 75 ? 9 : 0;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &current, 0; }
int cuCtxGetCurrent(void** context) { return *context = current, 0; }
int cuCtxSetCurrent(void* context) { return current = context, 0; }
int cuModuleLoadData(void** module, const void* image) {
  *module = &n_launches;
  return memcmp(image, "\x7f" "ELF", 4) == 0 ? 0 : 200;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = &n_launches;
  return strcmp(name, "tokenloom_sample") == 0 ? 0 : 500;
}
int cuStreamIsCapturing(void* stream, int* status) { return *status = stream == (void*)7, 0; }
int cuLaunchKernel(void*, unsigned n_rows, unsigned, unsigned, unsigned n_threads, unsigned, unsigned, unsigned, void*,
                   void** p, void**) {
  if (current != &current) return 201;
  const u32 n_vocab = *(u32*)p[2];
  const bool has_mask = *(const u32**)p[3];
  if (*(i64*)p[1] != n_vocab || (has_mask && *(i64*)p[4] != (n_vocab + 31) / 32)) return 1;
  sample_on_cpu(n_rows, n_threads, *(const float**)p[0], n_vocab, *(const u32**)p[3], *(const float**)p[5],
                *(const i64**)p[6], *(const double**)p[7], *(const double**)p[8], *(const double**)p[9],
                *(const u64**)p[10], *(const u64**)p[11], *(u32*)p[12], *(i64**)p[13], *(float**)p[14],
                *(i8**)p[15], *(float**)p[16]);
  return 0;
}
}

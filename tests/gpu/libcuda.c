/* What scripts/matrix_product.py calls of CUDA's driver API, on the CPU: memory is malloc(3)'s, and
 * the one kernel is the product of two square matrices. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal > 1; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "second" : "first", length); return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(intptr_t)(device + 1); return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device > 1; }
int cuCtxSetCurrent(void *context) { return context == NULL; }
int cuCtxSynchronize(void) { return 0; }
int cuModuleLoadData(void **module, const char *image) { *module = strstr(image, ".entry product("); return *module == NULL; }
int cuModuleGetFunction(void **kernel, void *module, const char *name) { *kernel = module; return strcmp(name, "product"); }
int cuMemAlloc_v2(uint64_t *place, size_t length) { *place = (uintptr_t)malloc(length); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t length) { memcpy((void *)to, from, length); return 0; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t length) { memcpy(to, (void *)from, length); return 0; }
int cuGetErrorName(int status, const char **name) { *name = "CUDA_ERROR"; return 0; }

int cuLaunchKernel(void *kernel, unsigned rows, unsigned y, unsigned z, unsigned columns, unsigned v, unsigned w,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    float *a = *(float **)parameters[0], *b = *(float **)parameters[1], *c = *(float **)parameters[2];
    unsigned size = *(unsigned *)parameters[3];
    if (!kernel || rows != size || columns != size || y * z * v * w != 1 || shared || stream || extra)
        return 1;
    for (unsigned row = 0; row < rows; row++)
        for (unsigned column = 0; column < columns; column++) {
            float sum = 0;
            for (unsigned n = 0; n < size; n++)
                sum += a[row * size + n] * b[n * size + column];
            c[row * size + column] = sum + WRONG;
        }
    return 0;
}

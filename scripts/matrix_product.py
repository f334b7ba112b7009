"""A product of matrices on each GPU that a process sees: by the driver's own interface, then by torch.

`--no-torch` leaves the latter out. Run by scripts/gpu, in a container; needs nothing but Python.
"""

import ctypes
import sys

SIZE = 64

# c[row][column] = sum of a[row][n] * b[n][column], a thread each: the driver compiles it for the card.
PTX = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry product(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 size)
{
    .reg .pred %done;
    .reg .u32 %row, %column, %size, %n, %at;
    .reg .u64 %a, %b, %c, %from;
    .reg .f32 %left, %right, %sum;
    ld.param.u64 %a, [a];
    ld.param.u64 %b, [b];
    ld.param.u64 %c, [c];
    ld.param.u32 %size, [size];
    cvta.to.global.u64 %a, %a;
    cvta.to.global.u64 %b, %b;
    cvta.to.global.u64 %c, %c;
    mov.u32 %row, %ctaid.x;
    mov.u32 %column, %tid.x;
    mov.f32 %sum, 0f00000000;
    mov.u32 %n, 0;
NEXT:
    mad.lo.u32 %at, %row, %size, %n;
    mad.wide.u32 %from, %at, 4, %a;
    ld.global.f32 %left, [%from];
    mad.lo.u32 %at, %n, %size, %column;
    mad.wide.u32 %from, %at, 4, %b;
    ld.global.f32 %right, [%from];
    fma.rn.f32 %sum, %left, %right, %sum;
    add.u32 %n, %n, 1;
    setp.lt.u32 %done, %n, %size;
    @%done bra NEXT;
    mad.lo.u32 %at, %row, %size, %column;
    mad.wide.u32 %from, %at, 4, %c;
    st.global.f32 [%from], %sum;
    ret;
}
"""


class Driver:
    """CUDA's driver API, of libcuda.so.1: what a container is given of the driver."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(status, ctypes.byref(text))
            sys.exit(f"{name}: {(text.value or b'?').decode()} ({status})")

    def count(self):
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def multiply(self, ordinal):
        """Multiplies two matrices of small whole numbers, whose product is exact, and returns the card's name."""
        device, context, module, kernel = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, ctypes.c_int(256), device)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(PTX))
        self.call("cuModuleGetFunction", ctypes.byref(kernel), module, ctypes.c_char_p(b"product"))
        cells = range(SIZE * SIZE)
        a, b = [cell % 7 - 3 for cell in cells], [cell % 5 - 2 for cell in cells]
        matrix = ctypes.c_float * len(cells)
        length, result = ctypes.c_size_t(ctypes.sizeof(matrix)), matrix()
        places = [ctypes.c_uint64() for _ in range(3)]
        for place in places:
            self.call("cuMemAlloc_v2", ctypes.byref(place), length)
        for place, values in zip(places, (a, b)):
            self.call("cuMemcpyHtoD_v2", place, matrix(*values), length)
        parameters = [*places, ctypes.c_uint32(SIZE)]
        pointers = (ctypes.c_void_p * len(parameters))(*map(ctypes.addressof, parameters))
        one, threads, nothing = ctypes.c_uint(1), ctypes.c_uint(SIZE), ctypes.c_void_p()
        grid = (threads, one, one, threads, one, one)
        self.call("cuLaunchKernel", kernel, *grid, ctypes.c_uint(0), nothing, pointers, nothing)
        self.call("cuCtxSynchronize")
        self.call("cuMemcpyDtoH_v2", result, places[2], length)
        self.call("cuDevicePrimaryCtxRelease_v2", device)
        for cell in cells:
            row, column = divmod(cell, SIZE)
            expected = sum(a[row * SIZE + n] * b[n * SIZE + column] for n in range(SIZE))
            if result[cell] != expected:
                sys.exit(f"the driver's product is wrong: {result[cell]} in place of {expected}")
        return name.value.decode()


def with_torch(ordinal):
    """The same with torch, whose product on the CPU it is held against."""
    try:
        import torch
    except ImportError as error:
        sys.exit(f"the image has no torch ({error}): scripts/gpu --no-torch leaves it out")
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    a = torch.randn(2048, 2048, device=f"cuda:{ordinal}")
    if not torch.allclose((a @ a).cpu(), a.cpu() @ a.cpu(), rtol=1e-2, atol=1e-1):
        sys.exit("torch's product is wrong")
    return f"torch {torch.__version__}"


def main():
    driver = Driver()
    if driver.count() == 0:
        sys.exit("the driver sees no GPU")
    for ordinal in range(driver.count()):
        name, by = driver.multiply(ordinal), ["the driver"]
        if "--no-torch" not in sys.argv:
            by.append(with_torch(ordinal))
        print(f"{name} multiplies matrices: {', '.join(by)}")


main()

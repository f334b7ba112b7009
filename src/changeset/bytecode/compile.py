"""Compiles the modules below /build/modules into /build/bytecode, in the sandbox.

Its argument is where they lie in the image, which code objects and so tracebacks name.
Each is compiled in a process of its own that is forked from one state. How marshal writes
an object depends on how often it is referred to in the whole process, so that a file's
bytecode would else depend on which were compiled before it.
"""

import gc
import importlib.util
import os
import py_compile
import sys

MODULES = "/build/modules"
BYTECODE = "/build/bytecode"
# What a process that found a module to be no valid Python exits with.
INVALID = 65


def modules():
    """The modules, relative to MODULES, in an order that is always the same."""
    found = []
    for directory, _, names in os.walk(MODULES):
        found.extend(os.path.relpath(os.path.join(directory, name), MODULES) for name in names)
    return sorted(found)


def compile_one(module, image):
    """Compiles a module; returns the status to exit with."""
    try:
        py_compile.compile(
            os.path.join(MODULES, module),
            cfile=os.path.join(BYTECODE, importlib.util.cache_from_source(module, optimization="")),
            dfile=os.path.join(image, module),
            doraise=True,
            optimize=0,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except (py_compile.PyCompileError, RecursionError, ValueError) as error:
        print("no bytecode of {}: {}".format(module, str(error).strip().splitlines()[-1]), flush=True)
        return INVALID
    return 0


def main():
    os.umask(0o022)
    image = sys.argv[1]
    at_once = len(os.sched_getaffinity(0))
    running = {}
    gc.disable()

    def wait():
        child, status = os.wait()
        module = running.pop(child)
        if status not in (0, INVALID << 8):
            sys.exit("compiling {} ended with status {}".format(module, status))

    for module in modules():
        if len(running) == at_once:
            wait()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = compile_one(module, image)
            finally:
                os._exit(status)
        running[child] = module
    while running:
        wait()


main()

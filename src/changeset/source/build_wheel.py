"""Calls the hooks of a project's build backend (PEP 517), in the sandbox.

Its argument is JSON: the backend, its directories, and the normalised names of what
is there to build with. The project lies in /build/source; the wheel goes to
/build/wheel.
"""

import importlib
import json
import os
import re
import sys

SOURCE = "/build/source"
WHEEL = "/build/wheel"
# What the backend asks for and is not there, one a line.
UNMET = os.path.join(WHEEL, "unmet")


def find(entry_point, directories):
    """Imports the backend: `module` or `module:object`."""
    # PEP 517: "The directories ... are added to the start of sys.path"; without any,
    # "the source directory is not included".
    sys.path[0:1] = [os.path.join(SOURCE, directory) for directory in directories]
    module, _, path = entry_point.partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, path.split(".")):
        backend = getattr(backend, name)
    return backend


def unmet(backend, known):
    """What get_requires_for_build_wheel asks for, without what is there."""
    hook = getattr(backend, "get_requires_for_build_wheel", None)
    # A marker is not evaluated here: what has one and is not there is left to the build.
    asked = [text for text in (hook(None) if hook else []) if ";" not in text]
    names = [re.sub(r"[-_.]+", "-", re.match(r"[\w.-]*", text).group()).lower() for text in asked]
    return [text for text, name in zip(asked, names) if name not in known]


def main():
    os.umask(0o022)
    os.chdir(SOURCE)
    task = json.loads(sys.argv[1])
    backend = find(task["backend"], task["backend-path"])
    missing = unmet(backend, task["known"])
    if missing:
        with open(UNMET, "w") as out:
            out.write("\n".join(missing))
        sys.exit("it needs {} to be built".format(", ".join(missing)))
    backend.build_wheel(WHEEL, None, None)


main()

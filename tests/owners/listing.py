# Prints every path of a root filesystem with what a layer says of it, an object a line.
import json, os, stat

SKIPPED = {"/proc", "/sys", "/dev", "/parity"}


def entry(path, status):
    mode = status.st_mode
    return {
        "path": path,
        "mode": mode,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": status.st_size if stat.S_ISREG(mode) else 0,
        "target": os.readlink(path) if stat.S_ISLNK(mode) else "",
        "device": status.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
    }


def walk(directory):
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if path in SKIPPED:
            continue
        status = os.lstat(path)
        print(json.dumps(entry(path, status)))
        if stat.S_ISDIR(status.st_mode):
            walk(path)


walk("/")

# shellcheck shell=sh
# What is in /etc/profile sets PATH anew. In a container a login shell keeps the
# PATH that it was started with: the image's, with its venvs.
if [ -r "/proc/$$/environ" ]; then
    dlpack_path=$(tr '\0' '\n' <"/proc/$$/environ" | sed -n 's/^PATH=//p' | tail -n 1)
    if [ -n "$dlpack_path" ]; then
        PATH=$dlpack_path
        export PATH
    fi
    unset dlpack_path
fi

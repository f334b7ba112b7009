#!/bin/bash
# Builds an image on a node's own disk, tries it on the GPU, and pushes it.
#
#   sbatch slurm.sh alice/dl-env:latest
#
# A job that is preempted, or that comes to its time limit, goes on where it stood: on this
# node or on another.
#SBATCH --job-name=dlpack
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
# One that is preempted is started again ...
#SBATCH --requeue
#SBATCH --open-mode=append
# ... and one that comes to its limit is told so a minute before.
#SBATCH --signal=TERM@60
set -euo pipefail
target=${1:?usage: sbatch slurm.sh TARGET}

# Layers and wheels lie on the node's disk; its next job finds them there.
export DLPACK_STORE=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/dlpack-$(id -un)
# How far uploads are is noted down where every node can look.
export DLPACK_JOURNAL=$HOME/.cache/dlpack-journal

# A step, since Slurm sends its signals to steps. dlpack ends within a second of one.
step() {
    local status=0
    srun --ntasks=1 --kill-on-bad-exit=0 "$@" || status=$?
    # 143: the time limit is near. Slurm itself starts again what it preempts.
    if [ "$status" -eq 143 ]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$status"
}

step dlpack run --gpus all -- python -c 'import torch; assert torch.cuda.is_available()'
step dlpack push "$target"

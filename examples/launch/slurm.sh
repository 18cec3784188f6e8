#!/bin/bash
# Trains recipes/scale-1b.yaml on eight machines of eight GPUs, from the root of the checkout:
#   sbatch examples/launch/slurm.sh --data prepared/text
# Further flags of `textdiffusion train` may follow. Submitted again, it goes on from the last whole checkpoint.
#SBATCH --job-name=scale-1b
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

output=${OUTPUT:-runs/scale-1b}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
port=$((20000 + SLURM_JOB_ID % 20000))
resume=()
if compgen -G "$output/checkpoints/checkpoint-*/trainer_state.json" > /dev/null; then
    resume=(--resume)
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}

# One torchrun a machine; each starts a process for each GPU and meets the others at the first machine.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes="$SLURM_NNODES" --nproc-per-node="${GPUS_PER_NODE:-8}" \
    --rdzv-backend=c10d --rdzv-endpoint="$first:$port" --rdzv-id="$SLURM_JOB_ID" \
    -m textdiffusion train --config recipes/scale-1b.yaml --accumulation 1 --output "$output" \
    ${resume[@]+"${resume[@]}"} "$@"

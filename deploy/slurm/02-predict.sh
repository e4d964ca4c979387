#!/usr/bin/env bash
#SBATCH --job-name=bigseg-predict
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --open-mode=append
#SBATCH --gres=gpu:1
#SBATCH --account=ours
#SBATCH --partition=gpu

# Blocks of the step predict: task N computes those in line FIRST + N of 02-predict.blocks.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

line=$((${FIRST:-0} + ${SLURM_ARRAY_TASK_ID:-1}))
blocks=$(sed -n "${line}p" /shared/data/jobs/1/02-predict.blocks)
bigseg block /shared/data/brain.zarr.cells.bigseg --stage predict --blocks "$blocks"

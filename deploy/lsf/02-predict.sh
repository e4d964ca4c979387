#!/usr/bin/env bash
#BSUB -J bigseg-predict
#BSUB -W 4:00
#BSUB -n 2
#BSUB -R "span[hosts=1] rusage[mem=8GB]"
#BSUB -gpu "num=1"
#BSUB -P ours
#BSUB -q gpu

# Blocks of the step predict: task N computes those in line FIRST + N of 02-predict.blocks.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

line=$((${FIRST:-0} + ${LSB_JOBINDEX:-1}))
blocks=$(sed -n "${line}p" /shared/data/jobs/1/02-predict.blocks)
bigseg block /shared/data/brain.zarr.cells.bigseg --stage predict --blocks "$blocks"

#!/usr/bin/env bash
#$ -S /bin/bash
#$ -N bigseg-predict
#$ -l h_rt=04:00:00
#$ -l mem_free=4G
#$ -pe smp 2
#$ -j y
#$ -l gpu=1
#$ -P ours
#$ -q gpu.q

# Blocks of the step predict: task N computes those in line FIRST + N of 02-predict.blocks.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

line=$((${FIRST:-0} + ${SGE_TASK_ID:-1}))
blocks=$(sed -n "${line}p" /shared/data/jobs/1/02-predict.blocks)
bigseg block /shared/data/brain.zarr.cells.bigseg --stage predict --blocks "$blocks"

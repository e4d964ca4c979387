#!/usr/bin/env bash
#PBS -N bigseg-predict
#PBS -l walltime=04:00:00
#PBS -l select=1:ncpus=2:mem=8gb:ngpus=1
#PBS -j oe
#PBS -A ours
#PBS -q gpu

# Blocks of the step predict: task N computes those in line FIRST + N of 02-predict.blocks.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

line=$((${FIRST:-0} + ${PBS_ARRAY_INDEX:-1}))
blocks=$(sed -n "${line}p" /shared/data/jobs/1/02-predict.blocks)
bigseg block /shared/data/brain.zarr.cells.bigseg --stage predict --blocks "$blocks"

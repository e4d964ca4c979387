#!/usr/bin/env bash
#$ -S /bin/bash
#$ -N bigseg-normalize
#$ -l h_rt=04:00:00
#$ -l mem_free=4G
#$ -pe smp 2
#$ -j y
#$ -P ours

# Do normalize.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

for step in normalize; do
  bigseg block /shared/data/brain.zarr.cells.bigseg --stage "$step" --finish
done

#!/usr/bin/env bash
#PBS -N bigseg-normalize
#PBS -l walltime=04:00:00
#PBS -l select=1:ncpus=2:mem=8gb
#PBS -j oe
#PBS -A ours

# Do normalize.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

for step in normalize; do
  bigseg block /shared/data/brain.zarr.cells.bigseg --stage "$step" --finish
done

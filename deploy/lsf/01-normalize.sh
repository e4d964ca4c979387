#!/usr/bin/env bash
#BSUB -J bigseg-normalize
#BSUB -W 4:00
#BSUB -n 2
#BSUB -R "span[hosts=1] rusage[mem=8GB]"
#BSUB -P ours

# Do normalize.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

for step in normalize; do
  bigseg block /shared/data/brain.zarr.cells.bigseg --stage "$step" --finish
done

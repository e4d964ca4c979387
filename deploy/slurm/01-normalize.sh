#!/usr/bin/env bash
#SBATCH --job-name=bigseg-normalize
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --open-mode=append
#SBATCH --account=ours

# Do normalize.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

for step in normalize; do
  bigseg block /shared/data/brain.zarr.cells.bigseg --stage "$step" --finish
done

#!/usr/bin/env bash
#SBATCH --job-name=bigseg-close-predict
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --open-mode=append
#SBATCH --account=ours

# Close predict.
set -euo pipefail
export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 OMP_WAIT_POLICY=passive

bigseg finish /shared/data/brain.zarr.cells.bigseg --stage predict

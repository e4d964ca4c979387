#!/usr/bin/env bash
#SBATCH --job-name=@JOB@
#SBATCH --time=@TIME@
#SBATCH --cpus-per-task=@CORES@
#SBATCH --mem=@MEMORY@G
#SBATCH --open-mode=append
@DIRECTIVES@

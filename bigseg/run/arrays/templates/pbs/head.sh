#!/usr/bin/env bash
#PBS -N @JOB@
#PBS -l walltime=@TIME@
#PBS -l select=1:ncpus=@CORES@:mem=@MEMORY@gb@GPU_PART@
#PBS -j oe
@DIRECTIVES@

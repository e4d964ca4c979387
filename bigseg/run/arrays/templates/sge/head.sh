#!/usr/bin/env bash
#$ -S /bin/bash
#$ -N @JOB@
#$ -l h_rt=@TIME@
#$ -l mem_free=@MEMORY_OF_CORE@G
@SLOTS@
#$ -j y
@DIRECTIVES@

#!/usr/bin/env bash
#BSUB -J @JOB@
#BSUB -W @HOURS@:@MINUTES@
#BSUB -n @CORES@
#BSUB -R "span[hosts=1] rusage[mem=@MEMORY@GB]"
@DIRECTIVES@

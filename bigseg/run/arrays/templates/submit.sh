#!/usr/bin/env bash
# Submits what is left of the run @RUN_TEXT@
# to @SCHEDULER@, each job after those it needs. The ids are kept in the file 'submitted'.
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -s submitted ]; then
  echo "These jobs are submitted already; 'bigseg jobs' writes new ones for what is left." >&2
  exit 1
fi

# submit NAME FIRST TASKS [ID…]: NAME.sh, as an array of TASKS tasks that begins after line FIRST of
# NAME.blocks, once the jobs ID have succeeded. It prints the id of the job.
@SUBMIT@
@JOBS@

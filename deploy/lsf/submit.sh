#!/usr/bin/env bash
# Submits what is left of the run /shared/data/brain.zarr.cells.bigseg
# to LSF, each job after those it needs. The ids are kept in the file 'submitted'.
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -s submitted ]; then
  echo "These jobs are submitted already; 'bigseg jobs' writes new ones for what is left." >&2
  exit 1
fi

# submit NAME FIRST TASKS [ID…]: NAME.sh, as an array of TASKS tasks that begins after line FIRST of
# NAME.blocks, once the jobs ID have succeeded. It prints the id of the job.
submit() {
  local name=$1 first=$2 tasks=$3 job after=() needed="" id
  shift 3
  job=$(sed -n 's/^#BSUB -J //p' "$name.sh")
  for id; do needed+="${needed:+ && }done($id)"; done
  if [ -n "$needed" ]; then
    after=(-ti -w "$needed") # -ti ends a job whose predecessor fails; it would wait for ever
  fi
  id=$(bsub -J "$job[1-$tasks]" "${after[@]}" -env "all, FIRST=$first" \
    -o "$PWD/logs/$name.$first+%I.log" <"$name.sh") || return
  id=$(sed -n 's/^Job <\([0-9]*\)>.*/\1/p' <<<"$id")
  echo "$id $name $first $tasks" >>submitted
  echo "$id"
}

# Do normalize.
job_1="$(submit 01-normalize 0 1)"

# predict: 1500 task(s)
job_2="$(submit 02-predict 0 1000 $job_1)"
job_2+=" $(submit 02-predict 1000 500 $job_1)"

# Close predict.
job_3="$(submit 03-close-predict 0 1 $job_2)"

# label: 600 task(s)
job_4="$(submit 04-label 0 600 $job_3)"

# Close label. Do merge, publish, report.
job_5="$(submit 05-close-label 0 1 $job_4)"

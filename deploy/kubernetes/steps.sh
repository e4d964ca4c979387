#!/usr/bin/env bash
# A prepared run on Kubernetes without Dask: each step is an Indexed Job, one after the other.
#   bigseg segment s3://bucket/embryo.zarr … --prepare
#   steps.sh s3://bucket/embryo.zarr.cells.bigseg [NAMESPACE]
# Needs kubectl, and bigseg where it runs; a laptop will do, and may be shut in between: the same
# command goes on where the run is.
set -euo pipefail
run=${1:?give the run folder} namespace=${2:-default}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

left() { # names of the steps that are not finished
  bigseg status "$run" --json | python3 -c '
import json, sys
print(*(s["name"] for s in json.load(sys.stdin)["steps"] if not s["finished"]), sep="\n")'
}

for step in $(left); do
  name=bigseg-$(printf %s "$run" | sha256sum | cut -c1-8)-$step
  sed -e "s|NAME$|$name|" -e "s|RUN_URL|$run|" -e "s|STEP_NAME|$step|" "$here/step.yaml" \
    | kubectl --namespace "$namespace" apply -f -
  # Whichever comes first; a Job that failed is left for kubectl logs.
  kubectl --namespace "$namespace" wait --for=condition=Complete --timeout=-1s "job/$name" &
  complete=$!
  kubectl --namespace "$namespace" wait --for=condition=Failed --timeout=-1s "job/$name" &
  failed=$!
  wait -n "$complete" "$failed" || true
  kill "$complete" "$failed" 2>/dev/null || true
  bigseg finish "$run" --stage "$step" # says which blocks are missing, if any are
  kubectl --namespace "$namespace" delete "job/$name" --wait=true
done

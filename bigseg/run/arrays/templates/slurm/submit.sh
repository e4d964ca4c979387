submit() {
  local name=$1 first=$2 tasks=$3 array=() after=() log=1 id
  shift 3
  if [ "$tasks" -gt 1 ]; then
    array=(--array="1-$tasks@AT_ONCE@")
    log=%a
  fi
  if [ $# -gt 0 ]; then
    # A job whose predecessor fails would wait for ever otherwise.
    after=(--dependency="afterok:$(IFS=:; echo "$*")" --kill-on-invalid-dep=yes)
  fi
  id=$(sbatch --parsable "${array[@]}" "${after[@]}" --export="ALL,FIRST=$first" \
    --output="$PWD/logs/$name.$first+$log.log" "$name.sh") || return
  id=${id%%;*}
  echo "$id $name $first $tasks" >>submitted
  echo "$id"
}

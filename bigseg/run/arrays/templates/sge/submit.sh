submit() {
  local name=$1 first=$2 tasks=$3 after=() id
  shift 3
  if [ $# -gt 0 ]; then
    # This waits for the end of jobs, however they end; a step refuses to begin before its time.
    after=(-hold_jid "$(IFS=,; echo "$*")")
  fi
  id=$(qsub -terse -t "1-$tasks" @AT_ONCE@ "${after[@]}" -v "FIRST=$first" \
    -o "$PWD/logs/$name.$first+\$TASK_ID.log" "$name.sh") || return
  id=${id%%.*}
  echo "$id $name $first $tasks" >>submitted
  echo "$id"
}

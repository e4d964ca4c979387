submit() {
  local name=$1 first=$2 tasks=$3 array=() after=() log=1 id
  shift 3
  if [ "$tasks" -gt 1 ]; then # an array of one task is refused
    array=(-J "1-$tasks@AT_ONCE@")
    log='^array_index^'
  fi
  if [ $# -gt 0 ]; then
    after=(-W "depend=afterok:$(IFS=:; echo "$*")")
  fi
  id=$(qsub "${array[@]}" "${after[@]}" -v "FIRST=$first" \
    -o "$PWD/logs/$name.$first+$log.log" "$name.sh") || return
  echo "$id $name $first $tasks" >>submitted
  echo "$id"
}

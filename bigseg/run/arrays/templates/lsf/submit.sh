submit() {
  local name=$1 first=$2 tasks=$3 job after=() needed="" id
  shift 3
  job=$(sed -n 's/^#BSUB -J //p' "$name.sh")
  for id; do needed+="${needed:+ && }done($id)"; done
  if [ -n "$needed" ]; then
    after=(-ti -w "$needed") # -ti ends a job whose predecessor fails; it would wait for ever
  fi
  id=$(bsub -J "$job[1-$tasks]@AT_ONCE@" "${after[@]}" -env "all, FIRST=$first" \
    -o "$PWD/logs/$name.$first+%I.log" <"$name.sh") || return
  id=$(sed -n 's/^Job <\([0-9]*\)>.*/\1/p' <<<"$id")
  echo "$id $name $first $tasks" >>submitted
  echo "$id"
}

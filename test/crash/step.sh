#!/bin/sh
# A step of the harness' missions. $1: kind, $2: folder of the evidence, which no runtime touches.
#   safe   leaves its effect last and whole, so that running it again changes nothing
#   never  tells when it began and when it ended, so that a second run shows
#   probe  has an effect that succeeds once; `ask` says whether it is there
name="$LAZARUS_CELL.$LAZARUS_TASK.$LAZARUS_STEP"
note() { echo "$name $1 $LAZARUS_KEY $LAZARUS_ATTEMPT" >>"$2/runs.log"; }
case "$1" in
safe)
  note begin "$2"
  sleep 0.02
  echo "done by attempt $LAZARUS_ATTEMPT" >"$2/effects/.$name.$$"
  mv -f "$2/effects/.$name.$$" "$2/effects/$name"
  note end "$2"
  ;;
never)
  note begin "$2"
  sleep 0.02
  note end "$2"
  ;;
probe)
  note begin "$2"
  sleep 0.02
  mkdir "$2/effects/$name" || { note repeated "$2"; exit 3; }
  note end "$2"
  ;;
ask)
  test -d "$2/effects/$name"
  ;;
*)
  exit 2
  ;;
esac

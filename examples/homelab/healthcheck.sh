#!/bin/sh
# Exit 0 while the planner gives a sign of life, 1 when its heartbeat is missing or older than MAX_AGE_SECONDS.
set -eu
heartbeat="${RUNTIME_PATH:-/opt/homelab}/state/planner-agent.heartbeat"
max_age="${MAX_AGE_SECONDS:-300}"
touched="$(stat -c %Y "$heartbeat" 2>/dev/null || stat -f %m "$heartbeat" 2>/dev/null)" || {
  echo "there is no $heartbeat" >&2
  exit 1
}
age=$(($(date +%s) - touched))
[ "$age" -le "$max_age" ] && exit 0
echo "the heartbeat is $age s old; $max_age s are allowed" >&2
exit 1

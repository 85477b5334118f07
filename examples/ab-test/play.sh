#!/bin/sh
# Plays three days of the access log, 720 times as fast as they were: six minutes. Every three hours of the log, 15 seconds here, the
# batch layer computes what it speaks of anew, as flows/batch.yaml does by the clock. Begin the server first: mulgil server
set -eu
cd "$(dirname "$0")"
mulgil=${MULGIL:-mulgil}
python3 access_log.py --speed "${SPEED:-720}" "$@" | "$mulgil" --project . log produce access --raw &
log=$!
trap 'kill $log 2>/dev/null || true' EXIT
while sleep "${BATCH_SECONDS:-15}" && kill -0 $log 2>/dev/null; do
  "$mulgil" --project . view refresh ab_test >/dev/null || echo "batch has nothing to speak of yet"
done
"$mulgil" --project . view refresh ab_test

#!/usr/bin/env bash
# The real thing in a real browser: the demo's own server with a whole year in it, headless Chromium, and a click on
# Re-run that heals the day whose file was damaged. Beside it a server with the A/B test, whose two layers a dashboard shows.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
mulgil=$PWD/target/debug/mulgil
servers=()
trap 'kill -9 "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# Starts a server in a project's folder. It writes its address when it answers; one that has ended says why in its log.
url=
start() {
  local project=$1
  shift
  "$mulgil" "$@" --listen 127.0.0.1:0 >"$project.log" 2>&1 &
  local server=$! address=$project/.mulgil/server.json
  servers+=("$server")
  for _ in $(seq 1 600); do
    [ -s "$address" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$project.log"; exit 1; }
    sleep 0.1
  done
  url=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).url' "$address")
}

start "$work/flights" demo "$work/flights" --speed 86400
flights=$url
"$mulgil" init --example ab-test "$work/ab-test" 2>/dev/null
start "$work/ab-test" --project "$work/ab-test" server
ab=$url

# One day of the year fails, and that is what the browser is to heal.
"$mulgil" --project "$work/flights" flow backfill daily_delays --from 2013-01-01 --to 2013-12-31 2>&1 | tail -n 1 || true

BASE_URL=$flights AB_URL=$ab MULGIL_PROJECT_DIR=$work/flights \
  MULGIL_MEND_COMMAND="sed -i 401d data/landing/departures/flight_date=2013-01-16/departures.csv" \
  npm run e2e --prefix ui --silent || { tail -n 50 "$work"/*.log; exit 1; }

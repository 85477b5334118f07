#!/usr/bin/env bash
# The real thing in a real browser: the demo's own server with a whole year in it, headless Chromium, and a click on
# Re-run that heals the day whose file was damaged.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
mulgil=$PWD/target/debug/mulgil
"$mulgil" demo "$work/flights" --listen 127.0.0.1:0 --speed 86400 >"$work/server.log" 2>&1 &
server=$!
trap 'kill -9 $server 2>/dev/null || true; rm -rf "$work"' EXIT

# The server writes its address when it answers; a server that has ended says why in its log.
address=$work/flights/.mulgil/server.json
for _ in $(seq 1 600); do
  [ -s "$address" ] && break
  kill -0 $server 2>/dev/null || { cat "$work/server.log"; exit 1; }
  sleep 0.1
done
url=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).url' "$address")

# One day of the year fails, and that is what the browser is to heal.
"$mulgil" --project "$work/flights" flow backfill daily_delays --from 2013-01-01 --to 2013-12-31 2>&1 | tail -n 1 || true

BASE_URL=$url MULGIL_PROJECT_DIR=$work/flights \
  MULGIL_MEND_COMMAND="sed -i 401d data/landing/departures/flight_date=2013-01-16/departures.csv" \
  npm run e2e --prefix ui --silent || { tail -n 50 "$work/server.log"; exit 1; }

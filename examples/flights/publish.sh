#!/bin/sh
# Writes the day's report. The file is replaced as a whole, so running twice leaves one report.
set -eu
day=$1
mkdir -p reports
"${MULGIL:-mulgil}" sql --format csv -c "SELECT origin, carrier, flights, cancelled, mean_delay, p90_delay
  FROM mart.daily_delays WHERE day = DATE '$day' ORDER BY origin, carrier" > "reports/.$day.csv.part"
mv "reports/.$day.csv.part" "reports/$day.csv"

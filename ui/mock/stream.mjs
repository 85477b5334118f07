// The mock's stream side: a view whose watermark moves on, and the topic that it reads.
import { YEAR_START, windowsBefore } from "./flights.mjs";

const HOUR_MS = 3_600_000;
const TICK_MS = 500;
const COLUMNS = [
  { name: "origin", type: "VARCHAR", nullable: true },
  { name: "window_start", type: "TIMESTAMP(3)", nullable: false },
  { name: "flights", type: "BIGINT", nullable: false },
  { name: "mean_delay", type: "DOUBLE", nullable: true },
];
const DEFINITION = `CREATE MATERIALIZED TABLE delays_per_hour
  FRESHNESS = INTERVAL '10' SECOND  REFRESH_MODE = CONTINUOUS
AS SELECT origin, window_start, count(*) AS flights, avg(dep_delay) AS mean_delay
   FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
   GROUP BY origin, window_start, window_end;
`;

const SAMPLE = ["EWR", "JFK", "LGA"].map((origin, i) =>
  JSON.stringify({ carrier: "EV", flight: 4381 + i, origin, dest: "DTW", dep_delay: 203 + 41 * i, scheduled: "2013-02-14T1" + i + ":05:00" }));

export class StreamSide {
  constructor(emit) {
    this.hours = 24 * 45;
    setInterval(() => {
      this.hours += 1;
      emit({ type: "view", ...this.summary() });
    }, TICK_MS).unref();
  }

  summary() {
    return {
      name: "delays_per_hour", mode: "continuous", state: "running", watermark: new Date(YEAR_START + (this.hours - 2) * HOUR_MS).toISOString(),
      rows_in: this.hours * 38, rows: Math.round(this.hours * 2.375), late_rows: Math.round(this.hours * 0.21), late_rows_dropped: Math.round(this.hours * 0.004), lag_ms: 2 * HOUR_MS, version: this.hours, rows_in_per_second: 76.4, problems: [],
    };
  }

  detail() {
    const source = (partition, behind, state = "active") => ({
      source: "departures", partition, state, rows: Math.round((this.hours * 38) / 3), watermark: new Date(YEAR_START + (this.hours - 2) * HOUR_MS + behind).toISOString(),
    });
    return {
      ...this.summary(), definition: DEFINITION, file: "views/delays_per_hour.sql", columns: COLUMNS, late_sample: SAMPLE, null_event_times: 0, skipped_rows: 0, refreshed_at: null,
      held_back_by: { source: "departures", partition: "1" }, sources: [source("0", 2.2 * HOUR_MS), source("1", 0), source("2", 0.7 * HOUR_MS, "idle")],
    };
  }

  rows(limit) {
    return { columns: COLUMNS, rows: windowsBefore(this.hours, limit), truncated: true, elapsed_ms: 4 };
  }

  topics() {
    const partition = (id, share) => ({ partition: id, first_offset: 0, next_offset: Math.round(this.hours * 38 * share), bytes: Math.round(this.hours * 38 * share * 142) });
    return [{ name: "departures", partitions: [partition(0, 0.34), partition(1, 0.33), partition(2, 0.33)] }];
  }

  records(offset, limit) {
    const records = Array.from({ length: limit }, (_, i) => ({
      offset: offset + i, timestamp: new Date(Date.now() - (limit - i) * 90).toISOString(),
      value: { carrier: ["UA", "B6", "DL", "EV"][(offset + i) % 4], flight: 1000 + ((offset + i) * 37) % 4000, origin: ["EWR", "JFK", "LGA"][(offset + i) % 3], dest: "BOS", dep_delay: ((offset + i) % 40) - 5, scheduled: "2013-02-14T17:05:00" },
    }));
    return { records, next_offset: offset + limit };
  }
}

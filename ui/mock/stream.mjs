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

const BAD_ROWS = [
  { place: "topic departures, partition 0, offset 40211", reason: "missing NOT NULL field \"carrier\"", raw: '{"flight":4381,"origin":"EWR","dest":"DTW","dep_delay":203}', is_cut: false },
  { place: "topic departures, partition 2, offset 39877", reason: "expected a JSON object", raw: "<script>alert('물길')</script>\\u{202e}\\xff\\n".padEnd(300, "x"), is_cut: true },
].map((row, i) => ({ source: "departures", read_at: new Date(Date.now() - 95_000 + i * 60_000).toISOString(), ...row }));

const GUARANTEE = { given: "end-to-end exactly-once", reasons: [
  { table: "departures", is_source: true, says: "can be read again from any position" },
  { table: "late_departures", is_source: false, says: "commits with the checkpoint" },
] };

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
    const since = new Date(Date.now() - 74_000).toISOString();
    const source = (partition, behind, state = "active") => ({
      source: "departures", partition, state, since, rows: Math.round((this.hours * 38) / 3), rows_per_second: 25.4, bytes: this.hours * 1800, bytes_per_second: 3620, watermark: new Date(YEAR_START + (this.hours - 2) * HOUR_MS + behind).toISOString(),
    });
    return {
      ...this.summary(), definition: DEFINITION, file: "views/delays_per_hour.sql", columns: COLUMNS, late_sample: SAMPLE, null_event_times: 0, skipped_rows: BAD_ROWS.length, bad_rows: BAD_ROWS, refreshed_at: null,
      guarantee: GUARANTEE, checkpoints: { completed: 412, failed: 0, given_up: 0, completed_at: new Date(Date.now() - 4000).toISOString(), pause_ms: 3.4, took_ms: 28, written_bytes: 48_213, state_bytes: 1_912_004 },
      waits: [{ table: "late_departures", is_source: false, what: "connect to 10.0.0.7:5432/ops: error connecting to server: Connection refused (os error 111)", since: new Date(Date.now() - 74_000).toISOString() }],
      latency: { p50_ms: 3.2, p95_ms: 11.8, p99_ms: 41, max_ms: 96 }, dataflow: this.dataflow(),
      held_back_by: { source: "departures", partition: "1", since }, sources: [source("0", 2.2 * HOUR_MS), source("1", 0), source("2", 0.7 * HOUR_MS, "idle")],
    };
  }

  /** A view that has failed at a row and waits for a person. */
  failed() {
    const [row] = BAD_ROWS;
    const error = `source departures: ${row.place}: ${row.reason}`;
    return {
      ...this.detail(), name: "late_by_carrier", file: "views/late_by_carrier.sql", state: "failed", rows: 0, rows_in: 40_211, rows_in_per_second: 0, late_rows: 0, late_rows_dropped: 0, late_sample: [], waits: [], dataflow: null, latency: null,
      skipped_rows: 0, bad_rows: [row], error: `${error}; it has come again 3 times at the same rows, so some row cannot be taken: mend it, or the query, and then \`mulgil view resume late_by_carrier\``,
      restarts: { count: 3, tries: 4, last_error: error, failed_at: new Date(Date.now() - 31_000).toISOString() },
    };
  }

  /** A stage that reads and pre-aggregates, one that aggregates by key and is busy, and what that does to the edge between. */
  dataflow() {
    const [read, aggregate] = ["departures -> local aggregate per 1 h", "aggregate count(*), avg(dep_delay) by origin per 1 h"];
    const watermark = new Date(YEAR_START + (this.hours - 2) * HOUR_MS).toISOString();
    const ticks = this.hours - 24 * 45;
    const subtask = (stage, number, busy, blocked, from, state_bytes) => ({
      stage, subtask: number, busy_ms: ticks * TICK_MS * busy, blocked_ms: ticks * TICK_MS * blocked, idle_ms: ticks * TICK_MS * (1 - busy - blocked), rows_in: this.hours * 19, rows_out: this.hours * 4,
      rows_in_per_second: 38.2, rows_out_per_second: 4.1, bytes_in: this.hours * 2700, bytes_out: this.hours * 560, state_bytes,
      inputs: [{ from, state: "active", watermark, since: new Date(Date.now() - 4000).toISOString() }],
    });
    const edge = (from, to, exchange, fullness) => ({ from, to, exchange, fullness, queued_bytes: Math.round(fullness * 4_194_304), queued_bytes_max: 4_194_304 });
    return {
      subtasks: [
        subtask(read, 0, 0.22, 0.41, "departures", 18_400), subtask(read, 1, 0.2, 0.38, "departures", 17_900),
        subtask(aggregate, 0, 0.96, 0, read, 412_000), subtask(aggregate, 1, 0.31, 0, read, 96_000),
      ],
      edges: [edge("departures", read, "read", 0.62), edge(read, aggregate, "hash", 0.97), edge(aggregate, "delays_per_hour", "write", 0.01)],
      sinks: [{ table: "delays_per_hour", rows: this.hours * 2, rows_per_second: 4.1, bytes: this.hours * 180, bytes_per_second: 370 }],
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

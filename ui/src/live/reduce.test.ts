import { describe, expect, it } from "vitest";
import type { Backfill, Event, FlowSummary, Grid, RunDetail, ViewDetail, ViewSummary } from "../api/types";
import { REFETCH, reduceBackfills, reduceFlows, reduceGrid, reduceRows, reduceRun, reduceView, reduceViews } from "./reduce";

const AT = "2026-11-21T10:00:00Z";
const LATER = "2026-11-21T10:00:02.500Z";

type RunEvent = Extract<Event, { type: "run" }>;
const runEvent = (change: Partial<RunEvent>): RunEvent => ({
  type: "run", id: 1, flow: "daily", name: "daily 2013-01-01", label: "2013-01-01", status: "running", at: AT, ...change,
});
const taskEvent = (change: object): Event => ({
  type: "task", flow: "daily", run: 1, task: "land", status: "running", letter: "r", attempts: 1, at: AT, ...change,
});
const project: Event = { type: "project", problems: 1 };

const GRID: Grid = {
  tasks: ["land", "publish"],
  runs: [
    { id: 1, label: "2013-01-01", status: "queued", cells: "ww" },
    { id: 2, label: "2013-01-03", status: "succeeded", cells: "ss", started_at: AT, duration_ms: 1200 },
  ],
};

function fold<T>(data: T, reduce: (data: T, event: Event) => T | typeof REFETCH, ...events: Event[]): T {
  let now = data;
  for (const event of events) {
    const next = reduce(now, event);
    if (next === REFETCH) throw new Error("asks for a refetch");
    now = next;
  }
  return now;
}

describe("reduceGrid", () => {
  const reduce = (grid: Grid, event: Event): Grid | typeof REFETCH => reduceGrid("daily", grid, event);

  it("follows a run from its start to its end and measures it", () => {
    const grid = fold(
      GRID, reduce, runEvent({}), taskEvent({}), taskEvent({ status: "succeeded", letter: "s" }), taskEvent({ task: "publish", status: "failed", letter: "f" }),
      runEvent({ status: "failed", at: LATER }),
    );
    expect(grid.runs[0]).toMatchObject({ status: "failed", cells: "sf", started_at: AT, duration_ms: 2500 });
  });
  it("keeps every column that did not change, so that it is not drawn again", () => {
    const grid = fold(GRID, reduce, taskEvent({}));
    expect(grid.runs[1]).toBe(GRID.runs[1]);
    expect(grid.runs[0]).not.toBe(GRID.runs[0]);
  });
  it("puts a new run where its interval belongs", () => {
    const grid = fold(GRID, reduce, runEvent({ id: 3, label: "2013-01-02", status: "queued" }));
    expect(grid.runs.map((run) => [run.id, run.cells])).toEqual([[1, "ww"], [3, "ww"], [2, "ss"]]);
  });
  it("leaves events of other flows and unknown tasks alone", () => {
    expect(reduce(GRID, runEvent({ flow: "other" }))).toBe(GRID);
    expect(reduce(GRID, taskEvent({ task: "ghost" }))).toBe(GRID);
    expect(reduce(GRID, taskEvent({ run: 99 }))).toBe(GRID);
  });
  it("asks again when the project's files changed", () => {
    expect(reduce(GRID, project)).toBe(REFETCH);
  });
});

describe("reduceFlows", () => {
  const flow: FlowSummary = {
    name: "daily", paused: false, timezone: "UTC", problems: [], recent_runs: [{ id: 1, label: "2013-01-01", status: "running" }],
    counts: { queued: 0, running: 1, succeeded: 4, failed: 0, cancelled: 0 },
  };
  it("moves a known run from one count to another", () => {
    const [next] = fold([flow], reduceFlows, runEvent({ status: "succeeded" }));
    expect(next?.recent_runs[0]?.status).toBe("succeeded");
    expect(next?.counts).toEqual({ queued: 0, running: 0, succeeded: 5, failed: 0, cancelled: 0 });
  });
  it("counts a run that is being cancelled as running", () => {
    const [next] = fold([flow], reduceFlows, runEvent({ status: "cancelling" }));
    expect(next?.counts.running).toBe(1);
  });
  it("asks again about a run or a flow that it does not know", () => {
    expect(reduceFlows([flow], runEvent({ id: 7 }))).toBe(REFETCH);
    expect(reduceFlows([flow], runEvent({ flow: "new" }))).toBe(REFETCH);
    expect(reduceFlows([flow], { type: "paused", flow: "daily", paused: true, at: AT })).toBe(REFETCH);
  });
});

describe("reduceRun", () => {
  const run: RunDetail = {
    id: 1, flow: "daily", name: "daily 2013-01-01", label: "2013-01-01", origin: "manual", status: "queued", created_at: AT, version: "1", is_latest: true, params: {},
    tasks: [{ name: "land", kind: "transfer", needs: [], status: "ready", attempts: [] }],
  };
  it("takes on status, start and end", () => {
    expect(fold(run, reduceRun, runEvent({}), runEvent({ status: "succeeded", at: LATER }))).toMatchObject({ status: "succeeded", started_at: AT, ended_at: LATER });
  });
  it("has no end any more once it is re-run", () => {
    expect(fold(run, reduceRun, runEvent({ status: "failed" }), runEvent({ status: "queued", at: LATER })).ended_at).toBeNull();
  });
  it("takes on a task's status, and asks again for its attempts", () => {
    expect(fold(run, reduceRun, taskEvent({})).tasks[0]?.status).toBe("running");
    expect(reduceRun(run, { type: "attempt", flow: "daily", run: 1, task: "land", attempt: 1, status: "running", at: AT })).toBe(REFETCH);
    expect(reduceRun(run, taskEvent({ run: 2 }))).toBe(run);
  });
  it("asks again what a task calls, and takes on how that run stands", () => {
    const child = { id: 7, name: "load/1", flow: "load", status: "running" as const };
    const calling: RunDetail = { ...run, tasks: [{ name: "land", kind: "flow", needs: [], status: "running", attempts: [], child }] };
    expect(reduceRun(calling, taskEvent({}))).toBe(REFETCH);
    expect(fold(calling, reduceRun, runEvent({ id: 7, status: "failed" })).tasks[0]?.child?.status).toBe("failed");
    expect(fold(calling, reduceRun, runEvent({ id: 8 }))).toBe(calling);
  });
});

describe("the rest", () => {
  const backfill: Backfill = {
    id: 1, flow: "daily", from: AT, to: LATER, concurrency: 8, pace: 8, rounds: 1, round: 0, status: "running", total: 3, succeeded: 0, failed: 0, cancelled: 0, running: 1, queued: 2, created_at: AT,
  };
  const view: ViewSummary = { name: "v", mode: "continuous", state: "running", rows_in: 1, rows: 1, late_rows: 0, late_rows_dropped: 0, version: 0, rows_in_per_second: 0, problems: [] };

  const detail: ViewDetail = { ...view, definition: "", file: "", columns: [], sources: [], late_sample: [], null_event_times: 0, skipped_rows: 0 };

  it("adds and replaces backfills", () => {
    const added = fold([] as Backfill[], reduceBackfills, { type: "backfill", ...backfill }, { type: "backfill", ...backfill, succeeded: 2 });
    expect(added).toEqual([{ ...backfill, succeeded: 2 }]);
  });
  it("replaces a view in the list and asks again for its details and rows", () => {
    const event = { type: "view" as const, ...view, rows: 2 };
    expect(fold([view], reduceViews, event)[0]?.rows).toBe(2);
    expect(reduceView(detail, event)).toBe(REFETCH);
    expect(reduceRows("v", null, 1, event)).toBe(REFETCH);
    expect(reduceRows("v", event.version, 1, event)).toBe(1);
    expect(reduceRows("other", null, 1, event)).toBe(1);
  });
});

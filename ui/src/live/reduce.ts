// How one event changes what a page shows: pure functions from (data, event) to data. The same object comes back where
// nothing changed; REFETCH where the event says that the data is stale but not how.
import type { Backfill, Event, FlowDetail, FlowSummary, Grid, GridRun, ItemPage, RunChange, RunDetail, RunWaits, TaskRun, ViewDetail, ViewSummary } from "../api/types";

export const REFETCH = Symbol("refetch");
export type Reduced<T> = T | typeof REFETCH;

const RECENT_MAX = 20;
const NEWEST_FIRST = (a: { id: number }, b: { id: number }): number => b.id - a.id;

function replaceAt<T>(list: readonly T[], at: number, value: T): T[] {
  const copy = list.slice();
  copy[at] = value;
  return copy;
}

function isOver(status: RunChange["status"]): boolean {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

/** The count that a status falls under: a run being cancelled still counts as running. */
function countOf(status: RunChange["status"]): keyof FlowSummary["counts"] {
  return status === "cancelling" ? "running" : status;
}

function withRun<F extends FlowSummary>(flow: F, run: RunChange): F {
  const at = flow.recent_runs.findIndex((recent) => recent.id === run.id);
  const before = flow.recent_runs[at];
  const recent = { ...before, id: run.id, label: run.label, status: run.status };
  const runs = before ? replaceAt(flow.recent_runs, at, recent) : [recent, ...flow.recent_runs].sort(NEWEST_FIRST).slice(0, RECENT_MAX);
  if (!before) return { ...flow, recent_runs: runs };
  const counts = { ...flow.counts };
  counts[countOf(before.status)] -= 1;
  counts[countOf(run.status)] += 1;
  return { ...flow, recent_runs: runs, counts };
}

/** The counts follow from the event only where the run was known; else they are asked for again. */
function flowAfterRun<F extends FlowSummary>(flow: F, run: RunChange): Reduced<F> {
  return flow.recent_runs.some((recent) => recent.id === run.id) ? withRun(flow, run) : REFETCH;
}

export function reduceFlows(flows: FlowSummary[], event: Event): Reduced<FlowSummary[]> {
  if (event.type === "project") return REFETCH;
  if (event.type !== "run" && event.type !== "paused") return flows;
  const at = flows.findIndex((flow) => flow.name === event.flow);
  const flow = flows[at];
  if (!flow || event.type === "paused") return REFETCH;
  const next = flowAfterRun(flow, event);
  return next === REFETCH ? REFETCH : replaceAt(flows, at, next);
}

export function reduceFlow(flow: FlowDetail, event: Event): Reduced<FlowDetail> {
  if (event.type === "project") return REFETCH;
  if ((event.type !== "run" && event.type !== "paused") || event.flow !== flow.name) return flow;
  return event.type === "run" ? flowAfterRun(flow, event) : REFETCH;
}

function gridRun(grid: Grid, run: RunChange, before: GridRun | undefined): GridRun {
  const started = before?.started_at ?? (run.status === "running" ? run.at : null);
  const took = started && isOver(run.status) ? Date.parse(run.at) - Date.parse(started) : before?.duration_ms ?? null;
  return {
    id: run.id,
    label: run.label,
    status: run.status,
    started_at: started,
    duration_ms: took,
    cells: before?.cells ?? "w".repeat(grid.tasks.length),
  };
}

/** Columns stand by interval; a new one is put where its label sorts, else at the end. */
function withColumn(runs: readonly GridRun[], run: GridRun): GridRun[] {
  const later = runs.findIndex((other) => other.label > run.label);
  return later < 0 ? [...runs, run] : [...runs.slice(0, later), run, ...runs.slice(later)];
}

export function reduceGrid(flow: string, grid: Grid, event: Event): Reduced<Grid> {
  if (event.type === "project") return REFETCH;
  if ((event.type !== "run" && event.type !== "task") || event.flow !== flow) return grid;
  const at = grid.runs.findIndex((run) => run.id === (event.type === "run" ? event.id : event.run));
  const run = grid.runs[at];
  if (event.type === "run") {
    const next = gridRun(grid, event, run);
    return { ...grid, runs: run ? replaceAt(grid.runs, at, next) : withColumn(grid.runs, next) };
  }
  const column = grid.tasks.indexOf(event.task);
  if (!run || column < 0) return grid;
  const cells = run.cells.slice(0, column) + event.letter + run.cells.slice(column + 1);
  return cells === run.cells ? grid : { ...grid, runs: replaceAt(grid.runs, at, { ...run, cells }) };
}

function withTask(run: RunDetail, name: string, change: (task: TaskRun) => TaskRun): RunDetail {
  const at = run.tasks.findIndex((task) => task.name === name);
  const task = run.tasks[at];
  return task ? { ...run, tasks: replaceAt(run.tasks, at, change(task)) } : run;
}

/** A run has changed that does the work of a task. */
function withChild(run: RunDetail, event: RunChange): RunDetail {
  const at = run.tasks.findIndex((task) => task.child?.id === event.id);
  const task = run.tasks[at];
  if (!task?.child) return run;
  return { ...run, tasks: replaceAt(run.tasks, at, { ...task, child: { ...task.child, status: event.status } }) };
}

export function reduceRun(run: RunDetail, event: Event): Reduced<RunDetail> {
  if (event.type === "run" && event.id === run.id) {
    const started = run.started_at ?? (event.status === "running" ? event.at : null);
    return { ...run, status: event.status, started_at: started, ended_at: isOver(event.status) ? event.at : null };
  }
  if (event.type === "run") return withChild(run, event);
  if (event.type === "task" && event.run === run.id) {
    // Which run it calls is not in the event.
    if (run.tasks.some((task) => task.name === event.task && task.kind === "flow")) return REFETCH;
    return withTask(run, event.task, (task) => ({ ...task, status: event.status, retry_at: event.retry_at ?? null }));
  }
  // An attempt has more to it than its event says (its worker, its log), and there are few of them in one run.
  return event.type === "attempt" && event.run === run.id ? REFETCH : run;
}

/** Any change anywhere may give or take a slot, so what waits is asked for again. */
export function reduceWaits(waits: RunWaits, event: Event): Reduced<RunWaits> {
  return ["run", "task", "attempt", "project"].includes(event.type) ? REFETCH : waits;
}

/** A page of a task's items. One that it does not show may belong on it by its new status, or by a list made anew. */
export function reduceItems(run: number, task: string, page: ItemPage, event: Event): Reduced<ItemPage> {
  if ((event.type !== "task" && event.type !== "attempt") || event.run !== run || !event.task.startsWith(`${task}[`)) return page;
  const at = page.items.findIndex((item) => item.name === event.task);
  const item = page.items[at];
  if (event.type === "attempt" || !item) return REFETCH;
  return { ...page, items: replaceAt(page.items, at, { ...item, status: event.status, retry_at: event.retry_at ?? null }) };
}

export function reduceBackfills(backfills: Backfill[], event: Event): Reduced<Backfill[]> {
  if (event.type !== "backfill") return backfills;
  const { type: _, ...backfill } = event;
  const at = backfills.findIndex((other) => other.id === event.id);
  return at >= 0 ? replaceAt(backfills, at, backfill) : [backfill, ...backfills];
}

export function reduceViews(views: ViewSummary[], event: Event): Reduced<ViewSummary[]> {
  if (event.type === "project") return REFETCH;
  if (event.type !== "view") return views;
  const at = views.findIndex((view) => view.name === event.name);
  return at >= 0 ? replaceAt(views, at, event) : REFETCH;
}

export function reduceView(view: ViewDetail, event: Event): Reduced<ViewDetail> {
  if (event.type === "project") return REFETCH;
  // The event has the numbers; which partition holds time back stands only in the whole answer.
  return event.type === "view" && event.name === view.name ? REFETCH : view;
}

/** The rows of a view are asked for again when its result has another version than the one that was seen last. */
export function reduceRows<T>(view: string, seen: number | null, rows: T, event: Event): Reduced<T> {
  if (event.type === "project") return REFETCH;
  return event.type === "view" && event.name === view && event.version !== seen ? REFETCH : rows;
}

export function refetchOnProject<T>(data: T, event: Event): Reduced<T> {
  return event.type === "project" ? REFETCH : data;
}

/** What depends on which runs there are and how they have ended. */
export function refetchOnRuns<T>(data: T, event: Event): Reduced<T> {
  return event.type === "project" || event.type === "run" ? REFETCH : data;
}

// What a dataflow has been doing between two looks at its counters: how each subtask spent its time, and how fast rows and
// bytes went through. At the first look there is only what it has done since its start.
import type { Dataflow, SubtaskProgress } from "../api/types";

export interface Shares {
  busy: number;
  blocked: number;
  idle: number;
}

export interface SubtaskPace {
  progress: SubtaskProgress;
  shares: Shares;
  /** Bytes a second; unknown at the first look. */
  bytesIn: number | null;
  bytesOut: number | null;
}

export interface Look {
  at: number;
  dataflow: Dataflow;
}

export const keyOf = (subtask: SubtaskProgress): string => `${subtask.stage} ${subtask.subtask}`;

/** A counter that has gone back began anew with its dataflow. */
function grown(before: number, now: number): number {
  return now >= before ? now - before : now;
}

function sharesOf(busy: number, blocked: number, idle: number): Shares {
  const all = busy + blocked + idle;
  return all > 0 ? { busy: busy / all, blocked: blocked / all, idle: idle / all } : { busy: 0, blocked: 0, idle: 1 };
}

function paceOf(now: SubtaskProgress, before: SubtaskProgress | undefined, elapsedMs: number): SubtaskPace {
  const since = before ?? { busy_ms: 0, blocked_ms: 0, idle_ms: 0, bytes_in: 0, bytes_out: 0 };
  const shares = sharesOf(grown(since.busy_ms, now.busy_ms), grown(since.blocked_ms, now.blocked_ms), grown(since.idle_ms, now.idle_ms));
  const rate = (from: number, to: number): number | null => (before && elapsedMs > 0 ? (1000 * grown(from, to)) / elapsedMs : null);
  return { progress: now, shares, bytesIn: rate(since.bytes_in, now.bytes_in), bytesOut: rate(since.bytes_out, now.bytes_out) };
}

/** The pace of every subtask from `before` to `now`. */
export function paces(now: Look, before: Look | null): SubtaskPace[] {
  const known = new Map(before?.dataflow.subtasks.map((subtask) => [keyOf(subtask), subtask]));
  const elapsedMs = before ? now.at - before.at : 0;
  return now.dataflow.subtasks.map((subtask) => paceOf(subtask, known.get(keyOf(subtask)), elapsedMs));
}

export interface StagePace {
  stage: string;
  subtasks: number;
  /** Of all its subtasks together. */
  shares: Shares;
  rowsIn: number;
  rowsOut: number;
  stateBytes: number;
}

/** The subtasks of each stage together, in the order of the stages. */
export function stagesOf(subtasks: readonly SubtaskPace[]): StagePace[] {
  const stages = new Map<string, SubtaskPace[]>();
  for (const subtask of subtasks) stages.set(subtask.progress.stage, [...(stages.get(subtask.progress.stage) ?? []), subtask]);
  return [...stages].map(([stage, paces]) => {
    const sum = (of: (pace: SubtaskPace) => number): number => paces.reduce((total, pace) => total + of(pace), 0);
    const mean = (of: (shares: Shares) => number): number => sum((pace) => of(pace.shares)) / paces.length;
    return {
      stage,
      subtasks: paces.length,
      shares: { busy: mean((s) => s.busy), blocked: mean((s) => s.blocked), idle: mean((s) => s.idle) },
      rowsIn: sum((pace) => pace.progress.rows_in_per_second),
      rowsOut: sum((pace) => pace.progress.rows_out_per_second),
      stateBytes: sum((pace) => pace.progress.state_bytes),
    };
  });
}

/** How near an edge is to stopping whoever fills it. */
export function strainOf(fullness: number): "free" | "filling" | "full" {
  if (fullness >= 0.9) return "full";
  return fullness >= 0.5 ? "filling" : "free";
}

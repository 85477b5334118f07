// When each task of a run waited and worked, in its latest pass: a re-run hours later is a pass of its own, and the hours
// between are not drawn.
import type { TaskRun } from "../../api/types";

export interface Stretch {
  task: string;
  /** Null where its items or a called run were at work. */
  attempt: number | null;
  status: TaskRun["status"] | TaskRun["attempts"][number]["status"];
  /** From when nothing but a slot, a worker or the delay before a retry was missing. */
  readyMs: number;
  startMs: number;
  endMs: number;
}

export interface Pass {
  startMs: number;
  endMs: number;
  stretches: Stretch[];
}

const PAUSE_MS = 60_000;

function stretchesOf(tasks: readonly TaskRun[], now: number): Stretch[] {
  return tasks.flatMap((task) => {
    const own = task.attempts.map((attempt) => ({ ...attempt, attempt: attempt.number }));
    const others = (task.worked ?? []).map((worked) => ({ ...worked, attempt: null, status: task.status }));
    return [...own, ...others].flatMap(({ attempt, status, started_at, ended_at }) => {
      if (!started_at) return [];
      const startMs = Date.parse(started_at);
      const endMs = Math.max(startMs, ended_at ? Date.parse(ended_at) : now);
      return [{ task: task.name, attempt, status, readyMs: startMs, startMs, endMs }];
    });
  });
}

/** What was done since the last pause of more than a minute in which nothing ran. */
function latest(stretches: readonly Stretch[]): Stretch[] {
  const sorted = [...stretches].sort((a, b) => a.startMs - b.startMs);
  let first = 0;
  let reached = -Infinity;
  for (const [i, stretch] of sorted.entries()) {
    if (i > 0 && stretch.startMs - reached > PAUSE_MS) first = i;
    reached = Math.max(reached, stretch.endMs);
  }
  return sorted.slice(first);
}

/** The latest pass of a run, or null before anything was done. */
export function latestPass(tasks: readonly TaskRun[], now: number): Pass | null {
  const stretches = latest(stretchesOf(tasks, now));
  const startMs = stretches[0]?.startMs;
  if (startMs === undefined) return null;
  const ends = new Map<string, number[]>();
  for (const stretch of stretches) ends.set(stretch.task, [...(ends.get(stretch.task) ?? []), stretch.endMs]);
  const needs = new Map(tasks.map((task) => [task.name, task.needs]));
  // The last end before it, of the task itself and of those that it needs.
  const readyOf = (stretch: Stretch): number =>
    [stretch.task, ...(needs.get(stretch.task) ?? [])]
      .flatMap((task) => ends.get(task) ?? [])
      .reduce((ready, end) => (end <= stretch.startMs ? Math.max(ready, end) : ready), startMs);
  return {
    startMs,
    endMs: stretches.reduce((last, stretch) => Math.max(last, stretch.endMs), startMs),
    stretches: stretches.map((stretch) => ({ ...stretch, readyMs: readyOf(stretch) })),
  };
}

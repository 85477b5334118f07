import { describe, expect, it } from "vitest";
import type { TaskRun } from "../../api/types";
import { latestPass } from "./timing";

const at = (seconds: number): string => new Date(seconds * 1000).toISOString();
const task = (name: string, needs: string[], ...attempts: [number, number | null][]): TaskRun => ({
  name, needs, kind: "shell", status: "succeeded",
  attempts: attempts.map(([from, to], i) => ({ number: i + 1, status: to === null ? "running" : "succeeded", started_at: at(from), ended_at: to === null ? null : at(to), has_log: false })),
});

describe("latestPass", () => {
  it("draws the wait from the end of what a task needs", () => {
    const pass = latestPass([task("land", [], [10, 14]), task("aggregate", ["land"], [15, 17])], 0);
    expect(pass).toMatchObject({ startMs: 10_000, endMs: 17_000 });
    expect(pass?.stretches.map((stretch) => [stretch.readyMs, stretch.startMs, stretch.endMs])).toEqual([[10_000, 10_000, 14_000], [14_000, 15_000, 17_000]]);
  });
  it("leaves out what ran long before", () => {
    const pass = latestPass([task("land", [], [10, 14], [5000, 5003]), task("aggregate", ["land"], [5003, 5004])], 0);
    expect(pass?.stretches.map((stretch) => [stretch.task, stretch.attempt])).toEqual([["land", 2], ["aggregate", 1]]);
  });
  it("draws what items and called runs did, which is no pause", () => {
    const call: TaskRun = { ...task("call", ["land"]), kind: "flow", worked: [{ started_at: at(15), ended_at: at(900) }] };
    const each: TaskRun = { ...task("each", ["call"]), status: "running", worked: [{ started_at: at(901) }] };
    const pass = latestPass([task("land", [], [10, 14]), call, each], 1_000_000);
    expect(pass?.stretches.map((stretch) => [stretch.task, stretch.attempt, stretch.status, stretch.readyMs, stretch.endMs])).toEqual([
      ["land", 1, "succeeded", 10_000, 14_000],
      ["call", null, "succeeded", 14_000, 900_000],
      ["each", null, "running", 900_000, 1_000_000],
    ]);
  });
  it("goes on until now while something runs, and is nothing before the first attempt", () => {
    expect(latestPass([task("land", [], [10, null])], 12_000)?.endMs).toBe(12_000);
    expect(latestPass([task("land", [])], 0)).toBeNull();
  });
});

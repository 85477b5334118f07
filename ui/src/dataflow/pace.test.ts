import { expect, it } from "vitest";
import type { Dataflow, SubtaskProgress } from "../api/types";
import { paces, stagesOf, strainOf } from "./pace";

const IDLE: SubtaskProgress = {
  stage: "aggregate", subtask: 0, busy_ms: 0, blocked_ms: 0, idle_ms: 0, rows_in: 0, rows_out: 0, rows_in_per_second: 0,
  rows_out_per_second: 0, bytes_in: 0, bytes_out: 0, state_bytes: 0, inputs: [],
};
const flow = (...subtasks: Partial<SubtaskProgress>[]): Dataflow => ({ edges: [], sinks: [], subtasks: subtasks.map((some) => ({ ...IDLE, ...some })) });

it("says how time was spent between two looks", () => {
  const before = { at: 1000, dataflow: flow({ busy_ms: 500, idle_ms: 500, bytes_in: 1000 }) };
  const now = { at: 3000, dataflow: flow({ busy_ms: 600, blocked_ms: 300, idle_ms: 2100, bytes_in: 5000 }) };
  const [pace] = paces(now, before);
  expect(pace?.shares).toEqual({ busy: 0.05, blocked: 0.15, idle: 0.8 });
  expect(pace?.bytesIn).toBe(2000);
});

it("says what there is since the start at the first look", () => {
  const [pace] = paces({ at: 5, dataflow: flow({ busy_ms: 30, idle_ms: 70, bytes_in: 9 }) }, null);
  expect(pace?.shares.busy).toBe(0.3);
  expect(pace?.bytesIn).toBeNull();
});

it("begins anew with its dataflow", () => {
  const before = { at: 0, dataflow: flow({ busy_ms: 9000, idle_ms: 1000, bytes_in: 700 }) };
  const [pace] = paces({ at: 1000, dataflow: flow({ busy_ms: 100, idle_ms: 300, bytes_in: 50 }) }, before);
  expect(pace?.shares.busy).toBe(0.25);
  expect(pace?.bytesIn).toBe(50);
});

it("calls a subtask idle that has done nothing yet", () => {
  expect(paces({ at: 0, dataflow: flow({}) }, null)[0]?.shares).toEqual({ busy: 0, blocked: 0, idle: 1 });
});

it("adds up the subtasks of a stage", () => {
  const subtask = (number: number, busy_ms: number): Partial<SubtaskProgress> => ({ subtask: number, busy_ms, idle_ms: 100 - busy_ms, rows_in_per_second: 5, state_bytes: 10 });
  const stages = stagesOf(paces({ at: 0, dataflow: flow(subtask(0, 100), subtask(1, 50), { stage: "scan", busy_ms: 1 }) }, null));
  expect(stages.map((stage) => stage.stage)).toEqual(["aggregate", "scan"]);
  expect(stages[0]).toMatchObject({ subtasks: 2, rowsIn: 10, stateBytes: 20, shares: { busy: 0.75, blocked: 0, idle: 0.25 } });
});

it("warns before whoever fills an edge has to wait", () => {
  expect([0, 0.49, 0.5, 0.9, 1.2].map(strainOf)).toEqual(["free", "free", "filling", "full", "full"]);
});

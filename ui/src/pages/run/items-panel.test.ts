import { describe, expect, it } from "vitest";
import type { Event, ItemPage } from "../../api/types";
import { REFETCH, reduceItems } from "../../live/reduce";
import { partsOf, textOf, tookOf } from "./items-panel";

const counts = { total: 3, waiting: 1, running: 0, succeeded: 1, failed: 1, cancelled: 0 };
const page: ItemPage = {
  counts,
  items: [
    { name: "load[0]", number: 0, item: "a", status: "running", attempts: [] },
    { name: "load[1]", number: 1, item: { x: 1 }, status: "waiting", attempts: [] },
  ],
};
const task = (name: string, run = 7): Event =>
  ({ type: "task", flow: "f", run, task: name, status: "succeeded", letter: "s", attempts: 1, at: "2026-01-01T00:00:00Z" }) as Event;

describe("items", () => {
  it("are counted by status, in the order of the bar", () => {
    expect(partsOf(counts).map((part) => [part.status, part.count])).toEqual([["succeeded", 1], ["failed", 1], ["cancelled", 0], ["running", 0], ["waiting", 1]]);
  });
  it("are shown as texts, else as JSON", () => {
    expect([textOf("a b"), textOf({ x: [1, null] }), textOf(3)]).toEqual(["a b", '{"x":[1,null]}', "3"]);
  });
  it("took what their latest attempt took, once it is over", () => {
    const attempt = { number: 1, status: "succeeded", has_log: true, started_at: "2026-01-01T00:00:00Z" } as const;
    expect(tookOf({ attempts: [] })).toBeNull();
    expect(tookOf({ attempts: [{ ...attempt }] })).toBeNull();
    expect(tookOf({ attempts: [{ ...attempt, ended_at: "2026-01-01T00:00:02Z" }] })).toBe(2000);
  });
  it("change with the events of their own task and run only", () => {
    const next = reduceItems(7, "load", page, task("load[1]"));
    expect(next === REFETCH ? null : next.items.map((item) => item.status)).toEqual(["running", "succeeded"]);
    expect(reduceItems(7, "load", page, task("load[1]", 8))).toBe(page);
    expect(reduceItems(7, "load", page, task("other[1]"))).toBe(page);
    // One that the page does not show yet may belong on it.
    expect(reduceItems(7, "load", page, task("load[5]"))).toBe(REFETCH);
  });
});

// Which runs a re-run of several means.
import { expect, it } from "vitest";
import type { Grid } from "../../api/types";
import { runsMeant } from "./bulk-dialog";

const run = (id: number, label: string, status: Grid["runs"][number]["status"]): Grid["runs"][number] => ({ id, label, status, cells: "" } as Grid["runs"][number]);
const RUNS = [
  run(1, "2013-01-01", "failed"), run(2, "2013-01-02", "succeeded"), run(3, "2013-01-03", "cancelled"),
  run(4, "2013-01-04", "running"), run(5, "2013-01-05T06:00", "failed"),
];

it.each([
  ["", "", true, [1, 3, 5]],
  ["", "", false, [1, 2, 3, 5]],
  ["2013-01-02", "", true, [3, 5]],
  ["2013-01-02", "2013-01-03", false, [2, 3]],
  ["", "2013-01-05", true, [1, 3, 5]],
] as const)("from %j to %j, failed only: %j", (from, to, failedOnly, expected) => {
  expect(runsMeant(RUNS, from, to, failedOnly)).toEqual(expected);
});

import { describe, expect, it } from "vitest";
import { readColumns, seriesOf, type Column } from "./series";

const COLUMNS: Column[] = [
  { name: "origin", kind: "text" },
  { name: "window_start", kind: "time" },
  { name: "flights", kind: "number" },
  { name: "mean_delay", kind: "number" },
];
const ROWS = [
  ["LGA", "2013-01-01T07:00:00", 20, 1.5],
  ["EWR", "2013-01-01T06:00:00", 10, -2],
  ["EWR", "2013-01-01T05:00:00", 5, null],
  ["EWR", "2013-01-01T09:00:00", 7, 3],
];

describe("readColumns", () => {
  it("picks time as x, numbers as measures and few-valued text as key", () => {
    expect(readColumns(COLUMNS, ROWS)).toEqual({ x: 1, xKind: "time", measures: [2, 3], key: 0 });
  });
  it("draws nothing without a number", () => {
    expect(readColumns(COLUMNS.slice(0, 2), ROWS)).toBeNull();
  });
  it("takes no text of many values as key", () => {
    const rows = Array.from({ length: 20 }, (_, i) => [`k${i}`, "2013-01-01T00:00:00", i, i]);
    expect(readColumns(COLUMNS, rows)?.key).toBeNull();
  });
});

describe("seriesOf", () => {
  const reading = readColumns(COLUMNS, ROWS);
  it("sorts lines by name and points by time, with a gap for missing hours", () => {
    if (!reading) throw new Error("no reading");
    const series = seriesOf(ROWS, reading, 2);
    expect(series.map((line) => line.name)).toEqual(["EWR", "LGA"]);
    expect(series[0]?.points.map((point) => point.y)).toEqual([5, 10, null, 7]);
  });
  it("keeps a missing value missing", () => {
    if (!reading) throw new Error("no reading");
    expect(seriesOf(ROWS, reading, 3)[0]?.points[0]?.y).toBeNull();
  });
});

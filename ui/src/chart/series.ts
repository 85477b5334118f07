// From a table to the lines of a chart: the first time column (else the first numeric one) is x, a text column of few
// values makes the series, numeric columns can be y. Missing steps of a regular x become gaps, not slopes.
import { instant } from "../text/format";
import type { Point } from "./scale";

export type ColumnKind = "time" | "number" | "text" | "other";

export interface Column {
  name: string;
  kind: ColumnKind;
}

export type Row = readonly unknown[];

export interface Series {
  name: string;
  points: Point[];
}

export interface Reading {
  x: number;
  xKind: "time" | "number";
  measures: number[];
  key: number | null;
}

const SERIES_MAX = 8;

/** How the columns can be read as a chart; null when nothing can be drawn. */
export function readColumns(columns: readonly Column[], rows: readonly Row[]): Reading | null {
  const time = columns.findIndex((column) => column.kind === "time");
  const x = time >= 0 ? time : columns.findIndex((column) => column.kind === "number");
  if (x < 0) return null;
  const measures = columns.flatMap((column, i) => (column.kind === "number" && i !== x ? [i] : []));
  if (measures.length === 0) return null;
  const key = columns.findIndex((column, i) => {
    if (column.kind !== "text" || i === x) return false;
    const values = new Set(rows.map((row) => row[i]));
    return values.size > 0 && values.size <= SERIES_MAX;
  });
  return { x, xKind: time >= 0 ? "time" : "number", measures, key: key < 0 ? null : key };
}

function position(value: unknown, kind: "time" | "number"): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return Number.NaN;
  return kind === "time" ? instant(value.replace(" ", "T")) : Number(value);
}

function withGaps(points: Point[]): Point[] {
  points.sort((a, b) => a.x - b.x);
  const steps = points.slice(1).map((point, i) => point.x - (points[i]?.x ?? 0)).filter((step) => step > 0);
  const step = Math.min(...steps);
  if (!Number.isFinite(step)) return points;
  const out: Point[] = [];
  for (const point of points) {
    const last = out.at(-1);
    if (last && last.y !== null && point.x - last.x > step * 1.5) out.push({ x: last.x + step, y: null });
    out.push(point);
  }
  return out;
}

/** The lines of `measure`, one for each value of the key column, sorted by name. */
export function seriesOf(rows: readonly Row[], reading: Reading, measure: number): Series[] {
  const byName = new Map<string, Point[]>();
  for (const row of rows) {
    const x = position(row[reading.x], reading.xKind);
    if (Number.isNaN(x)) continue;
    const raw = row[measure];
    const y = typeof raw === "number" ? raw : raw === null || raw === undefined ? null : Number(raw);
    const name = reading.key === null ? "" : String(row[reading.key] ?? "–");
    const points = byName.get(name) ?? [];
    points.push({ x, y: y !== null && Number.isFinite(y) ? y : null });
    byName.set(name, points);
  }
  return [...byName].sort(([a], [b]) => a.localeCompare(b)).map(([name, points]) => ({ name, points: withGaps(points) }));
}

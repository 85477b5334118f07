// Pure geometry of a chart: linear scales, round ticks for numbers and for time, and thinning that keeps every peak.

export interface Point {
  x: number;
  y: number | null;
}

export type Scale = (value: number) => number;

export function linear(domain: readonly [number, number], range: readonly [number, number]): Scale {
  const [d0, d1] = domain;
  const [r0, r1] = range;
  const span = d1 - d0 || 1;
  return (value) => r0 + ((value - d0) / span) * (r1 - r0);
}

/** Round numbers that cover `[low, high]`, about `count` of them; the first and last enclose the range. */
export function numberTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low, low + 1];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  1000, 5000, 15_000, 30_000, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY,
  7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 182 * DAY, 365 * DAY,
];

/** Times at round steps within `[from, to]`, at most `count`; and whether they are whole days apart. */
export function timeTicks(from: number, to: number, count: number): { ticks: number[]; days: boolean } {
  const step = TIME_STEPS.find((size) => (to - from) / size <= count) ?? 365 * DAY;
  const ticks: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return { ticks, days: step >= DAY };
}

/** At most about `2 * buckets` points: the lowest and the highest of each bucket, in order; gaps stay gaps. */
export function thin(points: readonly Point[], buckets: number): readonly Point[] {
  if (points.length <= 2 * buckets) return points;
  const size = Math.ceil(points.length / buckets);
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += size) {
    let low: number | null = null;
    let high: number | null = null;
    let gap: number | null = null;
    for (let i = start; i < Math.min(start + size, points.length); i += 1) {
      const y = points[i]?.y ?? null;
      if (y === null) {
        gap ??= i;
        continue;
      }
      if (low === null || y < (points[low]?.y ?? 0)) low = i;
      if (high === null || y > (points[high]?.y ?? 0)) high = i;
    }
    const chosen = [...new Set([low, high, gap])].filter((i): i is number => i !== null).sort((a, b) => a - b);
    for (const i of chosen) {
      const point = points[i];
      if (point) kept.push(point);
    }
  }
  return kept;
}

/** The SVG path of a line; a missing value breaks it, and a point alone is drawn as a dot-long stroke. */
export function linePath(points: readonly Point[], x: Scale, y: Scale): string {
  let path = "";
  let drawing = false;
  for (const [i, point] of points.entries()) {
    if (point.y === null) {
      drawing = false;
      continue;
    }
    const alone = !drawing && (points[i + 1]?.y ?? null) === null;
    path += `${drawing ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}${alone ? "h.1" : ""}`;
    drawing = true;
  }
  return path;
}

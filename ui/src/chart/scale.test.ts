import { describe, expect, it } from "vitest";
import { linear, linePath, numberTicks, thin, timeTicks, type Point } from "./scale";

describe("numberTicks", () => {
  it.each([
    [0, 97, 5, [0, 20, 40, 60, 80, 100]],
    [-8, 31, 4, [-10, 0, 10, 20, 30, 40]],
    [0, 0.9, 3, [0, 0.5, 1]],
    [5, 5, 4, [5, 6]],
  ])("covers %d..%d with about %d", (low, high, count, ticks) => {
    expect(numberTicks(low, high, count)).toEqual(ticks);
  });
});

describe("timeTicks", () => {
  it("steps by whole hours or days", () => {
    const start = Date.UTC(2013, 0, 1);
    expect(timeTicks(start, start + 86_400_000, 8)).toEqual({ ticks: [0, 3, 6, 9, 12, 15, 18, 21, 24].map((h) => start + h * 3_600_000), days: false });
    expect(timeTicks(start, start + 6 * 86_400_000, 8).days).toBe(true);
  });
});

describe("thin", () => {
  const points: Point[] = Array.from({ length: 10_000 }, (_, i) => ({ x: i, y: i === 7777 ? 1e6 : Math.sin(i) }));
  it("keeps the peak and the order", () => {
    const kept = thin(points, 200);
    expect(kept.length).toBeLessThanOrEqual(400);
    expect(kept.some((point) => point.y === 1e6)).toBe(true);
    expect(kept.every((point, i) => i === 0 || point.x > (kept[i - 1]?.x ?? 0))).toBe(true);
  });
  it("leaves short series as they are", () => {
    expect(thin(points.slice(0, 300), 200)).toHaveLength(300);
  });
});

describe("linePath", () => {
  it("breaks at a gap and shows a lone point", () => {
    const scale = linear([0, 10], [0, 100]);
    const path = linePath([{ x: 0, y: 1 }, { x: 1, y: 2 }, { x: 2, y: null }, { x: 3, y: 4 }], scale, scale);
    expect(path).toBe("M0.0 10.0L10.0 20.0M30.0 40.0h.1");
  });
});

import { describe, expect, it } from "vitest";
import { barScale, CHUNK_COLUMNS, chunksToRender, COLUMN_PX, moved, ROW_PX, visibleChunks, visibleRows } from "./window";

const CHUNK_PX = COLUMN_PX * CHUNK_COLUMNS;

describe("visibleChunks", () => {
  it("covers what is visible at every scroll position, and not everything", () => {
    const columns = 365;
    for (let left = 0; left <= columns * COLUMN_PX - 1000; left += 7) {
      const span = visibleChunks(left, 1000, columns);
      expect(span.first * CHUNK_PX).toBeLessThanOrEqual(left);
      expect(Math.min(columns * COLUMN_PX, span.last * CHUNK_PX)).toBeGreaterThanOrEqual(left + 1000);
      expect(span.last - span.first).toBeLessThanOrEqual(9);
    }
  });
  it("is empty without columns", () => {
    expect(visibleChunks(0, 1000, 0)).toEqual({ first: 0, last: 0 });
  });
});

describe("visibleRows", () => {
  it("covers what is visible of ten thousand rows, and little more", () => {
    for (let top = 0; top <= 10_000 * ROW_PX - 600; top += 997) {
      const rows = visibleRows(top, 600, 10_000);
      expect(rows.first * ROW_PX).toBeLessThanOrEqual(top);
      expect(rows.last * ROW_PX).toBeGreaterThanOrEqual(top + 600);
      expect(rows.last - rows.first).toBeLessThanOrEqual(80);
    }
  });
  it("is empty without rows, and ends with the last", () => {
    expect(visibleRows(0, 600, 0)).toEqual({ first: 0, last: 0 });
    expect(visibleRows(9_000, 600, 20)).toEqual({ first: 20, last: 20 });
  });
});

describe("chunksToRender", () => {
  it("keeps the focused chunk on the page when it is scrolled away", () => {
    expect(chunksToRender({ first: 5, last: 7 }, 3, 365)).toEqual([0, 5, 6]);
    expect(chunksToRender({ first: 5, last: 7 }, 5 * CHUNK_COLUMNS, 365)).toEqual([5, 6]);
  });
});

describe("moved", () => {
  it.each([
    ["ArrowRight", false, { row: 1, column: 6 }],
    ["ArrowUp", false, { row: 0, column: 5 }],
    ["Home", false, { row: 1, column: 0 }],
    ["End", true, { row: 3, column: 364 }],
    ["PageUp", false, { row: 1, column: 0 }],
  ])("%s (ctrl %s)", (key, ctrl, to) => {
    expect(moved({ row: 1, column: 5 }, key, ctrl, 4, 365)).toEqual(to);
  });
  it("stops at the edges and ignores other keys", () => {
    expect(moved({ row: 0, column: 0 }, "ArrowLeft", false, 4, 365)).toEqual({ row: 0, column: 0 });
    expect(moved({ row: 0, column: 0 }, "a", false, 4, 365)).toBeNull();
  });
});

describe("barScale", () => {
  it("is the longest of alike runs, and not moved by a few outliers", () => {
    expect(barScale([900, 1000, 950])).toBe(1000);
    expect(barScale([...Array.from({ length: 99 }, () => 1000), 600_000])).toBe(1200);
    expect(barScale([])).toBe(1);
  });
});

import { describe, expect, it } from "vitest";
import { layout } from "./layout";
import { LEAVING_MAX, pieceOf, WHOLE, within } from "./view";

const SIZES = { nodeWidth: 100, nodeHeight: 40, gapX: 50, gapY: 20 };
const WIDE = layout([
  { id: "first", needs: [] },
  ...Array.from({ length: 10_000 }, (_, i) => ({ id: `t${i}`, needs: ["first"] })),
], SIZES);

describe("the visible piece of a graph", () => {
  it("holds what can be seen and little more", () => {
    const { nodes, edges } = within(WIDE, pieceOf(0, 300_000, 1000, 600), SIZES, null);
    expect(nodes.some((node) => node.id === "first")).toBe(true);
    expect(nodes.length).toBeGreaterThan(10);
    expect(nodes.length).toBeLessThan(60);
    expect(edges.length).toBeGreaterThanOrEqual(nodes.length - 1);
    expect(edges.length).toBeLessThanOrEqual(nodes.length - 1 + LEAVING_MAX);
  });

  it("draws every edge between the tasks that it holds", () => {
    const { nodes, edges } = within(WIDE, pieceOf(0, 299_900, 1000, 600), SIZES, null);
    const ends = new Set(edges.map((edge) => edge.to));
    expect(nodes.filter((node) => node.id !== "first" && !ends.has(node.id))).toEqual([]);
  });

  it("keeps the chosen task, wherever it stands", () => {
    const ids = within(WIDE, pieceOf(0, 0, 1000, 600), SIZES, "t9999").nodes.map((node) => node.id);
    expect(ids).toContain("t9999");
    expect(ids).not.toContain("t9998");
  });

  it("is everything where everything is drawn", () => {
    expect(within(WIDE, WHOLE, SIZES, null).nodes.length).toBe(10_001);
  });

  it("stays the same while one scrolls a little", () => {
    expect(pieceOf(0, 330, 800, 500)).toEqual(pieceOf(0, 400, 800, 500));
  });
});

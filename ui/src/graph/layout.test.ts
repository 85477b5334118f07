import { describe, expect, it } from "vitest";
import { layout, type GraphNode } from "./layout";

const SIZES = { nodeWidth: 100, nodeHeight: 40, gapX: 50, gapY: 20 };
const at = (nodes: GraphNode[]) => new Map(layout(nodes, SIZES).nodes.map((node) => [node.id, node]));

describe("layout", () => {
  it("puts a chain from left to right on one line", () => {
    const placed = at([
      { id: "publish", needs: ["aggregate"] },
      { id: "land", needs: [] },
      { id: "aggregate", needs: ["land"] },
    ]);
    expect(["land", "aggregate", "publish"].map((id) => placed.get(id)?.x)).toEqual([0, 150, 300]);
    expect(new Set([...placed.values()].map((node) => node.y)).size).toBe(1);
  });

  it("puts a task after the last thing it needs", () => {
    const placed = at([
      { id: "a", needs: [] },
      { id: "b", needs: ["a"] },
      { id: "c", needs: ["a", "b"] },
    ]);
    expect(placed.get("c")?.layer).toBe(2);
  });

  it("uncrosses two parallel chains", () => {
    const placed = at([
      { id: "a1", needs: [] },
      { id: "b1", needs: [] },
      { id: "b2", needs: ["b1"] },
      { id: "a2", needs: ["a1"] },
    ]);
    const above = (left: string, right: string) => (placed.get(left)?.y ?? 0) < (placed.get(right)?.y ?? 0);
    expect(above("a1", "b1")).toBe(above("a2", "b2"));
  });

  it("never lays two nodes over each other", () => {
    const nodes = Array.from({ length: 40 }, (_, i) => ({ id: `t${i}`, needs: i < 3 ? [] : [`t${(i * 7) % i}`, `t${(i * 3) % i}`] }));
    const places = layout(nodes, SIZES).nodes.map((node) => `${node.x},${node.y}`);
    expect(new Set(places).size).toBe(40);
  });

  it("gives an edge that passes a layer a lane of its own there", () => {
    const { nodes, edges } = layout([
      { id: "count", needs: [] }, { id: "side", needs: [] }, { id: "quick", needs: [] },
      { id: "both", needs: ["side", "quick"] }, { id: "join", needs: ["count", "both"] },
    ], SIZES);
    const both = nodes.find((node) => node.id === "both");
    const laneY = Number(/ ([\d.]+)H250/.exec(edges.find((edge) => edge.from === "count")?.path ?? "")?.[1]);
    expect(laneY < (both?.y ?? 0) || laneY > (both?.y ?? 0) + SIZES.nodeHeight).toBe(true);
  });

  it("leaves out needs it does not know and survives a cycle", () => {
    expect(layout([{ id: "a", needs: ["ghost"] }], SIZES).edges).toEqual([]);
    expect(layout([{ id: "a", needs: ["b"] }, { id: "b", needs: ["a"] }], SIZES).nodes).toHaveLength(2);
  });

  it.each([
    ["a chain", (i: number) => (i === 0 ? [] : [`t${i - 1}`])],
    ["a fan", (i: number) => (i === 0 ? [] : ["t0"])],
    ["a fan in", (i: number) => (i === 9_999 ? Array.from({ length: 9_999 }, (_, n) => `t${n}`) : [])],
    ["a ladder with a sum at its end", (i: number) => (i === 9_999 ? Array.from({ length: 9_999 }, (_, n) => `t${n}`) : i === 0 ? [] : [`t${i - 1}`])],
  ])("lays ten thousand tasks out: %s", (_, needs) => {
    const nodes = Array.from({ length: 10_000 }, (_, i) => ({ id: `t${i}`, needs: needs(i) }));
    const placed = layout(nodes, SIZES);
    expect(new Set(placed.nodes.map((node) => `${node.x},${node.y}`)).size).toBe(10_000);
    expect(placed.edges.length).toBe(nodes.reduce((sum, node) => sum + node.needs.length, 0));
  });

  it("is empty for an empty flow", () => {
    expect(layout([], SIZES)).toMatchObject({ nodes: [], edges: [] });
  });
});

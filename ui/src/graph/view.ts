// Which part of a large graph is on the page: what lies near the visible piece of the canvas. A graph of ten thousand tasks
// costs as much as one of some dozens.
import type { Box, Edge, Layout, Placed, Sizes } from "./layout";

/** So many tasks are drawn whole: nothing is gained by leaving some out. */
export const DRAWN_WHOLE_MAX = 200;

/** So many edges that leave the visible piece are drawn: a task with ten thousand dependents would draw them all. */
export const LEAVING_MAX = 400;

/** The piece moves in steps, so that scrolling draws anew now and then only. */
const STEP_PX = 320;

export const WHOLE: Box = { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity };

/** The visible piece and one step around it. */
export function pieceOf(scrollLeft: number, scrollTop: number, width: number, height: number): Box {
  const before = (px: number): number => (Math.floor(px / STEP_PX) - 1) * STEP_PX;
  const after = (px: number): number => (Math.ceil(px / STEP_PX) + 1) * STEP_PX;
  return { left: before(scrollLeft), top: before(scrollTop), right: after(scrollLeft + width), bottom: after(scrollTop + height) };
}

export function isSame(a: Box, b: Box): boolean {
  return a.left === b.left && a.top === b.top && a.right === b.right && a.bottom === b.bottom;
}

function meets(a: Box, b: Box): boolean {
  return a.left <= b.right && a.right >= b.left && a.top <= b.bottom && a.bottom >= b.top;
}

export interface Shown {
  nodes: Placed[];
  edges: Edge[];
}

/** What of a layout lies in a piece; the chosen task is always there, so that the keyboard keeps its place. */
export function within(layout: Layout, piece: Box, sizes: Sizes, chosen: string | null): Shown {
  if (piece === WHOLE) return { nodes: layout.nodes, edges: layout.edges };
  const boxOf = (node: Placed): Box => ({ left: node.x, top: node.y, right: node.x + sizes.nodeWidth, bottom: node.y + sizes.nodeHeight });
  const inside = layout.nodes.filter((node) => meets(boxOf(node), piece));
  const ids = new Set(inside.map((node) => node.id));
  const near = layout.edges.filter((edge) => meets(edge.box, piece));
  const held = near.filter((edge) => ids.has(edge.from) && ids.has(edge.to));
  const leaving = near.filter((edge) => !ids.has(edge.from) || !ids.has(edge.to));
  const other = chosen === null || ids.has(chosen) ? undefined : layout.nodes.find((node) => node.id === chosen);
  return { nodes: other ? [...inside, other] : inside, edges: [...held, ...leaving.slice(0, LEAVING_MAX)] };
}

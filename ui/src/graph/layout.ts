// Layered layout of a task graph: a task stands one layer after the last thing it needs (longest path), an edge that
// passes layers gets a lane in each, the order within a layer follows the mean position of its neighbours (Sugiyama's
// barycentre sweeps), and layers are centred.

export interface GraphNode {
  id: string;
  needs: readonly string[];
}

export interface Placed {
  id: string;
  layer: number;
  x: number;
  y: number;
}

export interface Edge {
  from: string;
  to: string;
  /** An SVG path from the right side of `from` to the left side of `to`. */
  path: string;
  /** What the path lies within. */
  box: Box;
}

/** A piece of the canvas, in pixels. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Layout {
  nodes: Placed[];
  edges: Edge[];
  width: number;
  height: number;
}

export interface Sizes {
  nodeWidth: number;
  nodeHeight: number;
  gapX: number;
  gapY: number;
}

const SWEEPS = 4;

/** An edge over more layers goes straight: its lanes would be more than the tasks. */
const BENDS_MAX = 64;

/** Tasks are taken once all that they need has been: a chain of ten thousand needs no deep call. */
function layersOf(nodes: readonly GraphNode[]): Map<string, number> {
  const known = new Set(nodes.map((node) => node.id));
  const missing = new Map(nodes.map((node) => [node.id, node.needs.filter((need) => known.has(need)).length]));
  const dependents = new Map<string, string[]>();
  for (const node of nodes) for (const need of node.needs) pushTo(dependents, need, node.id);
  const layers = new Map<string, number>();
  const ready = nodes.filter((node) => missing.get(node.id) === 0).map((node) => node.id);
  for (const id of ready) layers.set(id, 0);
  for (let i = 0; i < ready.length; i += 1) {
    const id = ready[i] ?? "";
    const layer = layers.get(id) ?? 0;
    for (const dependent of dependents.get(id) ?? []) {
      const left = (missing.get(dependent) ?? 0) - 1;
      missing.set(dependent, left);
      layers.set(dependent, Math.max(layers.get(dependent) ?? 0, layer + 1));
      if (left === 0) ready.push(dependent);
    }
  }
  // What needs itself has a place too: the server refuses it, a page shall not fail for it.
  for (const node of nodes) if (!layers.has(node.id)) layers.set(node.id, 0);
  return layers;
}

function pushTo(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function sweep(ranks: string[][], neighbours: (id: string) => readonly string[], forward: boolean): void {
  const order = forward ? ranks.keys() : [...ranks.keys()].reverse();
  const position = new Map(ranks.flatMap((rank) => rank.map((id, i) => [id, i - (rank.length - 1) / 2] as const)));
  for (const layer of order) {
    const rank = ranks[layer];
    if (!rank) continue;
    const wish = new Map(rank.map((id) => [id, mean(neighbours(id).map((n) => position.get(n) ?? 0)) ?? position.get(id) ?? 0]));
    rank.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0));
    for (const [i, id] of rank.entries()) position.set(id, i - (rank.length - 1) / 2);
  }
}

/** One place in a layer: a task, or a bend of an edge that passes by. */
interface Slot {
  id: string;
  height: number;
}

interface Chain {
  from: string;
  to: string;
  /** The bends between, one a layer passed. */
  bends: string[];
}

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const bend = (x2 - x1) / 2;
  return `C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

/** An edge over several layers gets a bend in each layer between, so that it has a lane of its own there. */
function chainsOf(nodes: readonly GraphNode[], layers: ReadonlyMap<string, number>): Chain[] {
  return nodes.flatMap((node) =>
    node.needs.filter((need) => layers.has(need)).map((need) => {
      const first = (layers.get(need) ?? 0) + 1;
      const passed = Math.max(0, (layers.get(node.id) ?? 0) - first);
      if (passed > BENDS_MAX) return { from: need, to: node.id, bends: [] };
      return { from: need, to: node.id, bends: Array.from({ length: passed }, (_, i) => `${need}\u0000${node.id}\u0000${first + i}`) };
    }),
  );
}

function ranksOf(nodes: readonly GraphNode[], layers: ReadonlyMap<string, number>, chains: readonly Chain[]): string[][] {
  let last = -1;
  for (const layer of layers.values()) last = Math.max(last, layer);
  const ranks: string[][] = Array.from({ length: last + 1 }, () => []);
  for (const node of nodes) ranks[layers.get(node.id) ?? 0]?.push(node.id);
  for (const chain of chains) {
    const first = (layers.get(chain.from) ?? 0) + 1;
    for (const [i, bend] of chain.bends.entries()) ranks[first + i]?.push(bend);
  }
  return ranks;
}

function order(ranks: string[][], chains: readonly Chain[]): void {
  const before = new Map<string, string[]>();
  const after = new Map<string, string[]>();
  for (const { from, to, bends } of chains) {
    const path = [from, ...bends, to];
    for (const [i, id] of path.slice(1).entries()) {
      const previous = path[i] ?? "";
      pushTo(before, id, previous);
      pushTo(after, previous, id);
    }
  }
  for (let i = 0; i < SWEEPS; i += 1) {
    sweep(ranks, (id) => before.get(id) ?? [], true);
    sweep(ranks, (id) => after.get(id) ?? [], false);
  }
}

/** The top of every slot: each layer is stacked and centred. */
function stack(ranks: readonly string[][], tasks: ReadonlySet<string>, sizes: Sizes): { tops: Map<string, number>; height: number } {
  const slots = ranks.map((rank) => rank.map((id): Slot => ({ id, height: tasks.has(id) ? sizes.nodeHeight : sizes.gapY })));
  const tall = (rank: readonly Slot[]): number => rank.reduce((sum, slot) => sum + slot.height, 0) + Math.max(0, rank.length - 1) * sizes.gapY;
  const height = slots.reduce((most, rank) => Math.max(most, tall(rank)), sizes.nodeHeight);
  const tops = new Map<string, number>();
  for (const rank of slots) {
    let top = (height - tall(rank)) / 2;
    for (const slot of rank) {
      tops.set(slot.id, top);
      top += slot.height + sizes.gapY;
    }
  }
  return { tops, height };
}

/** Places every node and draws every edge. Unknown `needs` are left out. */
export function layout(nodes: readonly GraphNode[], sizes: Sizes): Layout {
  const layers = layersOf(nodes);
  const chains = chainsOf(nodes, layers);
  const ranks = ranksOf(nodes, layers, chains);
  order(ranks, chains);
  const { tops, height } = stack(ranks, new Set(layers.keys()), sizes);
  const left = (layer: number): number => layer * (sizes.nodeWidth + sizes.gapX);

  const placed = nodes.map((node): Placed => {
    const layer = layers.get(node.id) ?? 0;
    return { id: node.id, layer, x: left(layer), y: tops.get(node.id) ?? 0 };
  });
  const edges = chains.map(({ from, to, bends }): Edge => {
    const first = layers.get(from) ?? 0;
    let x = left(first) + sizes.nodeWidth;
    let y = (tops.get(from) ?? 0) + sizes.nodeHeight / 2;
    let path = `M${x} ${y}`;
    const box = { left: x, top: y, right: x, bottom: y };
    const reach = (nextX: number, nextY: number): void => {
      path += curve(x, y, nextX, nextY);
      [x, y] = [nextX, nextY];
      [box.left, box.right] = [Math.min(box.left, x), Math.max(box.right, x)];
      [box.top, box.bottom] = [Math.min(box.top, y), Math.max(box.bottom, y)];
    };
    for (const [i, bend] of bends.entries()) {
      reach(left(first + 1 + i), (tops.get(bend) ?? 0) + sizes.gapY / 2);
      x += sizes.nodeWidth;
      path += `H${x}`;
    }
    reach(left(layers.get(to) ?? 0), (tops.get(to) ?? 0) + sizes.nodeHeight / 2);
    return { from, to, path, box };
  });
  const width = ranks.length * sizes.nodeWidth + Math.max(0, ranks.length - 1) * sizes.gapX;
  return { nodes: placed, edges, width, height };
}

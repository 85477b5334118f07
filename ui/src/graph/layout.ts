// Layered layout of a task graph: a task stands one layer after the last thing it needs (longest path), the order within
// a layer follows the mean position of its neighbours (Sugiyama's barycentre sweeps), and layers are centred.

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

function layersOf(nodes: readonly GraphNode[]): Map<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const layers = new Map<string, number>();
  const visit = (id: string, path: Set<string>): number => {
    const known = layers.get(id);
    if (known !== undefined) return known;
    if (path.has(id)) return 0;
    path.add(id);
    let layer = 0;
    for (const need of byId.get(id)?.needs ?? []) {
      if (byId.has(need)) layer = Math.max(layer, visit(need, path) + 1);
    }
    path.delete(id);
    layers.set(id, layer);
    return layer;
  };
  for (const node of nodes) visit(node.id, new Set());
  return layers;
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

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const bend = Math.max(16, (x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

/** Places every node and draws every edge. Unknown `needs` are left out. */
export function layout(nodes: readonly GraphNode[], sizes: Sizes): Layout {
  const layers = layersOf(nodes);
  const last = Math.max(-1, ...layers.values());
  const ranks = Array.from({ length: last + 1 }, (_, layer) => nodes.filter((node) => layers.get(node.id) === layer).map((node) => node.id));
  const needs = new Map(nodes.map((node) => [node.id, node.needs.filter((need) => layers.has(need))]));
  const feeds = new Map<string, string[]>();
  for (const [id, list] of needs) for (const need of list) feeds.set(need, [...(feeds.get(need) ?? []), id]);
  for (let i = 0; i < SWEEPS; i += 1) {
    sweep(ranks, (id) => needs.get(id) ?? [], true);
    sweep(ranks, (id) => feeds.get(id) ?? [], false);
  }
  const tallest = Math.max(1, ...ranks.map((rank) => rank.length));
  const height = tallest * sizes.nodeHeight + (tallest - 1) * sizes.gapY;
  const placed = new Map<string, Placed>();
  for (const [layer, rank] of ranks.entries()) {
    const tall = rank.length * sizes.nodeHeight + (rank.length - 1) * sizes.gapY;
    for (const [i, id] of rank.entries()) {
      placed.set(id, {
        id,
        layer,
        x: layer * (sizes.nodeWidth + sizes.gapX),
        y: (height - tall) / 2 + i * (sizes.nodeHeight + sizes.gapY),
      });
    }
  }
  const edges: Edge[] = [];
  for (const [to, list] of needs) {
    for (const from of list) {
      const a = placed.get(from);
      const b = placed.get(to);
      if (!a || !b) continue;
      const half = sizes.nodeHeight / 2;
      edges.push({ from, to, path: curve(a.x + sizes.nodeWidth, a.y + half, b.x, b.y + half) });
    }
  }
  const width = ranks.length * sizes.nodeWidth + Math.max(0, ranks.length - 1) * sizes.gapX;
  return { nodes: nodes.flatMap((node) => placed.get(node.id) ?? []), edges, width, height };
}

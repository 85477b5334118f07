// Which columns of the grid are on the page: whole chunks around the visible span, so that scrolling re-renders only
// when a chunk comes or goes, and never the chunks that stay.

export const COLUMN_PX = 20;
export const CHUNK_COLUMNS = 16;
const OVERSCAN_CHUNKS = 2;

export interface Span {
  /** First chunk or row, inclusive. */
  first: number;
  /** Last chunk or row, exclusive. */
  last: number;
}

export function visibleChunks(scrollLeft: number, width: number, columns: number): Span {
  const chunkPx = COLUMN_PX * CHUNK_COLUMNS;
  const chunks = Math.ceil(columns / CHUNK_COLUMNS);
  const first = Math.max(0, Math.min(chunks, Math.floor(scrollLeft / chunkPx) - OVERSCAN_CHUNKS));
  const last = Math.min(chunks, Math.ceil((scrollLeft + width) / chunkPx) + OVERSCAN_CHUNKS);
  return { first, last: Math.max(first, last) };
}

/** How high a row of tasks is, and how many rows come and go together. */
export const ROW_PX = 24;
const CHUNK_ROWS = 16;

/** The tasks near the visible span: from `first` up to `last`, exclusive. Few tasks are all there. */
export function visibleRows(scrollTop: number, height: number, rows: number): Span {
  const chunkPx = ROW_PX * CHUNK_ROWS;
  const first = Math.max(0, Math.floor(scrollTop / chunkPx) - 1) * CHUNK_ROWS;
  const last = Math.min(rows, (Math.ceil((scrollTop + height) / chunkPx) + 1) * CHUNK_ROWS);
  return { first: Math.min(first, rows), last: Math.max(Math.min(first, rows), last) };
}

/** The chunks to render: the visible ones and the one that holds the keyboard's place. */
export function chunksToRender(span: Span, focusColumn: number, columns: number): number[] {
  const chunks = Array.from({ length: span.last - span.first }, (_, i) => span.first + i);
  const focused = Math.floor(focusColumn / CHUNK_COLUMNS);
  if (focusColumn < columns && focusColumn >= 0 && !chunks.includes(focused)) chunks.push(focused);
  return chunks.sort((a, b) => a - b);
}

export interface Cell {
  row: number;
  column: number;
}

/** Where a key moves the keyboard's place; null when the key means nothing here. Row 0 is the runs themselves. */
export function moved(at: Cell, key: string, ctrl: boolean, rows: number, columns: number): Cell | null {
  const clamp = (value: number, count: number): number => Math.min(count - 1, Math.max(0, value));
  const to = (row: number, column: number): Cell => ({ row: clamp(row, rows), column: clamp(column, columns) });
  switch (key) {
    case "ArrowLeft": return to(at.row, at.column - 1);
    case "ArrowRight": return to(at.row, at.column + 1);
    case "ArrowUp": return to(at.row - 1, at.column);
    case "ArrowDown": return to(at.row + 1, at.column);
    case "PageUp": return to(at.row, at.column - 30);
    case "PageDown": return to(at.row, at.column + 30);
    case "Home": return to(ctrl ? 0 : at.row, 0);
    case "End": return to(ctrl ? rows - 1 : at.row, columns - 1);
    default: return null;
  }
}

/** The duration that a bar of full height stands for: a few very long runs shall not flatten all the others. */
export function barScale(durations: readonly number[]): number {
  const sorted = durations.filter((ms) => ms > 0).sort((a, b) => a - b);
  const usual = sorted[Math.floor(0.95 * (sorted.length - 1))] ?? 1;
  return Math.max(1, Math.min(usual * 1.2, sorted.at(-1) ?? 1));
}

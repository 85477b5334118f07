// A flow's history: one column a run, one row a task, a bar on top for how long the run took. Only the chunks of columns
// and, of many tasks, rows near the visible span are on the page; arrow keys walk the cells (roving tabindex), Enter opens.
import { useCallback, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState, type KeyboardEvent, type Ref } from "react";
import type { GridRun } from "../api/types";
import { useReader } from "../text/context";
import { BarChunk, CellChunk } from "./chunks";
import { barScale, COLUMN_PX, chunksToRender, moved, ROW_PX, visibleChunks, visibleRows, type Cell, type Span } from "./window";

export interface GridHandle {
  /** Scrolls to a column and puts the keyboard there. */
  reveal(column: number): void;
}

interface Props {
  label: string;
  tasks: readonly string[];
  runs: readonly GridRun[];
  onOpen: (run: GridRun, task: string | null) => void;
  onRead: (cell: Cell | null) => void;
  handle?: Ref<GridHandle>;
}

const LABEL_PX = 148;
/** So many tasks are all on the page. */
const ROWS_WHOLE_MAX = 100;
/** The bars on top, with the room below them. */
const BARS_PX = 93;
/** How far from the left the last run under way is kept. */
const FRONTIER_AT = 0.75;

function cellOf(target: EventTarget): Cell | null {
  const element = target instanceof Element ? target.closest<HTMLElement>("[data-cell]") : null;
  const [row, column] = (element?.dataset.cell ?? "").split(":").map(Number);
  return row === undefined || column === undefined ? null : { row, column };
}

export function RunGrid({ label, tasks, runs, onOpen, onRead, handle }: Props) {
  const { t } = useReader();
  const scroller = useRef<HTMLDivElement>(null);
  const frame = useRef(0);
  const wantsFocus = useRef(false);
  const following = useRef(true);
  const [span, setSpan] = useState<Span>({ first: 0, last: 0 });
  const [shown, setShown] = useState<Span>({ first: 0, last: 0 });
  const [place, setPlace] = useState<Cell | null>(null);
  const at = place ?? { row: 0, column: Math.max(0, runs.length - 1) };

  const measure = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    const next = visibleChunks(box.scrollLeft, box.clientWidth - LABEL_PX, runs.length);
    setSpan((now) => (now.first === next.first && now.last === next.last ? now : next));
    const rows = visibleRows(box.scrollTop, box.clientHeight, tasks.length);
    setShown((now) => (now.first === rows.first && now.last === rows.last ? now : rows));
  }, [runs.length, tasks.length]);

  // Until the reader takes over, the grid shows where the work is: the last run under way, else the newest run.
  const frontier = runs.findLastIndex((run) => run.status === "running");
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && following.current) {
      const room = box.clientWidth - LABEL_PX;
      box.scrollLeft = frontier < 0 ? box.scrollWidth : (frontier + 1) * COLUMN_PX - FRONTIER_AT * room;
    }
    measure();
  }, [measure, frontier]);
  useEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame.current);
    };
  }, [measure]);

  const bring = useCallback((cell: Cell, centre: boolean) => {
    const box = scroller.current;
    if (!box) return;
    following.current = false;
    const left = cell.column * COLUMN_PX;
    const room = box.clientWidth - LABEL_PX;
    if (centre) box.scrollLeft = left - room / 2;
    else if (left < box.scrollLeft) box.scrollLeft = left;
    else if (left + COLUMN_PX > box.scrollLeft + room) box.scrollLeft = left + COLUMN_PX - room;
    const bottom = BARS_PX + cell.row * ROW_PX;
    if (cell.row > 0 && bottom - ROW_PX < box.scrollTop + BARS_PX) box.scrollTop = bottom - ROW_PX - BARS_PX;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    wantsFocus.current = true;
    setPlace(cell);
    onRead(cell);
  }, [onRead]);

  useImperativeHandle(handle, () => ({ reveal: (column) => bring({ row: 0, column }, true) }), [bring]);
  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    scroller.current?.querySelector<HTMLElement>(`[data-cell="${at.row}:${at.column}"]`)?.focus({ preventScroll: true });
  });

  function open(cell: Cell): void {
    const run = runs[cell.column];
    if (run) onOpen(run, cell.row === 0 ? null : (tasks[cell.row - 1] ?? null));
  }
  function onKeyDown(event: KeyboardEvent): void {
    const here = cellOf(event.target) ?? at;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(here);
      return;
    }
    const next = moved(here, event.key, event.ctrlKey, tasks.length + 1, runs.length);
    if (!next) return;
    event.preventDefault();
    bring(next, false);
  }

  const chunks = chunksToRender(span, at.column, runs.length);
  const [before, after] = tasks.length <= ROWS_WHOLE_MAX ? [0, tasks.length] : [shown.first, shown.last];
  const tallest = barScale(runs.map((run) => run.duration_ms ?? 0));
  const focusIn = (row: number): number => (at.row === row ? at.column : -1);
  return (
    <div
      className="run-grid" role="grid" aria-label={label} aria-rowcount={tasks.length + 1} aria-colcount={runs.length + 1} ref={scroller}
      style={{ "--column": `${COLUMN_PX}px`, "--label": `${LABEL_PX}px`, "--tallest": tallest } as React.CSSProperties}
      onScroll={() => {
        cancelAnimationFrame(frame.current);
        frame.current = requestAnimationFrame(measure);
      }}
      onWheel={() => (following.current = false)}
      onPointerDown={() => (following.current = false)}
      onKeyDown={onKeyDown}
      onFocus={(event) => {
        const cell = cellOf(event.target);
        if (cell) {
          setPlace(cell);
          onRead(cell);
        }
      }}
      onMouseOver={(event) => onRead(cellOf(event.target))}
      onMouseLeave={() => onRead(null)}
      onClick={(event) => {
        const cell = cellOf(event.target);
        if (cell) open(cell);
      }}
    >
      <div role="row" aria-rowindex={1} className="grid-row grid-bars" style={{ width: LABEL_PX + runs.length * COLUMN_PX }}>
        <div role="columnheader" aria-colindex={1} className="grid-label">{t("grid.duration")}</div>
        {chunks.map((chunk) => <BarChunk key={chunk} chunk={chunk} runs={runs} focus={focusIn(0)} />)}
      </div>
      <div role="presentation" style={{ height: before * ROW_PX }} />
      {tasks.slice(before, after).map((task, offset) => (
        <div key={task} role="row" aria-rowindex={before + offset + 2} className="grid-row" style={{ width: LABEL_PX + runs.length * COLUMN_PX }}>
          <div role="rowheader" aria-colindex={1} className="grid-label code">{task}</div>
          {chunks.map((chunk) => <CellChunk key={chunk} chunk={chunk} row={before + offset + 1} task={task} runs={runs} focus={focusIn(before + offset + 1)} />)}
        </div>
      ))}
      <div role="presentation" style={{ height: (tasks.length - after) * ROW_PX }} />
    </div>
  );
}

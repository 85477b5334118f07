// Sixteen columns of one row of the grid. A chunk renders again only when one of its own runs has changed, or when the
// keyboard enters or leaves it.
import { memo } from "react";
import type { GridRun } from "../api/types";
import { MARKS, statusOfLetter } from "../components/glyphs";
import { useReader } from "../text/context";
import { CHUNK_COLUMNS, COLUMN_PX } from "./window";

interface BarProps {
  chunk: number;
  runs: readonly GridRun[];
  /** The focusable column of this row, or -1. */
  focus: number;
}

interface CellProps extends BarProps {
  row: number;
  task: string;
}

function columnsOf(chunk: number, runs: readonly GridRun[]): [GridRun, number][] {
  const first = chunk * CHUNK_COLUMNS;
  return runs.slice(first, first + CHUNK_COLUMNS).map((run, i) => [run, first + i]);
}

function same<T extends BarProps>(before: T, after: T): boolean {
  const holds = (focus: number): number => (Math.floor(focus / CHUNK_COLUMNS) === after.chunk ? focus : -1);
  if (before.chunk !== after.chunk || holds(before.focus) !== holds(after.focus)) return false;
  const first = after.chunk * CHUNK_COLUMNS;
  for (let i = first; i < first + CHUNK_COLUMNS; i += 1) if (before.runs[i] !== after.runs[i]) return false;
  return true;
}

/** The `2013-02` that a label such as `2013-02-17` begins with. */
function monthOf(label: string): string | null {
  return /^\d{4}-\d{2}(?=-\d{2})/.exec(label)?.[0] ?? null;
}

const MARGIN = { position: "absolute", top: 0 } as const;

export const BarChunk = memo(function BarChunk({ chunk, runs, focus }: BarProps) {
  const { t, format } = useReader();
  return (
    <div role="presentation" className="grid-chunk" style={{ ...MARGIN, transform: `translateX(${chunk * CHUNK_COLUMNS * COLUMN_PX}px)` }}>
      {columnsOf(chunk, runs).map(([run, column]) => {
        const month = monthOf(run.label);
        const opens = month !== null && month !== monthOf(runs[column - 1]?.label ?? "");
        return (
          <div
            key={run.id} role="columnheader" aria-colindex={column + 2} className="grid-bar" data-cell={`0:${column}`} tabIndex={column === focus ? 0 : -1}
            data-tone={MARKS[run.status].tone} data-status={run.status}
          >
            <span className="visually-hidden">{`${run.label}: ${t(`status.${run.status}`)}, ${format.span(run.duration_ms)}`}</span>
            {opens ? <span className="grid-month" aria-hidden="true">{format.eventTime(`${month}-01`, "month")}</span> : null}
            <span className="grid-bar-fill" style={{ "--took": run.duration_ms ?? 0 } as React.CSSProperties} />
          </div>
        );
      })}
    </div>
  );
}, same);

export const CellChunk = memo(function CellChunk({ chunk, row, task, runs, focus }: CellProps) {
  const { t } = useReader();
  return (
    <div role="presentation" className="grid-chunk" style={{ ...MARGIN, transform: `translateX(${chunk * CHUNK_COLUMNS * COLUMN_PX}px)` }}>
      {columnsOf(chunk, runs).map(([run, column]) => {
        const status = statusOfLetter(run.cells[row - 1] ?? "w");
        return (
          <div
            key={run.id} role="gridcell" aria-colindex={column + 2} className="grid-cell" data-cell={`${row}:${column}`} tabIndex={column === focus ? 0 : -1}
            aria-label={`${run.label}, ${task}: ${t(`status.${status}`)}`}
          >
            <span className="mark" data-status={status} />
          </div>
        );
      })}
    </div>
  );
}, same);

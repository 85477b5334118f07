// The grid of a flow's runs with its reading line: what the pointer or the keyboard is on, and jumps to failed runs.
import { useCallback, useMemo, useRef, useState } from "react";
import type { Grid } from "../../api/types";
import { Button } from "../../components/button";
import { letterOfStatus, statusOfLetter, STATUSES, type Status } from "../../components/glyphs";
import { Empty, Loaded } from "../../components/page";
import { Panel } from "../../components/panel";
import { StatusBadge, StatusMark } from "../../components/status";
import { RunGrid, type GridHandle } from "../../grid/run-grid";
import type { Cell } from "../../grid/window";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { address, navigate } from "../../router/router";
import { useReader } from "../../text/context";

export function GridPanel({ flow }: { flow: string }) {
  const { t } = useReader();
  const snapshot = useResource(resources.grid(flow));
  const handle = useRef<GridHandle>(null);
  const runs = snapshot.data?.runs;
  const failed = useMemo(() => (runs ?? []).flatMap((run, column) => (run.status === "failed" ? [column] : [])), [runs]);
  return (
    <Panel
      title={t("flow.grid")} flush className="grid-panel"
      aside={failed.length > 0 ? <Failures columns={failed} onGo={(column) => handle.current?.reveal(column)} /> : null}
    >
      <Loaded snapshot={snapshot}>
        {(grid) => (grid.runs.length === 0 ? <Empty title={t("flow.grid.none")}>{t("flow.grid.none.help")}</Empty> : <LiveGrid flow={flow} grid={grid} handle={handle} />)}
      </Loaded>
    </Panel>
  );
}

function LiveGrid({ flow, grid, handle }: { flow: string; grid: Grid; handle: React.RefObject<GridHandle | null> }) {
  const { t } = useReader();
  const [reading, setReading] = useState<Cell | null>(null);
  const open = useCallback((run: { id: number }, task: string | null) => {
    navigate(address("/runs/:run", { run: String(run.id) }) + (task ? `?task=${encodeURIComponent(task)}` : ""));
  }, []);
  return (
    <>
      <RunGrid label={t("flow.grid.label", { flow })} tasks={grid.tasks} runs={grid.runs} onOpen={open} onRead={setReading} handle={handle} />
      <div className="grid-foot">
        {reading && grid.runs[reading.column] ? <ReadingLine grid={grid} cell={reading} /> : <Legend grid={grid} />}
      </div>
    </>
  );
}

function ReadingLine({ grid, cell }: { grid: Grid; cell: Cell }) {
  const { t, format } = useReader();
  const run = grid.runs[cell.column];
  if (!run) return null;
  const task = cell.row > 0 ? grid.tasks[cell.row - 1] : null;
  const status: Status = task ? statusOfLetter(run.cells[cell.row - 1] ?? "w") : run.status;
  return (
    <p className="grid-reading">
      <b>{run.label}</b>
      {task ? <code>{task}</code> : null}
      <StatusBadge status={status} />
      {run.duration_ms !== null && run.duration_ms !== undefined ? <span className="muted">{t("flow.took", { span: format.span(run.duration_ms) })}</span> : null}
    </p>
  );
}

function Legend({ grid }: { grid: Grid }) {
  const { t } = useReader();
  const present = new Set(grid.runs.flatMap((run) => [...run.cells]));
  const shown = STATUSES.filter((status) => status !== "queued" && present.has(letterOfStatus(status)) && statusOfLetter(letterOfStatus(status)) === status);
  return (
    <div className="grid-legend">
      <ul>
        {shown.map((status) => (
          <li key={status}>
            <StatusMark status={status} small />
            {t(`status.${status}`)}
          </li>
        ))}
      </ul>
      <span className="muted">{t("flow.runs", { count: grid.runs.length })} · {t("flow.grid.help")}</span>
    </div>
  );
}

function Failures({ columns, onGo }: { columns: readonly number[]; onGo: (column: number) => void }) {
  const { t } = useReader();
  const [at, setAt] = useState<number | null>(null);
  const go = (step: 1 | -1): void => {
    const next = at === null ? (step > 0 ? 0 : columns.length - 1) : (at + step + columns.length) % columns.length;
    setAt(next);
    const column = columns[next];
    if (column !== undefined) onGo(column);
  };
  return (
    <div className="failures">
      <StatusMark status="failed" small />
      <span>{t("flow.failures", { count: columns.length })}</span>
      <Button kind="quiet" icon="chevron" className="flip" aria-label={t("flow.failures.previous")} onClick={() => go(-1)} />
      <Button kind="quiet" icon="chevron" aria-label={t("flow.failures.next")} onClick={() => go(1)} />
    </div>
  );
}

// Tables × intervals: what is done, stale, failed, under way or missing, flow by flow and page by page. A cell leads to its run.
import { useLayoutEffect, useRef, useState } from "react";
import type { FlowMatrix, TableCell } from "../../api/types";
import { Button } from "../../components/button";
import { Empty, Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { useReader } from "../../text/context";

const MARKS: Record<TableCell, { tone: string; mark: string }> = {
  done: { tone: "succeeded", mark: "✓" },
  stale: { tone: "waiting", mark: "~" },
  failed: { tone: "failed", mark: "×" },
  running: { tone: "running", mark: "▸" },
  missing: { tone: "idle", mark: "·" },
};
const CELLS = Object.keys(MARKS) as TableCell[];

export function TablesPage() {
  const { t } = useReader();
  return (
    <>
      <PageHead
        title={t("nav.tables")}
        lead={<p className="lead-facts">{CELLS.map((cell) => <span key={cell}><Mark cell={cell} /> {t(`tables.${cell}`)}</span>)}</p>}
      />
      <Loaded snapshot={useResource(resources.matrix)}>
        {(list) => (list.length === 0 ? <Empty title={t("tables.none")}>{t("tables.none.help")}</Empty> : list.map(({ flow }) => <FlowTables key={flow} flow={flow} />))}
      </Loaded>
    </>
  );
}

/** The tables of one flow: its latest intervals, or those that a reader has turned to. */
function FlowTables({ flow }: { flow: string }) {
  const { t } = useReader();
  // Where each page that was turned to ends: at the start of the one after it.
  const [ends, setEnds] = useState<readonly string[]>([]);
  const end = ends.at(-1);
  const snapshot = useResource(end === undefined ? resources.matrix : resources.matrixUntil(flow, end));
  const start = snapshot.data?.find((matrix) => matrix.flow === flow)?.intervals[0]?.interval.start;
  const pages = (
    <div className="turns">
      <Button kind="quiet" icon="chevron" className="flip" aria-label={t("tables.earlier")} disabled={start === undefined} onClick={() => start && setEnds([...ends, start])} />
      <Button kind="quiet" icon="chevron" aria-label={t("tables.later")} disabled={end === undefined} onClick={() => setEnds(ends.slice(0, -1))} />
    </div>
  );
  return (
    <Panel title={flow} aside={<>{pages}<Link href={`/flows/${encodeURIComponent(flow)}`}>{t("tables.flow")}</Link></>} flush>
      <Loaded snapshot={snapshot}>{(list) => list.filter((matrix) => matrix.flow === flow).map((matrix) => <Matrix key={flow} matrix={matrix} />)}</Loaded>
    </Panel>
  );
}

function Matrix({ matrix }: { matrix: FlowMatrix }) {
  const { t } = useReader();
  const box = useRef<HTMLDivElement>(null);
  const start = matrix.intervals[0]?.interval.start;
  // The latest interval stands at the end, and is what is looked for first.
  useLayoutEffect(() => {
    if (box.current) box.current.scrollLeft = box.current.scrollWidth;
  }, [start]);
  if (matrix.intervals.length === 0) return <p className="panel-body">{t("tables.before")}</p>;
  return (
    <div className="table-box" role="group" ref={box} aria-label={matrix.flow} tabIndex={0}>
      <table className="table matrix">
        <thead>
          <tr>
            <th scope="col">{t("tables.table")}</th>
            {matrix.intervals.map((column) => <th scope="col" key={column.interval.start}>{column.label}</th>)}
          </tr>
        </thead>
        <tbody>
          {matrix.rows.map((row) => (
            <tr key={`${row.table} ${row.task}`}>
              <th scope="row" title={row.inputs.length > 0 ? t("tables.from", { inputs: row.inputs.join(", ") }) : undefined}>{row.table}</th>
              {row.cells.map((cell, place) => {
                const column = matrix.intervals[place];
                const told = `${row.table}, ${column?.label ?? ""}: ${t(`tables.${cell}`)}`;
                return (
                  <td key={column?.interval.start ?? place}>
                    {column?.run ? <Link href={`/runs/${column.run}`} aria-label={told} title={told}><Mark cell={cell} /></Link> : <span title={told}><Mark cell={cell} /><span className="visually-hidden">{t(`tables.${cell}`)}</span></span>}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Mark({ cell }: { cell: TableCell }) {
  return <span className="chip" data-tone={MARKS[cell].tone} aria-hidden="true">{MARKS[cell].mark}</span>;
}

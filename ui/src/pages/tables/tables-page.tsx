// Tables × intervals: what is done, stale, failed, under way or missing, flow by flow. A cell leads to its run.
import type { FlowMatrix, TableCell } from "../../api/types";
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
        {(list) => (list.length === 0 ? <Empty title={t("tables.none")}>{t("tables.none.help")}</Empty> : list.map((matrix) => <Matrix key={matrix.flow} matrix={matrix} />))}
      </Loaded>
    </>
  );
}

function Matrix({ matrix }: { matrix: FlowMatrix }) {
  const { t } = useReader();
  return (
    <Panel title={matrix.flow} aside={<Link href={`/flows/${encodeURIComponent(matrix.flow)}`}>{t("tables.flow")}</Link>} flush>
      <div className="table-box" role="group" aria-label={matrix.flow} tabIndex={0}>
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
    </Panel>
  );
}

function Mark({ cell }: { cell: TableCell }) {
  return <span className="chip" data-tone={MARKS[cell].tone} aria-hidden="true">{MARKS[cell].mark}</span>;
}

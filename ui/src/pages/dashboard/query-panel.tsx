// A panel of a dashboard: the rows of its query, asked for again whenever its view changes; lines where they have a time, else a
// table. Of a view of two layers, what comes from which is told apart.
import { useMemo } from "react";
import type { DashboardPanel, Rows, ViewDetail } from "../../api/types";
import { chartColumns } from "../../chart/columns";
import { LayerNote } from "../../chart/layers";
import { LineChart } from "../../chart/line-chart";
import { readColumns, seriesOf } from "../../chart/series";
import { Fault } from "../../components/page";
import { Panel } from "../../components/panel";
import { RowTable } from "../../components/row-table";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useRows } from "../../live/use-rows";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";

const ROWS_MAX = 20_000;

/** Another one: another answer. A view that cannot be shown says nothing about the query, which says so itself. */
function versionOf(view: ViewDetail | undefined, error: Error | undefined): string | undefined {
  if (view) return [view.version, view.generation, view.layers?.batch_version ?? 0, view.definition].join(" ");
  return error ? "unknown" : undefined;
}

export function QueryPanel({ panel }: { panel: DashboardPanel }) {
  const { t } = useReader();
  const view = useResource(resources.view(panel.view));
  const rows = useRows(panel.sql, ROWS_MAX, versionOf(view.data, view.error));
  const boundary = view.data?.layers?.boundary;
  return (
    <Panel title={panel.title} className="chart-panel">
      {rows.error ? <Fault error={rows.error} /> : null}
      {rows.data ? <Answer title={panel.title} answer={rows.data} boundary={boundary ? instant(boundary) : null} /> : null}
      {rows.data || rows.error ? null : <p className="loading" role="status">{t("app.loading")}</p>}
      {rows.data?.truncated ? <p className="chart-note">{t("sql.truncated", { count: rows.data.rows.length })}</p> : null}
    </Panel>
  );
}

function Answer({ title, answer, boundary }: { title: string; answer: Rows; boundary: number | null }) {
  const { t } = useReader();
  const { columns, rows } = answer;
  const series = useMemo(() => {
    const reading = readColumns(chartColumns(columns), rows);
    if (reading?.xKind !== "time") return null;
    // With a column of names its lines are those of the first number; without one, each number is a line.
    if (reading.key !== null) return seriesOf(rows, reading, reading.measures[0] ?? 0);
    const nameOf = (measure: number): string => (reading.measures.length > 1 ? columns[measure]?.name ?? "" : "");
    return reading.measures.flatMap((measure) => seriesOf(rows, reading, measure).map((line) => ({ ...line, name: nameOf(measure) })));
  }, [columns, rows]);
  if (rows.length === 0) return <p className="muted">{t("dashboard.empty")}</p>;
  if (!series) return <RowTable label={title} columns={columns} rows={rows} />;
  return (
    <>
      <LineChart label={`${title}. ${t("view.chart.help")}`} series={series} xKind="time" boundary={boundary} />
      {boundary === null ? null : <LayerNote boundary={boundary} />}
    </>
  );
}

// The chart of a view: which column is drawn, how many rows, and what is still open.
import { useMemo, useState } from "react";
import type { Rows } from "../../api/types";
import { chartColumns } from "../../chart/columns";
import { LayerNote } from "../../chart/layers";
import { LineChart } from "../../chart/line-chart";
import { readColumns, seriesOf } from "../../chart/series";
import { Panel } from "../../components/panel";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";
import { isEnd } from "../views/watermark";

interface Props {
  answer: Rows;
  watermark: string | null;
  /** Up to which event time batch has spoken, where it does. */
  boundary: string | null;
  limit: number;
  limits: readonly number[];
  onLimit: (limit: number) => void;
}

export function ChartPanel({ answer, watermark, boundary, limit, limits, onLimit }: Props) {
  const { t, format } = useReader();
  const [chosen, setChosen] = useState<string | null>(null);
  const { columns, rows } = answer;
  const reading = useMemo(() => readColumns(chartColumns(columns), rows), [columns, rows]);
  const names = reading?.measures.map((i) => columns[i]?.name ?? "") ?? [];
  const measure = reading?.measures[Math.max(0, names.indexOf(chosen ?? ""))];
  const series = useMemo(() => (reading && measure !== undefined ? seriesOf(rows, reading, measure) : []), [rows, reading, measure]);
  if (!reading || measure === undefined) {
    return rows.length === 0 ? null : <Panel title={t("view.chart")}><p className="muted">{t("view.chart.none")}</p></Panel>;
  }
  const words = { measure: columns[measure]?.name ?? "", x: columns[reading.x]?.name ?? "", key: columns[reading.key ?? -1]?.name ?? "" };
  const label = t(reading.key === null ? "view.chart.label.single" : "view.chart.label", words);
  const settled = watermark && !isEnd(watermark) ? instant(watermark) : null;
  const spoken = boundary ? instant(boundary) : null;
  const open = settled !== null && series.some((line) => (line.points.at(-1)?.x ?? settled) > settled);
  return (
    <Panel
      title={label} className="chart-panel"
      aside={
        <>
          <Segments label={t("view.chart.measure")} options={names.map((name) => [name, name])} chosen={words.measure} onChoose={setChosen} />
          <span className="muted" aria-hidden="true">{t("view.chart.range")}</span>
          <Segments label={t("view.chart.range")} options={limits.map((size) => [String(size), format.number(size)])} chosen={String(limit)} onChoose={(size) => onLimit(Number(size))} />
        </>
      }
    >
      <LineChart label={`${label}. ${t("view.chart.help")}`} series={series} xKind={reading.xKind} settled={settled} boundary={spoken} />
      {spoken === null ? null : <LayerNote boundary={spoken} />}
      {open ? <p className="chart-note"><span className="chart-note-hatch" aria-hidden="true" />{t("view.chart.open")}</p> : null}
    </Panel>
  );
}

interface SegmentsProps {
  label: string;
  options: readonly (readonly [string, string])[];
  chosen: string;
  onChoose: (value: string) => void;
}

function Segments({ label, options, chosen, onChoose }: SegmentsProps) {
  return (
    <div className="segments" role="group" aria-label={label}>
      {options.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === chosen} onClick={() => onChoose(value)}>{text}</button>
      ))}
    </div>
  );
}

// What a view reads: the water level of each partition's watermark, and which one holds time back.
import type { SourceProgress, ViewDetail } from "../../api/types";
import { Icon } from "../../components/icon";
import { Panel } from "../../components/panel";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";
import { isEnd } from "../views/watermark";

const STATES = ["active", "idle", "finished"] as const;
const SPAN_LEAST_MS = 3_600_000;

export function SourcePanel({ view, now }: { view: ViewDetail; now: number }) {
  const { t } = useReader();
  const known = view.sources.flatMap((source) => (source.watermark && !isEnd(source.watermark) ? [instant(source.watermark)] : []));
  const furthest = known.length > 0 ? Math.max(...known) : null;
  const least = known.length > 0 ? Math.min(...known) : null;
  return (
    <Panel title={t("view.sources")}>
      <ul className="sources">
        {view.sources.map((source) => (
          <Source
            key={`${source.source} ${source.partition}`} source={source} furthest={furthest} least={least} now={now}
            holds={view.sources.length > 1 && view.held_back_by?.source === source.source && view.held_back_by.partition === source.partition}
          />
        ))}
      </ul>
    </Panel>
  );
}

interface Props {
  source: SourceProgress;
  furthest: number | null;
  least: number | null;
  holds: boolean;
  now: number;
}

function Source({ source, furthest, least, holds, now }: Props) {
  const { t, format } = useReader();
  const at = source.watermark && !isEnd(source.watermark) ? instant(source.watermark) : null;
  const span = Math.max(SPAN_LEAST_MS, (furthest ?? 0) - (least ?? 0));
  const behind = at !== null && furthest !== null ? furthest - at : null;
  // The furthest stands at 100 %, the one furthest behind at 20 %: the picture shows who waits for whom.
  const level = behind === null ? (source.state === "finished" ? 100 : 0) : 100 - (80 * behind) / span;
  const state = STATES.find((known) => known === source.state);
  return (
    <li data-holds={holds || undefined}>
      <p className="source-name">
        <b>{source.source}</b> <span className="muted">{t("view.sources.partition")} {source.partition}</span>
        {source.waits_for ? <span className="chip" data-tone="waiting">{t("view.sources.waits")}</span> : null}
        {holds ? <span className="chip" data-tone="waiting"><Icon name="drop" size={12} />{t("view.sources.holds")}</span> : null}
      </p>
      <div className="level" aria-hidden="true"><span style={{ width: `${level}%` }} /></div>
      <p className="source-facts">
        <span>{source.watermark ? (isEnd(source.watermark) ? t("view.watermark.end") : format.eventTime(source.watermark)) : t("view.watermark.none")}</span>
        <span className="muted">
          {state ? t(`view.partition.${state}`) : source.state}
          {behind === null ? "" : ` · ${behind === 0 ? t("view.sources.furthest") : t("view.sources.behind", { span: format.span(behind) })}`}
          {` · ${t("view.sources.rows")} ${format.number(source.rows)}`}
        </span>
        <span className="muted">
          {t("view.sources.rate", { rows: format.number(source.rows_per_second ?? 0, 0), bytes: format.bytes(source.bytes_per_second ?? 0) })}
          {source.lag_rows == null ? "" : ` · ${t("view.sources.lag", { rows: format.number(source.lag_rows) })}`}
          {source.since && source.state === "active" ? ` · ${t("view.sources.since", { when: format.fromNow(Math.min(instant(source.since), now), now) })}` : ""}
        </span>
        {source.waits_for ? <span role="status">{source.waits_for}</span> : null}
      </p>
    </li>
  );
}

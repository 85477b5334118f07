// The numbers of a view that say whether it is well: watermark, rows, pace, latency, late rows.
import type { ReactNode } from "react";
import type { ViewDetail } from "../../api/types";
import { useReader } from "../../text/context";
import { instant } from "../../text/format";
import { isEnd } from "../views/watermark";

function Number({ term, value, children, tone }: { term: string; value: ReactNode; children: ReactNode; tone?: string | undefined }) {
  return (
    <div className="number-card" data-tone={tone}>
      <dt>{term}</dt>
      <dd>
        <span className="number-value">{value}</span>
        <span className="number-note">{children}</span>
      </dd>
    </div>
  );
}

export function ViewNumbers({ view, now }: { view: ViewDetail; now: number }) {
  const { t, format } = useReader();
  // One partition alone holds nobody back.
  const held = view.sources.length > 1 ? view.held_back_by : null;
  const where = { source: held?.source ?? "", partition: held?.partition ?? "" };
  const since = held?.since ? format.fromNow(Math.min(instant(held.since), now), now) : null;
  const heldText = held ? (since ? t("view.held.since", { ...where, when: since }) : t("view.held", where)) : t("view.watermark.help");
  const latency = view.latency;
  const watermark = view.watermark ? (isEnd(view.watermark) ? t("view.watermark.end") : format.eventTime(view.watermark)) : t("view.watermark.none");
  return (
    <dl className="numbers">
      <Number term={t("view.watermark")} value={watermark}>
        {[
          view.lag_ms ? t("view.lag", { span: format.span(view.lag_ms) }) : "",
          heldText,
        ].filter(Boolean).join(" · ")}
      </Number>
      <Number term={t("view.rows")} value={format.number(view.rows)}>{t("view.rows.help")}</Number>
      <Number term={t("view.rate")} value={t("view.rate.unit", { rate: format.number(view.rows_in_per_second, 0) })}>
        {[
          t("view.rate.help", { total: format.number(view.rows_in) }),
          view.skipped_rows > 0 ? t("view.skipped", { count: view.skipped_rows }) : "",
          view.null_event_times > 0 ? t("view.nulls", { count: view.null_event_times }) : "",
        ].filter(Boolean).join(" · ")}
      </Number>
      <Number term={t("view.latency")} value={latency ? t("view.latency.p50", { p50: format.span(latency.p50_ms) }) : t("view.latency.none")}>
        {latency ? t("view.latency.help", { p95: format.span(latency.p95_ms), p99: format.span(latency.p99_ms) }) : ""}
      </Number>
      <Number term={t("view.late")} value={format.number(view.late_rows)} tone={view.late_rows > 0 ? "waiting" : undefined}>
        {view.late_rows === 0 ? t("view.late.help") : [
          t("view.late.updated", { count: view.late_rows - view.late_rows_dropped }), t("view.late.dropped", { count: view.late_rows_dropped }),
        ].join(" · ")}
      </Number>
      {view.export ? (
        <Number term={t("view.export")} value={format.number(view.export.rows)} tone={view.export.error ? "failed" : undefined}>
          {[
            t("view.export.to", { table: view.export.table }),
            view.export.made_at ? format.fromNow(Math.min(instant(view.export.made_at), now), now) : "",
            view.export.error ? t("view.export.failed", { error: view.export.error }) : "",
          ].filter(Boolean).join(" · ")}
        </Number>
      ) : null}
    </dl>
  );
}

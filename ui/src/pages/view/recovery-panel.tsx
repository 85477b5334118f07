// What a view promises when its process dies, how its checkpoints go, and how often it has been started again.
import type { ViewDetail } from "../../api/types";
import { Panel } from "../../components/panel";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";

export function RecoveryPanel({ view, now }: { view: ViewDetail; now: number }) {
  const { t, format } = useReader();
  const { checkpoints, guarantee, restarts } = view;
  if (!checkpoints && !guarantee && !restarts) return null;
  const ago = (at: string) => format.fromNow(Math.min(instant(at), now), now);
  return (
    <Panel title={t("view.recovery")}>
      <div className="recovery">
        {guarantee ? (
          <>
            <p><b>{t("view.guarantee")}</b> {guarantee.given}</p>
            <ul className="muted">
              {guarantee.reasons.map((reason) => <li key={`${reason.table} ${reason.is_source}`}>{reason.table}: {reason.says}</li>)}
            </ul>
          </>
        ) : null}
        <p>
          <b>{t("view.checkpoint")}</b>{" "}
          {checkpoints?.completed_at ? t("view.checkpoint.made", {
            when: ago(checkpoints.completed_at), bytes: format.bytes(checkpoints.written_bytes), took: format.span(checkpoints.took_ms), pause: format.span(checkpoints.pause_ms),
          }) : t("view.checkpoint.none")}
        </p>
        {checkpoints?.completed_at ? <p className="muted">{t("view.checkpoint.state", { bytes: format.bytes(checkpoints.state_bytes), count: format.number(checkpoints.completed) })}</p> : null}
        {checkpoints?.error ? <p className="strip" data-tone="waiting">{t("view.checkpoint.failed", { error: checkpoints.error })}</p> : null}
        {restarts ? <p><b>{t("view.restarts")}</b> {t("view.restarts.count", { count: restarts.count })}{restarts.failed_at ? ` · ${t("view.restarts.failed", { when: ago(restarts.failed_at) })}` : ""}</p> : null}
      </div>
    </Panel>
  );
}

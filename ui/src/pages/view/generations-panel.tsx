// The generations of a view that can be built anew beside itself: what answers, what is being built and how far it has
// come, what it can be rolled back to.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { ViewDetail } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Field } from "../../components/fields";
import { Fault } from "../../components/page";
import { Panel } from "../../components/panel";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useReader } from "../../text/context";

type Build = NonNullable<ViewDetail["building"]>;

export function GenerationsPanel({ view, now }: { view: ViewDetail; now: number }) {
  const { t, format } = useReader();
  const [asks, setAsks] = useState(false);
  const keep = useCallback((detail: ViewDetail) => store.put(resources.view(view.name).path, detail), [view.name]);
  const rollBack = useCommand(useCallback(async () => keep(await api.rollBackView(view.name)), [keep, view.name]));
  const cancel = useCommand(useCallback(async () => keep(await api.cancelReplay(view.name)), [keep, view.name]));
  const { building, former } = view;
  const error = rollBack.error ?? cancel.error;
  return (
    <Panel title={t("view.generations")}>
      <div className="recovery">
        <p><b>{t("view.generation.live", { number: view.generation ?? 1 })}</b></p>
        {building ? <BuildProgress build={building} now={now} /> : null}
        {view.layers || !view.archives?.length ? null : (
          <ul className="muted">
            {view.archives.map((archive) => (
              <li key={archive.table}>{t("view.archive", { table: archive.table, state: t(`view.state.${archive.state}`), rows: format.number(archive.rows_in) })}{archive.error ? `: ${archive.error}` : ""}</li>
            ))}
          </ul>
        )}
        {former ? <p className="muted">{t("view.generation.former", { number: former.number })}</p> : null}
        <div className="buttons">
          {building ? (
            <Button kind="danger" busy={cancel.busy} onClick={() => void cancel.run()}>{t("action.replay.cancel")}</Button>
          ) : (
            <>
              <Button icon="rerun" onClick={() => setAsks(true)}>{t("action.replay")}</Button>
              {former ? <Button busy={rollBack.busy} onClick={() => void rollBack.run()}>{t("action.rollback", { number: former.number })}</Button> : null}
            </>
          )}
        </div>
        {error ? <Fault error={error} /> : null}
      </div>
      {asks ? <ReplayDialog view={view} onClose={() => setAsks(false)} onBegun={keep} /> : null}
      <p className="help">{t("view.generations.help")}</p>
    </Panel>
  );
}

function BuildProgress({ build, now }: { build: Build; now: number }) {
  const { t, format } = useReader();
  const percent = Math.floor(100 * build.done);
  const label = t("view.building", { number: build.number, reason: t(`view.building.${build.reason}`) });
  return (
    <div>
      <p>{label}{build.begun_at ? <span className="muted"> · {t("view.building.begun", { when: format.fromNow(Math.min(Date.parse(build.begun_at), now), now) })}</span> : null}</p>
      <div className="progress-bar" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={percent}>
        <span data-tone={build.state === "failed" ? "failed" : "running"} style={{ width: `${percent}%` }} />
      </div>
      <p className="muted">
        {t("view.building.read", { percent, rows: format.number(build.rows_in), rate: format.number(Math.round(build.rows_in_per_second)) })}
        {build.left_ms != null ? ` · ${t("view.building.left", { span: format.span(build.left_ms) })}` : ""}
        {build.rows_per_second_max != null ? ` · ${t("view.building.limit", { rate: format.number(build.rows_per_second_max) })}` : ""}
      </p>
      {build.archives?.map((read) => (
        <p key={read.table} className="muted">
          {t(read.is_read ? "view.building.archive.read" : "view.building.archive", { archive: read.archive, version: read.version, table: read.table })}
        </p>
      ))}
      {build.error ? <p className="strip" data-tone="failed" role="alert">{t("view.building.failed", { error: build.error })}</p> : null}
      {build.waits.map((wait) => <p key={wait.table} className="strip" data-tone="waiting">{wait.table}: {wait.what}</p>)}
    </div>
  );
}

function ReplayDialog({ view, onClose, onBegun }: { view: ViewDetail; onClose: () => void; onBegun: (detail: ViewDetail) => void }) {
  const { t } = useReader();
  const [from, setFrom] = useState("");
  const [limit, setLimit] = useState("");
  const begin = useCommand(useCallback(async () => {
    const ask = { from: from === "" ? null : new Date(from).toISOString(), rows_per_second_max: limit === "" ? null : Number(limit) };
    onBegun(await api.replayView(view.name, ask));
    onClose();
  }, [from, limit, view.name, onBegun, onClose]));
  return (
    <Dialog
      title={t("view.replay.title", { view: view.name })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" icon="rerun" busy={begin.busy} onClick={() => void begin.run()}>{t("action.replay")}</Button>
        </>
      }
    >
      <Field label={t("view.replay.from")} type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} />
      <Field label={t("view.replay.limit")} type="number" min={1} value={limit} onChange={(event) => setLimit(event.target.value)} />
      <p className="help">{t("view.replay.help")}</p>
      {begin.error ? <Fault error={begin.error} /> : null}
    </Dialog>
  );
}

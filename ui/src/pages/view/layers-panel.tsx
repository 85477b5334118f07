// The two layers of a view: up to where batch speaks, what its archives hold, and how far the stream had been off.
import { useCallback } from "react";
import { api } from "../../api/client";
import type { Drift, ViewDetail } from "../../api/types";
import { Button } from "../../components/button";
import { Fault } from "../../components/page";
import { Panel } from "../../components/panel";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

type Layers = NonNullable<ViewDetail["layers"]>;

/** Windows shown: the latest in which the stream was off. */
const WINDOWS_MAX = 20;

export function LayersPanel({ view, layers, now }: { view: ViewDetail; layers: Layers; now: number }) {
  const { t, format } = useReader();
  const refresh = useCommand(useCallback(async () => {
    store.put(resources.view(view.name).path, await api.refresh(view.name));
  }, [view.name]));
  return (
    <Panel title={t("view.layers")}>
      <div className="recovery">
        <p>
          <b>{t("view.boundary")}</b>{" "}
          {layers.boundary ? format.eventTime(layers.boundary, "precise") : t("view.boundary.none")}
        </p>
        {layers.batch_made_at ? (
          <p className="muted">{t("view.batch", { version: layers.batch_version, rows: format.number(layers.batch_rows), when: format.fromNow(Math.min(Date.parse(layers.batch_made_at), now), now) })}</p>
        ) : null}
        <ul className="muted">
          {layers.archives.map((archive) => (
            <li key={archive.table}>{t("view.archive", { table: archive.table, state: t(`view.state.${archive.state}`), rows: format.number(archive.rows_in) })}{archive.error ? `: ${archive.error}` : ""}</li>
          ))}
        </ul>
        <div><Button icon="rerun" busy={refresh.busy} onClick={() => void refresh.run()}>{t("action.refresh.batch")}</Button></div>
        {refresh.error ? <Fault error={refresh.error} /> : null}
        {layers.batch_version > 0 ? <DriftTable key={layers.batch_version} view={view.name} version={layers.batch_version} /> : null}
      </div>
    </Panel>
  );
}

function DriftTable({ view, version }: { view: string; version: number }) {
  const { t, format } = useReader();
  const drift: readonly Drift[] | undefined = useResource(resources.drift(view, version)).data;
  if (!drift) return null;
  const off = drift.filter((window) => window.differing + window.missing + window.surplus > 0);
  return (
    <div>
      <p><b>{t("view.drift", { off: off.length, windows: drift.length })}</b></p>
      {off.length > 0 ? (
        <table className="rows">
          <caption className="sr-only">{t("view.drift.title")}</caption>
          <thead>
            <tr><th>{t("view.drift.window")}</th><th>{t("view.drift.differing")}</th><th>{t("view.drift.missing")}</th><th>{t("view.drift.surplus")}</th></tr>
          </thead>
          <tbody>
            {off.slice(-WINDOWS_MAX).reverse().map((window) => (
              <tr key={window.window_end ?? ""}>
                <td>{window.window_end ? format.eventTime(window.window_end, "precise") : ""}</td>
                <td>{format.number(window.differing)}</td><td>{format.number(window.missing)}</td><td>{format.number(window.surplus)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : null}
    </div>
  );
}

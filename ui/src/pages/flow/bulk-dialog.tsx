// Runs several runs of a flow again, all of them or none: which runs, what of them, and exactly what that is before it happens.
import { useCallback, useMemo, useState } from "react";
import { api } from "../../api/client";
import type { FlowDetail, Grid, RerunAsk, RerunScope, RerunsAnswer } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Choice, Field } from "../../components/fields";
import { isOver } from "../../components/glyphs";
import { Fault } from "../../components/page";
import { useAnswer } from "../../components/use-answer";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

const SETTLE_MS = 250;
const SCOPES: readonly RerunScope[] = ["failed", "from", "group", "all"];

/** The runs of the grid that are meant: those that have ended, by the day of their interval. */
export function runsMeant(runs: Grid["runs"], from: string, to: string, failedOnly: boolean): number[] {
  const meant = runs.filter((run) => {
    const day = run.label.slice(0, 10);
    const bad = run.status === "failed" || run.status === "cancelled";
    return isOver(run.status) && (bad || !failedOnly) && (from === "" || day >= from) && (to === "" || day <= to);
  });
  return meant.map((run) => run.id);
}

export function BulkDialog({ flow, onClose }: { flow: FlowDetail; onClose: () => void }) {
  const { t } = useReader();
  const grid = useResource(resources.grid(flow.name)).data;
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [failedOnly, setFailedOnly] = useState(true);
  const [scope, setScope] = useState<RerunScope>("failed");
  const [unit, setUnit] = useState("");
  const [latest, setLatest] = useState(false);
  const [confirm, setConfirm] = useState(false);
  const runs = useMemo(() => runsMeant(grid?.runs ?? [], from, to, failedOnly || scope === "failed"), [grid, from, to, failedOnly, scope]);
  const groups = [...new Set(flow.tasks.flatMap((task) => task.group ?? []))];
  const units = scope === "from" ? flow.tasks.map((task) => task.name) : scope === "group" ? groups : [];
  const chosen = units.includes(unit) ? unit : units[0] ?? null;
  const ask: RerunAsk = { scope, task: scope === "from" ? chosen : null, group: scope === "group" ? chosen : null, latest, confirm };

  const { answer, error: refused } = useAnswer(
    runs.length > 0 ? `${runs.join(",")} ${scope} ${chosen} ${latest}` : null,
    () => api.rerunMany({ runs, ask, preview: true }), SETTLE_MS,
  );
  const start = useCommand(useCallback(async () => {
    await api.rerunMany({ runs, ask, preview: false });
    store.refetch(resources.grid(flow.name).path);
    onClose();
  }, [flow.name, runs.join(","), JSON.stringify(ask), onClose]));
  const asks = answer?.runs.some((run) => run.needs_confirmation) ?? false;
  const error = start.error ?? refused;
  return (
    <Dialog
      title={t("bulk.title", { flow: flow.name })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" icon="rerun" busy={start.busy} disabled={!answer || (asks && !confirm)} onClick={() => void start.run()}>
            {t("bulk.start", { count: runs.length })}
          </Button>
        </>
      }
    >
      <div className="field-row">
        <Field label={t("bulk.from")} type="date" value={from} max={to || undefined} onChange={(event) => setFrom(event.target.value)} />
        <Field label={t("bulk.to")} type="date" value={to} min={from || undefined} onChange={(event) => setTo(event.target.value)} />
      </div>
      <div className="field-row">
        <Choice label={t("rerun.scope")} value={scope} onChange={(event) => setScope(event.target.value as RerunScope)}>
          {SCOPES.filter((choice) => choice !== "group" || groups.length > 0).map((choice) => <option key={choice} value={choice}>{t(`bulk.scope.${choice}`)}</option>)}
        </Choice>
        {units.length > 0 ? (
          <Choice label={t(scope === "group" ? "bulk.group" : "bulk.task")} value={chosen ?? ""} onChange={(event) => setUnit(event.target.value)}>
            {units.map((name) => <option key={name}>{name}</option>)}
          </Choice>
        ) : null}
      </div>
      {scope === "failed" ? null : (
        <label className="confirm">
          <input type="checkbox" checked={failedOnly} onChange={(event) => setFailedOnly(event.target.checked)} />
          {t("bulk.failed")}
        </label>
      )}
      <label className="confirm">
        <input type="checkbox" checked={latest} onChange={(event) => setLatest(event.target.checked)} />
        {t("rerun.latest")}
      </label>
      <div className="answer" aria-live="polite">
        {runs.length === 0 ? <p className="muted">{t("bulk.none")}</p> : null}
        {answer ? <Preview answer={answer} /> : null}
        {asks ? (
          <label className="confirm">
            <input type="checkbox" checked={confirm} onChange={(event) => setConfirm(event.target.checked)} />
            {t("bulk.confirm")}
          </label>
        ) : null}
        {error ? <Fault error={error} /> : null}
      </div>
    </Dialog>
  );
}

function Preview({ answer }: { answer: RerunsAnswer }) {
  const { t } = useReader();
  const runs = answer.runs.flatMap((run) => [run, ...run.called]);
  const tasks = runs.reduce((sum, run) => sum + run.tasks.length, 0);
  return (
    <>
      <p>{t("bulk.tasks", { count: tasks })}</p>
      <ul className="bulk-preview" tabIndex={0} aria-label={t("rerun.again")}>
        {runs.map((run) => (
          <li key={run.name}><b>{run.name}</b> <code>{run.tasks.map((task) => task.name).join(", ")}</code></li>
        ))}
      </ul>
    </>
  );
}

// Asks what to run again, and shows exactly which tasks that is before it happens.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { RerunPreview, RerunScope, RerunTask, RunDetail } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Fault } from "../../components/page";
import { StatusMark } from "../../components/status";
import { useAnswer } from "../../components/use-answer";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useReader } from "../../text/context";

export function RerunDialog({ run, task, onClose }: { run: RunDetail; task: string | null; onClose: () => void }) {
  const { t } = useReader();
  const anyBad = run.tasks.some((other) => !["succeeded", "skipped"].includes(other.status));
  const group = run.tasks.find((other) => other.name === task)?.group ?? null;
  const scopes: RerunScope[] = [...(anyBad ? ["failed" as const] : []), ...(task ? ["from" as const] : []), ...(group ? ["group" as const] : []), "all"];
  const [scope, setScope] = useState<RerunScope>(scopes[0] ?? "all");
  const [latest, setLatest] = useState(false);
  const [confirm, setConfirm] = useState(false);
  const name = scope === "from" ? task : null;
  const unit = scope === "group" ? group : null;

  const { answer: preview, error: refused } = useAnswer(
    `${run.id} ${scope} ${name} ${unit} ${latest}`, () => api.rerunPreview(run.id, { scope, task: name, group: unit, latest }),
  );
  const start = useCommand(useCallback(async () => {
    store.put(resources.run(run.id).path, await api.rerun(run.id, { scope, task: name, group: unit, latest, confirm }));
    onClose();
  }, [run.id, scope, name, unit, latest, confirm, onClose]));
  const choose = (choice: RerunScope): void => {
    setScope(choice);
    setConfirm(false);
  };
  const error = start.error ?? refused;
  const asks = preview?.needs_confirmation === true;
  return (
    <Dialog
      title={t("rerun.title", { label: run.label })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" icon="rerun" busy={start.busy} disabled={!preview || (asks && !confirm)} onClick={() => void start.run()}>
            {preview ? t("rerun.start", { count: tasksOf(preview).length }) : t("action.rerun")}
          </Button>
        </>
      }
    >
      <fieldset className="choices">
        <legend>{t("rerun.scope")}</legend>
        {scopes.map((choice) => (
          <label key={choice}>
            <input type="radio" name="scope" checked={scope === choice} onChange={() => choose(choice)} />
            {t(`rerun.scope.${choice}`, { task: task ?? "", group: group ?? "" })}
          </label>
        ))}
      </fieldset>
      {run.is_latest === false ? (
        <label className="confirm">
          <input type="checkbox" checked={latest} onChange={(event) => setLatest(event.target.checked)} />
          {t("rerun.latest")}
        </label>
      ) : null}
      <div className="answer" aria-live="polite">
        {preview ? <Preview run={run} preview={preview} /> : null}
        {asks ? (
          <label className="confirm">
            <input type="checkbox" checked={confirm} onChange={(event) => setConfirm(event.target.checked)} />
            {t("rerun.confirm", { count: risky(preview).length, tasks: risky(preview).join(", ") })}
          </label>
        ) : null}
        {error ? <Fault error={error} /> : null}
      </div>
      <p className="help">{t("rerun.same")}</p>
    </Dialog>
  );
}

/** What has begun before and is not idempotent; in another run, with that run's name. */
export function risky(preview: RerunPreview): string[] {
  return tasksOf(preview).filter(({ task }) => !task.idempotent && task.attempts > 0)
    .map(({ task, run }) => (run ? `${task.name} (${run})` : task.name));
}

/** Everything that runs: of the run itself, and of the runs that it calls, each with that run's name. */
export function tasksOf(preview: RerunPreview): { task: RerunTask; run: string | null }[] {
  const called = preview.called.flatMap((run) => run.tasks.map((task) => ({ task, run: run.name })));
  return [...preview.tasks.map((task) => ({ task, run: null })), ...called];
}

function Preview({ run, preview }: { run: RunDetail; preview: RerunPreview }) {
  const { t } = useReader();
  const again = new Set(preview.tasks.map((task) => task.name));
  const kept = run.tasks.filter((task) => !again.has(task.name));
  return (
    <div className="preview">
      <div>
        <h3>{t("rerun.again")}</h3>
        <Tasks tasks={preview.tasks} />
        {preview.called.map((called) => (
          <section key={called.name}>
            <h4>{t(called.run ? "rerun.called" : "rerun.called.new", { run: called.name, task: called.task })}</h4>
            <Tasks tasks={called.tasks} />
          </section>
        ))}
      </div>
      <div>
        <h3>{t("rerun.kept")}</h3>
        {kept.length === 0 ? <p className="muted">{t("rerun.kept.none")}</p> : <Tasks tasks={kept} />}
      </div>
    </div>
  );
}

function Tasks({ tasks }: { tasks: readonly Pick<RerunTask, "name" | "status">[] }) {
  return <ul>{tasks.map((task) => <li key={task.name}><StatusMark status={task.status} small /><code>{task.name}</code></li>)}</ul>;
}

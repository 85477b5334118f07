// Says how a task counts, whatever it did, and shows what runs by that before it happens. Who says so is kept with the run.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { Mark, TaskRun } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Field } from "../../components/fields";
import { Fault } from "../../components/page";
import { StatusMark } from "../../components/status";
import { useAnswer } from "../../components/use-answer";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useReader } from "../../text/context";

const MARKS: readonly Mark[] = ["succeeded", "failed"];
const NAME = "mulgil.name";

function rememberedName(): string {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    // A browser that keeps nothing asks each time.
    return "";
  }
}

function remember(name: string): void {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // See above.
  }
}

export function MarkDialog({ run, task, onClose }: { run: number; task: TaskRun; onClose: () => void }) {
  const { t } = useReader();
  const [mark, setMark] = useState<Mark>(task.status === "succeeded" ? "failed" : "succeeded");
  const [by, setBy] = useState(rememberedName);
  const [why, setWhy] = useState("");
  const { answer: preview, error: refused } = useAnswer(`${run} ${task.name} ${mark}`, () => api.mark(run, task.name, { mark, by, why, preview: true }));
  const start = useCommand(useCallback(async () => {
    remember(by);
    await api.mark(run, task.name, { mark, by, why, preview: false });
    store.refetch(resources.run(run).path);
    onClose();
  }, [run, task.name, mark, by, why, onClose]));
  const error = start.error ?? refused;
  return (
    <Dialog
      title={t("mark.title", { task: task.name })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" busy={start.busy} disabled={!preview || by.trim() === ""} onClick={() => void start.run()}>{t("mark.start")}</Button>
        </>
      }
    >
      <fieldset className="choices">
        <legend>{t("mark.as")}</legend>
        {MARKS.map((choice) => (
          <label key={choice}>
            <input type="radio" name="mark" checked={mark === choice} onChange={() => setMark(choice)} />
            {t(`mark.as.${choice}`)}
          </label>
        ))}
      </fieldset>
      <div className="field-row">
        <Field label={t("mark.by")} value={by} required onChange={(event) => setBy(event.target.value)} />
        <Field label={t("mark.why")} value={why} onChange={(event) => setWhy(event.target.value)} />
      </div>
      <div className="answer" aria-live="polite">
        {preview && preview.tasks.length === 0 ? <p className="muted">{t("mark.nothing")}</p> : null}
        {preview && preview.tasks.length > 0 ? (
          <div className="preview">
            <div>
              <h3>{t("mark.runs")}</h3>
              <ul>{preview.tasks.map((other) => <li key={other.name}><StatusMark status={other.status} small /><code>{other.name}</code></li>)}</ul>
            </div>
          </div>
        ) : null}
        {error ? <Fault error={error} /> : null}
      </div>
    </Dialog>
  );
}

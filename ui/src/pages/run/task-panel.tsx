// A task of a run: its result, its items, or its attempts and their logs.
import { useState } from "react";
import type { TaskRun } from "../../api/types";
import { Button } from "../../components/button";
import { Panel } from "../../components/panel";
import { StatusBadge } from "../../components/status";
import { useNow } from "../../components/use-now";
import { useReader } from "../../text/context";
import { ItemsPanel } from "./items-panel";
import { MarkDialog } from "./mark-dialog";
import { WorkView } from "./work-view";

export function TaskPanel({ run, task }: { run: number; task: TaskRun }) {
  const [marking, setMarking] = useState(false);
  const { t, format } = useReader();
  const now = useNow(1000);
  return (
    <Panel
      title={task.name} flush className="task-panel"
      aside={
        <>
          {task.status === "retrying" && task.retry_at ? <span className="muted">{t("run.retry.at", { when: format.fromNow(task.retry_at, now) })}</span> : null}
          {task.status === "running" ? null : <Button kind="quiet" onClick={() => setMarking(true)}>{t("action.mark")}</Button>}
          <StatusBadge status={task.status} />
        </>
      }
    >
      {marking ? <MarkDialog run={run} task={task} onClose={() => setMarking(false)} /> : null}
      {task.note ? <p className="panel-note">{task.note}</p> : null}
      {task.result === null || task.result === undefined ? null : <ResultView value={task.result} />}
      {task.items ? <ItemsPanel run={run} task={task.name} counts={task.items} /> : <WorkView run={run} task={task} />}
    </Panel>
  );
}

function ResultView({ value }: { value: unknown }) {
  const { t } = useReader();
  return (
    <details className="panel-note">
      <summary>{t("run.result")}</summary>
      <pre className="code">{JSON.stringify(value, null, 2)}</pre>
    </details>
  );
}

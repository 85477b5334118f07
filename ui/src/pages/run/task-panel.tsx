// A task of a run: its attempts as tabs, newest last, and the log of the chosen one.
import { useRef, useState, type KeyboardEvent } from "react";
import type { Attempt, TaskRun } from "../../api/types";
import { Button } from "../../components/button";
import { Panel } from "../../components/panel";
import { StatusBadge, StatusMark } from "../../components/status";
import { useNow } from "../../components/use-now";
import { useReader } from "../../text/context";
import { LogView } from "./log-view";
import { MarkDialog } from "./mark-dialog";

export function TaskPanel({ run, task }: { run: number; task: TaskRun }) {
  const [marking, setMarking] = useState(false);
  const { t, format } = useReader();
  const now = useNow(1000);
  const [number, setNumber] = useState<number | null>(null);
  const attempt = task.attempts.find((other) => other.number === number) ?? task.attempts.at(-1);
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
      {attempt ? (
        <>
          <Tabs attempts={task.attempts} chosen={attempt.number} onChoose={setNumber} />
          <div role="tabpanel" id="attempt-panel" aria-labelledby={`attempt-${attempt.number}`}>
            <AttemptFacts attempt={attempt} now={now} />
            <LogView key={attempt.number} run={run} task={task.name} attempt={attempt.number} hasLog={attempt.has_log} />
          </div>
        </>
      ) : <p className="panel-note muted">{t("run.attempts.none")}</p>}
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

function AttemptFacts({ attempt, now }: { attempt: Attempt; now: number }) {
  const { t, format } = useReader();
  const took = attempt.started_at ? (attempt.ended_at ? Date.parse(attempt.ended_at) : now) - Date.parse(attempt.started_at) : null;
  return (
    <p className="attempt-facts">
      <StatusBadge status={attempt.status} />
      {attempt.started_at ? <span>{format.date(attempt.started_at, "precise")}</span> : null}
      {took === null ? null : <span>{t("flow.took", { span: format.span(took) })}</span>}
      {attempt.worker ? <span className="muted">{t("run.attempts.worker", { worker: attempt.worker })}</span> : null}
    </p>
  );
}

function Tabs({ attempts, chosen, onChoose }: { attempts: readonly Attempt[]; chosen: number; onChoose: (number: number) => void }) {
  const { t } = useReader();
  const list = useRef<HTMLDivElement>(null);
  function move(event: KeyboardEvent): void {
    const at = attempts.findIndex((attempt) => attempt.number === chosen);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step === undefined ? undefined : attempts[at + step];
    if (!next) return;
    event.preventDefault();
    onChoose(next.number);
    list.current?.querySelector<HTMLElement>(`#attempt-${next.number}`)?.focus();
  }
  return (
    <div role="tablist" aria-label={t("run.attempts")} className="tabs" ref={list} onKeyDown={move}>
      {attempts.map((attempt) => (
        <button
          key={attempt.number} id={`attempt-${attempt.number}`} type="button" role="tab" aria-selected={attempt.number === chosen} aria-controls="attempt-panel"
          tabIndex={attempt.number === chosen ? 0 : -1} onClick={() => onChoose(attempt.number)}
        >
          <StatusMark status={attempt.status} small />
          {t("run.attempt", { number: attempt.number })}
        </button>
      ))}
    </div>
  );
}

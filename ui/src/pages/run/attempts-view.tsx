// The attempts of a task or an item as tabs, newest last, and the log of the chosen one.
import { useRef, useState, type KeyboardEvent } from "react";
import type { Attempt } from "../../api/types";
import { StatusBadge, StatusMark } from "../../components/status";
import { useNow } from "../../components/use-now";
import { useReader } from "../../text/context";
import { LogView } from "./log-view";
import { UsageView } from "./usage-view";

export function AttemptsView({ run, task }: { run: number; task: { name: string; attempts: readonly Attempt[] } }) {
  const { t } = useReader();
  const now = useNow(1000);
  const [number, setNumber] = useState<number | null>(null);
  const attempt = task.attempts.find((other) => other.number === number) ?? task.attempts.at(-1);
  if (!attempt) return <p className="panel-note muted">{t("run.attempts.none")}</p>;
  return (
    <>
      <Tabs attempts={task.attempts} chosen={attempt.number} onChoose={setNumber} />
      <div role="tabpanel" id="attempt-panel" aria-labelledby={`attempt-${attempt.number}`}>
        <AttemptFacts attempt={attempt} now={now} />
        {attempt.usage ? <UsageView usage={attempt.usage} /> : null}
        <LogView key={attempt.number} run={run} task={task.name} attempt={attempt.number} hasLog={attempt.has_log} />
      </div>
    </>
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

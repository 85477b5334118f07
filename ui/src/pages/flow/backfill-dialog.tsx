// A backfill is planned before it runs: the form always shows the server's plan for what stands in it.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { BackfillPlan, FlowDetail, Which } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Choice, Field } from "../../components/fields";
import { Fault } from "../../components/page";
import { useAnswer } from "../../components/use-answer";
import { useCommand } from "../../components/use-command";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useReader } from "../../text/context";

const WHICH: readonly Which[] = ["missing", "failed", "all"];
const SETTLE_MS = 250;
const RANGE_DAYS = 30;
const DAY_MS = 86_400_000;

/** The day of the newest interval that has a run: what comes after it is what one mostly wants next. */
function newestDay(flow: FlowDetail): string {
  const days = flow.recent_runs.flatMap((run) => /^\d{4}-\d{2}-\d{2}$/.exec(run.label)?.[0] ?? []);
  return days.sort().at(-1) ?? "";
}

function dayAfter(day: string, days: number): string {
  return day === "" ? "" : new Date(Date.parse(day) + days * DAY_MS).toISOString().slice(0, 10);
}

export function BackfillDialog({ flow, onClose }: { flow: FlowDetail; onClose: () => void }) {
  const { t } = useReader();
  const [from, setFrom] = useState(() => dayAfter(newestDay(flow), 1));
  const [to, setTo] = useState(() => dayAfter(newestDay(flow), RANGE_DAYS));
  const [which, setWhich] = useState<Which>("missing");
  const [concurrency, setConcurrency] = useState(8);
  const [newestFirst, setNewestFirst] = useState(false);
  const [trial, setTrial] = useState("");
  const [rounds, setRounds] = useState(1);
  const [confirm, setConfirm] = useState(false);
  const risky = which !== "missing" && flow.tasks.some((task) => !task.idempotent);

  const ask = useCallback(
    () => ({ from, to, which, concurrency, order: newestFirst ? "newest_first" as const : "oldest_first" as const, trial: Number(trial) > 0 ? Number(trial) : null, rounds }),
    [from, to, which, concurrency, newestFirst, trial, rounds],
  );
  const start = useCommand(useCallback(async () => {
    await api.backfill(flow.name, { ...ask(), confirm });
    store.refetch(resources.backfills.path);
    onClose();
  }, [flow.name, ask, confirm, onClose]));

  // While one end is being changed, the other may stand before it: nothing to ask about yet.
  const ready = from !== "" && to !== "" && from <= to && concurrency >= 1;
  const { answer: plan, error: refused } = useAnswer(
    ready ? `${from} ${to} ${which} ${concurrency} ${newestFirst}` : null,
    async () => (await api.backfill(flow.name, { ...ask(), dry_run: true })).plan,
    SETTLE_MS,
  );
  const error = start.error ?? refused;
  return (
    <Dialog
      title={t("backfill.title", { flow: flow.name })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" icon="backfill" busy={start.busy} disabled={!plan || plan.to_run === 0 || (risky && !confirm)} onClick={() => void start.run()}>
            {t("action.start")}
          </Button>
        </>
      }
    >
      <div className="field-row">
        <Field label={t("backfill.from")} type="date" value={from} max={to || undefined} onChange={(event) => setFrom(event.target.value)} />
        <Field label={t("backfill.to")} type="date" value={to} min={from || undefined} onChange={(event) => setTo(event.target.value)} />
      </div>
      <div className="field-row">
        <Choice label={t("backfill.which")} value={which} onChange={(event) => setWhich(event.target.value as Which)}>
          {WHICH.map((choice) => <option key={choice} value={choice}>{t(`backfill.which.${choice}`)}</option>)}
        </Choice>
        <Field label={t("backfill.concurrency")} type="number" min={1} max={64} value={concurrency} onChange={(event) => setConcurrency(Number(event.target.value))} />
      </div>
      <div className="field-row">
        <Choice label={t("backfill.order")} value={newestFirst ? "newest" : "oldest"} onChange={(event) => setNewestFirst(event.target.value === "newest")}>
          <option value="oldest">{t("backfill.order.oldest")}</option>
          <option value="newest">{t("backfill.order.newest")}</option>
        </Choice>
        <Field label={t("backfill.trial")} type="number" min={0} value={trial} onChange={(event) => setTrial(event.target.value)} />
        <Field label={t("backfill.rounds")} type="number" min={0} max={9} value={rounds} onChange={(event) => setRounds(Math.max(0, Math.trunc(Number(event.target.value))))} />
      </div>
      {risky ? (
        <label className="confirm">
          <input type="checkbox" checked={confirm} onChange={(event) => setConfirm(event.target.checked)} />
          {t("backfill.confirm")}
        </label>
      ) : null}
      <div className="answer" aria-live="polite">
        {plan ? <Plan plan={plan} /> : null}
        {error ? <Fault error={error} /> : null}
      </div>
    </Dialog>
  );
}

function Plan({ plan }: { plan: BackfillPlan }) {
  const { t } = useReader();
  const first = plan.sample[0]?.label;
  const last = plan.sample.at(-1)?.label;
  const share = (part: number): string => `${(100 * part) / Math.max(1, plan.total)}%`;
  if (plan.to_run === 0) return <p className="plan">{t("backfill.plan.nothing")}</p>;
  return (
    <div className="plan">
      <p className="plan-main">{t("backfill.plan.run", { count: plan.to_run })}</p>
      {first && last ? <p>{t("backfill.plan.pace", { concurrency: plan.concurrency, first, last })}</p> : null}
      <div className="progress-bar" aria-hidden="true">
        <span data-tone="running" style={{ width: share(plan.to_run) }} />
        <span data-tone="idle" style={{ width: share(plan.skipped) }} />
      </div>
      <p className="muted">
        {[
          plan.reruns > 0 ? t("backfill.plan.reruns", { count: plan.reruns }) : "",
          plan.skipped > 0 ? t("backfill.plan.kept", { count: plan.skipped }) : "",
        ].filter(Boolean).join(" · ")}
      </p>
    </div>
  );
}

// Asks for one run of a flow: the date of its interval and its parameters.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { FlowDetail } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Choice, Field } from "../../components/fields";
import { Fault } from "../../components/page";
import { useCommand } from "../../components/use-command";
import { address, navigate } from "../../router/router";
import { useReader } from "../../text/context";

/** What was typed, as JSON where it is JSON and the default is no text. */
function typed(text: string, like: unknown): unknown {
  if (typeof like === "string") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

export function RunNowDialog({ flow, onClose }: { flow: FlowDetail; onClose: () => void }) {
  const { t } = useReader();
  const [date, setDate] = useState(() => /^\d{4}-\d{2}-\d{2}$/.exec(flow.recent_runs[0]?.label ?? "")?.[0] ?? "");
  const [params, setParams] = useState<Record<string, string>>({});
  const start = useCommand(useCallback(async () => {
    const given = Object.entries(params).map(([name, text]) => [name, typed(text, flow.params.find((param) => param.name === name)?.default)]);
    const { run } = await api.start(flow.name, { date: flow.schedule ? date : null, params: Object.fromEntries(given) as Record<string, unknown> });
    onClose();
    navigate(address("/runs/:run", { run: String(run.id) }));
  }, [date, params, flow, onClose]));
  return (
    <Dialog
      title={t("run.now.title", { flow: flow.name })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.close")}</Button>
          <Button kind="primary" icon="play" busy={start.busy} disabled={Boolean(flow.schedule) && date === ""} onClick={() => void start.run()}>{t("action.run")}</Button>
        </>
      }
    >
      {flow.schedule ? <Field label={t("run.now.date")} type="date" value={date} onChange={(event) => setDate(event.target.value)} /> : null}
      {flow.params.map((param) => {
        const value = params[param.name] ?? (typeof param.default === "string" ? param.default : JSON.stringify(param.default ?? ""));
        const change = (text: string) => setParams((now) => ({ ...now, [param.name]: text }));
        return param.choices ? (
          <Choice key={param.name} label={param.name} title={param.description ?? undefined} value={value} onChange={(event) => change(event.target.value)}>
            {param.choices.includes(value) ? null : <option value={value} />}
            {param.choices.map((choice) => <option key={choice}>{choice}</option>)}
          </Choice>
        ) : (
          <Field
            key={param.name} label={param.limits ? `${param.name} (${param.limits})` : param.name} title={param.description ?? undefined}
            type={param.type === "date" ? "date" : "text"} value={value} onChange={(event) => change(event.target.value)}
          />
        );
      })}
      <p className="help">{t("run.now.help")}</p>
      {start.error ? <Fault error={start.error} /> : null}
    </Dialog>
  );
}

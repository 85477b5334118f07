// The definitions that the flow has had, by content, and what changed from the one before to the chosen one.
import { useState } from "react";
import { api } from "../../api/client";
import type { Difference, FlowVersion } from "../../api/types";
import { Fault } from "../../components/page";
import { Panel } from "../../components/panel";
import { useAnswer } from "../../components/use-answer";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

const DIGITS = 8;

export function VersionsPanel({ flow }: { flow: string }) {
  const { t } = useReader();
  const versions = useResource(resources.versions(flow)).data;
  const [chosen, setChosen] = useState(0);
  // A flow that never changed has nothing to compare.
  if (!versions || versions.length < 2) return null;
  const at = Math.min(chosen, versions.length - 2);
  const newer = versions[at];
  const older = versions[at + 1];
  return (
    <Panel title={t("versions.title")} flush>
      <div className="versions">
        <ol aria-label={t("versions.title")}>
          {versions.map((version, i) => <Version key={version.version} version={version} chosen={i === at} onChoose={i < versions.length - 1 ? () => setChosen(i) : null} />)}
        </ol>
        {newer && older ? <Compared key={newer.version} flow={flow} from={older.version} to={newer.version} /> : null}
      </div>
    </Panel>
  );
}

function Version({ version, chosen, onChoose }: { version: FlowVersion; chosen: boolean; onChoose: (() => void) | null }) {
  const { t, format } = useReader();
  const text = (
    <>
      <code>{version.version.slice(0, DIGITS)}</code>
      {version.current ? <span className="chip">{t("versions.current")}</span> : null}
      <span className="muted">{version.first_run_at ? format.date(version.first_run_at) : t("versions.never")} · {t("flow.runs", { count: version.runs })}</span>
    </>
  );
  return <li>{onChoose ? <button type="button" aria-pressed={chosen} onClick={onChoose}>{text}</button> : <div>{text}</div>}</li>;
}

function Compared({ flow, from, to }: { flow: string; from: string; to: string }) {
  const { t } = useReader();
  const { answer, error } = useAnswer(`${flow} ${from} ${to}`, () => api.difference(flow, from, to));
  if (error) return <Fault error={error} />;
  return <DifferenceView label={t("versions.difference", { from: from.slice(0, DIGITS), to: to.slice(0, DIGITS) })} lines={answer?.lines ?? []} />;
}

const SIGNS = { same: " ", removed: "−", added: "+", gap: "…" } as const;

function DifferenceView({ label, lines }: { label: string; lines: Difference["lines"] }) {
  const { t } = useReader();
  return (
    <pre className="difference" tabIndex={0} role="group" aria-label={label}>
      {lines.map((line, i) => (
        <span key={i} className="difference-line" data-kind={line.kind}>
          {SIGNS[line.kind]} {line.kind === "gap" ? t("versions.gap", { count: Number(line.text) }) : line.text}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}

// One flow: its history as a grid, what it consists of, and the deeds: run now, backfill, pause.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { FlowDetail } from "../../api/types";
import { Button } from "../../components/button";
import { CodeBlock } from "../../components/code-block";
import { Fault, Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import { useCommand } from "../../components/use-command";
import { useNow } from "../../components/use-now";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";
import { Problems } from "../flows/problems";
import { Schedule } from "../flows/schedule";
import { BackfillDialog } from "./backfill-dialog";
import { BackfillProgress } from "./backfill-progress";
import { BulkDialog } from "./bulk-dialog";
import { DefinitionGraph } from "./definition-graph";
import { GridPanel } from "./grid-panel";
import { NextRuns } from "./next-runs";
import { rulesText } from "./rules";
import { RunNowDialog } from "./run-now-dialog";
import { Trigger } from "./trigger";
import { VersionsPanel } from "./versions-panel";

export function FlowPage({ name }: { name: string }) {
  return <Loaded snapshot={useResource(resources.flow(name))}>{(flow) => <Flow flow={flow} />}</Loaded>;
}

function Flow({ flow }: { flow: FlowDetail }) {
  const { t, format } = useReader();
  const now = useNow();
  const [dialog, setDialog] = useState<"run" | "backfill" | "bulk" | null>(null);
  const close = useCallback(() => setDialog(null), []);
  const pause = useCommand(useCallback(async (paused: boolean) => {
    await (paused ? api.resume(flow.name) : api.pause(flow.name));
    store.refetch(resources.flow(flow.name).path);
  }, [flow.name]));
  const broken = flow.problems.length > 0;
  return (
    <>
      <PageHead
        title={flow.name} crumbs={[{ href: "/flows", text: t("nav.flows") }]}
        badge={flow.paused ? <span className="chip">{t("flows.paused")}</span> : null}
        lead={
          <>
            {flow.description ? <p>{flow.description}</p> : null}
            <p className="lead-facts">
              <Schedule cron={flow.schedule ?? null} zone={flow.timezone} />
              {(flow.triggers ?? []).map((trigger) => <Trigger key={trigger.place} trigger={trigger} />)}
              {flow.rules ? <span className="muted">{rulesText(flow.rules)}</span> : null}
              {flow.next_fire ? <span>{t("flows.next")}: {format.date(flow.next_fire)} <span className="muted">{format.fromNow(flow.next_fire, now)}</span></span> : null}
            </p>
          </>
        }
        actions={
          <>
            {flow.schedule || flow.triggers?.length ? (
              <Button icon={flow.paused ? "play" : "pause"} busy={pause.busy} onClick={() => void pause.run(flow.paused)}>
                {t(flow.paused ? "action.resume" : "action.pause")}
              </Button>
            ) : null}
            {flow.recent_runs.length > 1 ? <Button icon="rerun" disabled={broken} onClick={() => setDialog("bulk")}>{t("action.bulk")}</Button> : null}
            {flow.schedule ? <Button icon="backfill" disabled={broken} onClick={() => setDialog("backfill")}>{t("action.backfill")}</Button> : null}
            <Button kind="primary" icon="play" disabled={broken} onClick={() => setDialog("run")}>{t("action.run")}</Button>
          </>
        }
      />
      {pause.error ? <Fault error={pause.error} /> : null}
      <Problems problems={flow.problems} />
      <BackfillProgress flow={flow.name} />
      {broken && flow.recent_runs.length === 0 ? null : <GridPanel flow={flow.name} />}
      {flow.tasks.length > 0 ? <DefinitionGraph tasks={flow.tasks} /> : null}
      <div className={flow.next.length > 0 ? "columns" : undefined}>
        <Panel title={t("flow.definition")} aside={<code className="muted">{flow.file}</code>} flush>
          <CodeBlock label={flow.file} text={flow.text} line={flow.problems[0]?.line ?? null} />
        </Panel>
        {flow.next.length > 0 ? <NextRuns next={flow.next} /> : null}
      </div>
      <VersionsPanel flow={flow.name} />
      {dialog === "bulk" ? <BulkDialog flow={flow} onClose={close} /> : null}
      {dialog === "run" ? <RunNowDialog flow={flow} onClose={close} /> : null}
      {dialog === "backfill" ? <BackfillDialog flow={flow} onClose={close} /> : null}
    </>
  );
}

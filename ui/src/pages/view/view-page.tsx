// One view, live: its numbers, its chart and newest rows, what it reads and what holds its time back, its definition.
import { useCallback, useState } from "react";
import { api } from "../../api/client";
import type { ViewDetail } from "../../api/types";
import { Button } from "../../components/button";
import { CodeBlock } from "../../components/code-block";
import { Empty, Fault, Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import { RowTable } from "../../components/row-table";
import { useCommand } from "../../components/use-command";
import { useNow } from "../../components/use-now";
import { kindOf } from "../../chart/columns";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";
import { Problems } from "../flows/problems";
import { ViewState } from "../views/view-state";
import { DataflowPanel } from "../../dataflow/dataflow-panel";
import { BadRows } from "./bad-rows";
import { ChartPanel } from "./chart-panel";
import { GenerationsPanel } from "./generations-panel";
import { LateSample } from "./late-sample";
import { LayersPanel } from "./layers-panel";
import { RecoveryPanel } from "./recovery-panel";
import { SourcePanel } from "./source-panel";
import { ViewNumbers } from "./view-numbers";
import { Waits } from "./waits";

const TABLE_ROWS = 60;
const LIMITS = [300, 1500, 10_000] as const;

export function ViewPage({ name }: { name: string }) {
  return <Loaded snapshot={useResource(resources.view(name))}>{(view) => <View view={view} />}</Loaded>;
}

function View({ view }: { view: ViewDetail }) {
  const { t, format } = useReader();
  const now = useNow(1000);
  const [limit, setLimit] = useState<number>(LIMITS[0]);
  const refresh = useCommand(useCallback(async () => {
    store.put(resources.view(view.name).path, await api.refresh(view.name));
  }, [view.name]));
  const resume = useCommand(useCallback(async () => {
    store.put(resources.view(view.name).path, await api.resumeView(view.name));
  }, [view.name]));
  const waits = view.mode !== "full" && (view.state === "failed" || view.state === "restarting");
  const next = view.restarts?.next_try_at;
  const time = view.columns.find((column) => kindOf(column.type) === "time");
  const rows = useResource(resources.rows(view.name, time ? `-${time.name}` : null, limit));
  // While another number of rows is under way, what was shown stays.
  const [last, setLast] = useState(rows.data);
  if (rows.data !== undefined && rows.data !== last) setLast(rows.data);
  return (
    <>
      <PageHead
        title={view.name} crumbs={[{ href: "/views", text: t("nav.views") }]}
        badge={<ViewState state={view.state} />}
        actions={
          <>
            {view.mode === "full" ? <Button icon="rerun" busy={refresh.busy || view.state === "refreshing"} onClick={() => void refresh.run()}>{t("action.refresh")}</Button> : null}
            {waits ? <Button kind="primary" icon="rerun" busy={resume.busy} onClick={() => void resume.run()}>{t("action.resume")}</Button> : null}
          </>
        }
        lead={
          <p className="lead-facts">
            {view.mode ? <span>{t(`mode.${view.mode}`)}</span> : null}
            {view.refreshed_at ? <span className="muted">{t("view.refreshed", { when: format.fromNow(Math.min(Date.parse(view.refreshed_at), now), now) })}</span> : null}
          </p>
        }
      />
      {refresh.error ? <Fault error={refresh.error} /> : null}
      {resume.error ? <Fault error={resume.error} /> : null}
      <Problems problems={view.problems} />
      {view.error ? <p className="strip" data-tone="failed" role="alert">{view.error}</p> : null}
      {next ? <p className="strip" data-tone="waiting">{t("view.restarts.next", { span: format.span(Math.max(0, Date.parse(next) - now)) })}</p> : null}
      <Waits waits={view.waits ?? []} now={now} />
      <ViewNumbers view={view} now={now} />
      <Loaded snapshot={{ data: rows.data ?? last, error: rows.error }}>
        {(answer) => (
          <>
            <ChartPanel answer={answer} watermark={view.watermark ?? null} boundary={view.layers?.boundary ?? null} limit={limit} limits={LIMITS} onLimit={setLimit} />
            <div className="columns">
              <Panel title={t("view.table")} flush>
                {answer.rows.length === 0 ? <Empty title={t("view.table.none")} /> : <RowTable label={t("view.table")} columns={answer.columns} rows={answer.rows.slice(0, TABLE_ROWS)} />}
              </Panel>
              <div>
                <SourcePanel view={view} now={now} />
                {view.layers ? <LayersPanel view={view} layers={view.layers} now={now} /> : null}
                {view.mode === "kappa" ? <GenerationsPanel view={view} now={now} /> : null}
                <RecoveryPanel view={view} now={now} />
                <BadRows rows={view.bad_rows ?? []} now={now} />
                <LateSample rows={view.late_sample} />
              </div>
            </div>
          </>
        )}
      </Loaded>
      {view.dataflow ? <DataflowPanel view={view} dataflow={view.dataflow} now={now} /> : null}
      <Panel title={t("view.definition")} aside={<code className="muted">{view.file}</code>} flush>
        <CodeBlock label={view.file} text={view.definition} line={view.problems[0]?.line ?? null} />
      </Panel>
    </>
  );
}

// How a running view works: its stages with the queues between them, and every subtask. It answers where the bottleneck is.
import type { Dataflow, ViewDetail } from "../api/types";
import { Panel } from "../components/panel";
import { useReader } from "../text/context";
import { stagesOf } from "./pace";
import { StageGraph } from "./stage-graph";
import { SubtaskTable } from "./subtask-table";
import { usePaces } from "./use-paces";

export function DataflowPanel({ view, dataflow, now }: { view: ViewDetail; dataflow: Dataflow; now: number }) {
  const { t } = useReader();
  const subtasks = usePaces(dataflow);
  if (subtasks.length === 0) return null;
  return (
    <Panel title={t("dataflow.title")} aside={<span className="muted">{t("dataflow.help")}</span>} flush>
      <StageGraph view={view} edges={dataflow.edges} stages={stagesOf(subtasks)} />
      <SubtaskTable subtasks={subtasks} now={now} />
    </Panel>
  );
}

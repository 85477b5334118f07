// What a flow consists of: its tasks as they are defined, with what each does.
import { useMemo } from "react";
import type { TaskDefinition } from "../../api/types";
import { Panel } from "../../components/panel";
import { TaskGraph, type GraphTask } from "../../graph/task-graph";
import { useReader } from "../../text/context";

export function DefinitionGraph({ tasks }: { tasks: readonly TaskDefinition[] }) {
  const { t } = useReader();
  const nodes = useMemo(
    () => tasks.map((task): GraphTask => ({
      id: task.name, needs: task.needs, kind: task.kind, note: task.summary, status: null, flag: task.idempotent ? null : t("flow.notidempotent"),
    })),
    [tasks, t],
  );
  return (
    <Panel title={t("flow.tasks")} flush>
      <TaskGraph label={t("flow.tasks")} tasks={nodes} />
    </Panel>
  );
}

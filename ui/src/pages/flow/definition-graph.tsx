// What a flow consists of: its tasks as they are defined, with what each does.
import { useMemo } from "react";
import type { TaskDefinition } from "../../api/types";
import { Panel } from "../../components/panel";
import { TaskGraph, type GraphTask } from "../../graph/task-graph";
import type { TextKey, Values } from "../../text/catalogue";
import { useReader } from "../../text/context";

// The usual rule goes without saying.
const RULES = { all_done: "rule.all_done", one_failed: "rule.one_failed", one_success: "rule.one_success", none_failed: "rule.none_failed" } as const;

function noteOf(task: TaskDefinition, t: (key: TextKey, values?: Values) => string): string {
  const rule = RULES[task.trigger_rule as keyof typeof RULES];
  return [...(rule ? [t(rule)] : []), ...(task.when ? [t("rule.when", { condition: task.when })] : []), ...limitsOf(task, t), task.summary].join(" · ");
}

// What goes without saying: no limit, the usual pool, no priority.
function limitsOf(task: TaskDefinition, t: (key: TextKey, values?: Values) => string): string[] {
  return [
    ...(task.group ? [t("flow.task.group", { group: task.group })] : []),
    ...(task.concurrency ? [t("flow.task.limit", { count: task.concurrency })] : []),
    ...(task.pool && task.pool !== "default" ? [t("flow.task.pool", { pool: task.pool })] : []),
    ...(task.priority ? [t("flow.task.priority", { priority: task.priority })] : []),
  ];
}

export function DefinitionGraph({ tasks }: { tasks: readonly TaskDefinition[] }) {
  const { t } = useReader();
  const nodes = useMemo(
    () => tasks.map((task): GraphTask => ({
      id: task.name, needs: task.needs, kind: task.kind, note: noteOf(task, t), status: null, flag: task.idempotent ? null : t("flow.notidempotent"),
    })),
    [tasks, t],
  );
  return (
    <Panel title={t("flow.tasks")} flush>
      <TaskGraph label={t("flow.tasks")} tasks={nodes} />
    </Panel>
  );
}

// What does the work of a task or an item: its attempts, or a run of another flow.
import type { ChildRun, ItemRun, TaskRun } from "../../api/types";
import { StatusBadge } from "../../components/status";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";
import { AttemptsView } from "./attempts-view";

export function WorkView({ run, task }: { run: number; task: Pick<TaskRun | ItemRun, "name" | "attempts" | "child"> }) {
  return task.child ? <Called child={task.child} /> : <AttemptsView run={run} task={task} />;
}

function Called({ child }: { child: ChildRun }) {
  const { t } = useReader();
  return (
    <p className="attempt-facts panel-note">
      <span>{t("run.child")}</span>
      <Link href={address("/runs/:run", { run: String(child.id) })}>{child.name}</Link>
      <StatusBadge status={child.status} />
    </p>
  );
}

// Why is it not running? One sentence for the run, and one for each of its tasks that waits.
import type { RunDetail } from "../../api/types";
import { StatusMark } from "../../components/status";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

const WAITING: readonly string[] = ["waiting", "ready", "retrying"];

export function Waits({ run }: { run: RunDetail }) {
  const waits = run.status === "queued" || run.tasks.some((task) => WAITING.includes(task.status));
  return waits ? <Reasons run={run.id} /> : null;
}

function Reasons({ run }: { run: number }) {
  const { t } = useReader();
  const { data } = useResource(resources.waits(run));
  if (!data || (!data.why && data.tasks.length === 0)) return null;
  return (
    <section className="waits" aria-label={t("run.waits")}>
      <h2>{t("run.waits")}</h2>
      {data.why ? <p>{data.why.sentence}</p> : (
        <ul>
          {data.tasks.map((task) => (
            <li key={task.task}><StatusMark status={task.status} small /><code>{task.task}</code> <span>{task.why.sentence}</span></li>
          ))}
        </ul>
      )}
      {data.left_out > 0 ? <p className="muted">{t("run.waits.more", { count: data.left_out })}</p> : null}
    </section>
  );
}

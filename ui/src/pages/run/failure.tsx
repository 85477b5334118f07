// Why a task failed: the sentence, the place with file and line in front, and what it held up.
import type { TaskRun } from "../../api/types";
import { Icon } from "../../components/icon";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";
import { findPlace, withinProject, withoutPlace } from "./place";

export function Failure({ task, blocked }: { task: TaskRun; blocked: number }) {
  const { t } = useReader();
  const { data: project } = useResource(resources.project);
  const error = task.attempts.findLast((attempt) => attempt.error)?.error;
  const place = error ? findPlace(error.detail, error.message) : null;
  return (
    <section className="failure" aria-label={t("run.failed", { task: task.name })}>
      <header>
        <Icon name="warning" size={18} />
        <h2>{t("run.failed", { task: task.name })}</h2>
        {blocked > 0 ? <p>{t("run.failed.blocked", { count: blocked })}</p> : null}
      </header>
      {place ? (
        <p className="failure-place">
          <Icon name="file" />
          <span className="visually-hidden">{t("run.failed.place")}: </span>
          <code>{withinProject(place.file, project?.folder)}<b>:{place.line}{place.column === null ? "" : `:${place.column}`}</b></code>
        </p>
      ) : null}
      {!error && task.note ? <p className="failure-message">{task.note}</p> : null}
      {error ? <p className="failure-message">{withoutPlace(error.message)}</p> : null}
      {error?.detail ? <pre className="failure-detail">{error.detail}</pre> : null}
    </section>
  );
}

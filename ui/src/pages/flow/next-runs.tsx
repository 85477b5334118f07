// The next runs of a schedule: what each will be about, and when it begins.
import type { FlowDetail } from "../../api/types";
import { Panel } from "../../components/panel";
import { useReader } from "../../text/context";

const SHOWN = 8;

export function NextRuns({ next }: { next: FlowDetail["next"] }) {
  const { t, format } = useReader();
  return (
    <Panel title={t("flow.next")}>
      <ol className="next-runs">
        {next.slice(0, SHOWN).map((run) => (
          <li key={run.fires_at}>
            <span>{format.date(run.interval.start, "weekday")}</span>
            <span className="muted">{t("flow.next.fires", { when: format.date(run.fires_at) })}</span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

// The last runs of a flow as a row of marks, oldest first, each a link.
import type { RecentRun } from "../../api/types";
import { StatusMark } from "../../components/status";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";

export function RecentRuns({ runs }: { runs: readonly RecentRun[] }) {
  const { t } = useReader();
  return (
    <ol className="recent">
      {[...runs].reverse().map((run) => {
        const label = t("flows.recent.label", { label: run.label, status: t(`status.${run.status}`) });
        return (
          <li key={run.id}>
            <Link href={address("/runs/:run", { run: String(run.id) })} aria-label={label} title={label}>
              <StatusMark status={run.status} />
            </Link>
          </li>
        );
      })}
    </ol>
  );
}

// What a view is doing, as a mark and a word.
import type { ViewSummary } from "../../api/types";
import { MARKS, type Status } from "../../components/glyphs";
import { StatusMark } from "../../components/status";
import { useReader } from "../../text/context";

const LIKE: Readonly<Record<ViewSummary["state"], Status>> = {
  stopped: "cancelled", starting: "queued", running: "running", refreshing: "running", ready: "succeeded", restarting: "retrying", failed: "failed", broken: "failed",
};

export function ViewState({ state }: { state: ViewSummary["state"] }) {
  const { t } = useReader();
  const status = LIKE[state];
  return (
    <span className="badge" data-tone={MARKS[status].tone} data-status={status}>
      <StatusMark status={status} small />
      {t(`view.state.${state}`)}
    </span>
  );
}

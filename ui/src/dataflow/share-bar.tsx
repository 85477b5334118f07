// How time was spent: busy, blocked, idle, as a bar and in words.
import { useReader } from "../text/context";
import type { Shares } from "./pace";

const SHOWN = ["busy", "blocked"] as const;

export function ShareBar({ shares }: { shares: Shares }) {
  const { t, format } = useReader();
  return (
    <span className="shares">
      <span className="share-bar" aria-hidden="true">
        {SHOWN.map((doing) => <span key={doing} data-doing={doing} style={{ width: `${100 * shares[doing]}%` }} />)}
      </span>
      <span className="share-words">
        {t("dataflow.busy", { percent: format.percent(shares.busy) })} · {t("dataflow.blocked", { percent: format.percent(shares.blocked) })}
        <span className="visually-hidden"> · {t("dataflow.idle", { percent: format.percent(shares.idle) })}</span>
      </span>
    </span>
  );
}

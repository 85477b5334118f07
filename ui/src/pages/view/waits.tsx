// What a view waits for that should be there and is not: a broker, a database, a receiver of requests.
import type { SystemWait } from "../../api/types";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";

export function Waits({ waits, now }: { waits: readonly SystemWait[]; now: number }) {
  const { t, format } = useReader();
  return waits.map((wait) => {
    const span = format.span(Math.max(0, now - (wait.since ? instant(wait.since) : now)));
    return (
      <p key={`${wait.is_source} ${wait.table}`} className="strip" data-tone="waiting" role="status">
        {t(wait.is_source ? "view.waits.read" : "view.waits.write", { table: wait.table, span })} {wait.what}
      </p>
    );
  });
}

// Who was told of a run, and what nobody took.
import type { Notice } from "../../api/types";
import { Panel } from "../../components/panel";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

export function Told({ run }: { run: number }) {
  const { t } = useReader();
  const { data } = useResource(resources.notices(run));
  if (!data || data.length === 0) return null;
  return (
    <Panel title={t("told.title")} flush>
      <div className="table-box" role="group" aria-label={t("told.title")} tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              {(["at", "what", "channel", "status"] as const).map((column) => <th key={column} scope="col">{t(`told.${column}`)}</th>)}
            </tr>
          </thead>
          <tbody>{data.map((notice) => <Row key={notice.seq} notice={notice} />)}</tbody>
        </table>
      </div>
    </Panel>
  );
}

function Row({ notice }: { notice: Notice }) {
  const { t, format } = useReader();
  const tries = notice.tries > 1 || notice.error ? ` · ${t("told.tries", { count: notice.tries })}` : "";
  return (
    <tr>
      <td><time dateTime={notice.created_at}>{format.date(notice.created_at)}</time></td>
      <td>{notice.subject}</td>
      <td><code>{notice.channel}</code></td>
      <td>{t(`told.${notice.status}`)}{tries}{notice.error ? <div className="muted">{notice.error}</div> : null}</td>
    </tr>
  );
}

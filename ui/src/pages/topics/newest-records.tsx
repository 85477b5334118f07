// The newest records of a partition, newest first, as they were when the reader asked.
import { useState } from "react";
import { Loaded } from "../../components/page";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

const SHOWN = 20;

export function NewestRecords({ topic, partition, first, next }: { topic: string; partition: number; first: number; next: number }) {
  const { t, format } = useReader();
  const [offset] = useState(() => Math.max(first, next - SHOWN));
  const title = t("topics.newest", { partition });
  return (
    <Loaded snapshot={useResource(resources.records(topic, partition, offset, SHOWN))}>
      {({ records }) => (
        <div className="table-box rows-box" role="group" aria-label={title} tabIndex={0}>
          <table className="table rows-table">
            <caption className="visually-hidden">{title}</caption>
            <thead>
              <tr>
                <th scope="col" className="number">{t("topics.offset")}</th>
                <th scope="col">{t("topics.time")}</th>
                <th scope="col">{t("topics.value")}</th>
              </tr>
            </thead>
            <tbody>
              {[...records].reverse().map((record) => (
                <tr key={record.offset}>
                  <td className="number">{format.number(record.offset)}</td>
                  <td>{format.date(record.timestamp, "precise")}</td>
                  <td><code>{JSON.stringify(record.value)}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Loaded>
  );
}

// The topics of the event log: their partitions, offsets, sizes and pace, and a look at the newest records.
import { useState } from "react";
import type { Topic } from "../../api/types";
import { Button } from "../../components/button";
import { Empty, Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";
import { NewestRecords } from "./newest-records";
import { useRates } from "./use-rates";

export function TopicsPage() {
  const { t } = useReader();
  const topics = useResource(resources.topics);
  const rates = useRates(topics.data);
  return (
    <>
      <PageHead title={t("nav.topics")} />
      <Loaded snapshot={topics}>
        {(list) => (list.length === 0 ? <Empty title={t("topics.none")}>{t("topics.none.help")}</Empty> : list.map((topic) => <TopicPanel key={topic.name} topic={topic} rates={rates} />))}
      </Loaded>
    </>
  );
}

function TopicPanel({ topic, rates }: { topic: Topic; rates: ReadonlyMap<string, number> }) {
  const { t, format } = useReader();
  const [shown, setShown] = useState<number | null>(null);
  const partition = topic.partitions.find((other) => other.partition === shown);
  return (
    <Panel title={topic.name} flush>
      <div className="table-box" role="group" aria-label={topic.name} tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{t("topics.partition")}</th>
              <th scope="col" className="number">{t("topics.first")}</th>
              <th scope="col" className="number">{t("topics.next")}</th>
              <th scope="col" className="number">{t("topics.records")}</th>
              <th scope="col" className="number">{t("topics.size")}</th>
              <th scope="col" className="number">{t("topics.rate")}</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {topic.partitions.map(({ partition: id, first_offset, next_offset, bytes }) => (
              <tr key={id}>
                <th scope="row">{id}</th>
                <td className="number">{format.number(first_offset)}</td>
                <td className="number">{format.number(next_offset)}</td>
                <td className="number">{format.number(next_offset - first_offset)}</td>
                <td className="number">{format.bytes(bytes)}</td>
                <td className="number">{format.number(rates.get(`${topic.name} ${id}`) ?? 0, 0)}</td>
                <td className="number">
                  <Button kind="quiet" aria-expanded={shown === id} onClick={() => setShown(shown === id ? null : id)}>
                    {t(shown === id ? "topics.hide" : "topics.show")}
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {partition ? <NewestRecords topic={topic.name} partition={partition.partition} next={partition.next_offset} first={partition.first_offset} /> : null}
    </Panel>
  );
}

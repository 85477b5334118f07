// How full the pools are, how long tasks waited for a slot lately, and whether more slots would help.
import type { PoolInfo } from "../../api/types";
import { Panel } from "../../components/panel";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

export function Pools() {
  const { t } = useReader();
  const { data: pools = [] } = useResource(resources.pools);
  if (pools.length === 0) return null;
  return (
    <Panel title={t("pools.title")} flush>
      <PoolTable pools={pools} />
    </Panel>
  );
}

function PoolTable({ pools }: { pools: readonly PoolInfo[] }) {
  const { t, format } = useReader();
  const share = (pool: PoolInfo, part: number): string => (pool.attempts === 0 ? "–" : `${Math.round(100 * part)} %`);
  return (
    <div className="table-box" role="group" aria-label={t("pools.title")} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("pools.name")}</th>
            <th scope="col" className="number">{t("pools.slots")}</th>
            <th scope="col" className="number">{t("pools.waiting")}</th>
            <th scope="col" className="number">{t("pools.waited")}</th>
            <th scope="col" className="number">{t("pools.cpu")}</th>
            <th scope="col">{t("pools.advice")}</th>
          </tr>
        </thead>
        <tbody>
          {pools.map((pool) => (
            <tr key={pool.pool}>
              <th scope="row">{pool.pool}</th>
              <td className="number">{t("pools.used", { used: pool.used, slots: pool.slots })}</td>
              <td className="number">{format.number(pool.waiting)}</td>
              <td className="number">{share(pool, pool.waited_share)}</td>
              <td className="number">{share(pool, pool.cpu_share)}</td>
              <td title={pool.sentence}>{t(adviceOf(pool), { better: pool.better ?? "" })}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const ADVICE = { unknown: "pools.unknown", enough: "pools.enough", fewer: "pools.fewer", more: "pools.more", used_up: "pools.used_up" } as const;

function adviceOf(pool: PoolInfo): (typeof ADVICE)[keyof typeof ADVICE] {
  return pool.advice in ADVICE ? ADVICE[pool.advice as keyof typeof ADVICE] : "pools.unknown";
}

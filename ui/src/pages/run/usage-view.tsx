// What an attempt used: figures, small charts over its time, and what broke it or held it up.
import type { ReactNode } from "react";
import type { Usage } from "../../api/types";
import { useReader } from "../../text/context";
import { sparkline } from "./sparkline";

export function UsageView({ usage }: { usage: Usage }) {
  const { t, format } = useReader();
  const { host, machine, samples } = usage;
  // What ends at once is gone before anybody can look at it: noughts would say that it used nothing.
  const unseen = usage.tree !== null && usage.tree !== undefined && samples.length === 0 && usage.tree.cpu_ms === 0 && usage.tree.memory_peak_bytes === 0;
  const tree = unseen ? null : usage.tree;
  const chart = (of: (sample: Usage["samples"][number]) => number): ReactNode => <Chart values={samples.map(of)} />;
  return (
    <section className="usage" aria-label={t("usage.title")}>
      {usage.finding ? <p><strong>{usage.finding.sentence}</strong> {t("usage.helps", { remedy: usage.finding.remedy })}</p> : null}
      <dl>
        <div><dt>{t("usage.cpu")}</dt><dd>{tree ? t("usage.cpu.value", { time: format.span(tree.cpu_ms) }) : host ? t("usage.cpu.host", { time: format.span(host.cpu_ms) }) : t(unseen ? "usage.unseen" : "usage.none")}{tree ? chart((sample) => sample.cores) : null}</dd></div>
        {tree ? <div><dt>{t("usage.memory")}</dt><dd>{t("usage.memory.value", { size: format.bytes(tree.memory_peak_bytes) })}{chart((sample) => sample.memory_bytes)}</dd></div> : null}
        {host ? <div><dt>{t("usage.memory")}</dt><dd>{t("usage.memory.host", { grown: format.bytes(host.memory_grown_bytes), size: format.bytes(host.memory_peak_bytes) })}</dd></div> : null}
        {host ? <div><dt>{t("usage.disk")}</dt><dd>{t("usage.disk.value", { read: format.bytes(host.read_bytes), written: format.bytes(host.written_bytes) })}</dd></div> : null}
        {host ? <div><dt>{t("usage.host")}</dt><dd>{t("usage.host.value", { count: host.others })}</dd></div> : null}
        {tree ? <div><dt>{t("usage.disk")}</dt><dd>{t("usage.disk.value", { read: format.bytes(tree.read_bytes), written: format.bytes(tree.written_bytes) })}{chart((sample) => sample.disk_bytes_per_s)}</dd></div> : null}
        <div><dt>{t("usage.network")}</dt><dd>{t("usage.network.value", { received: format.bytes(machine.received_bytes), sent: format.bytes(machine.sent_bytes) })}{chart((sample) => sample.network_bytes_per_s)}</dd></div>
        <div>
          <dt>{t("usage.machine")}</dt>
          <dd>{t("usage.machine.value", { share: Math.round(machine.cpu_share * 100), cores: machine.cores, free: format.bytes(machine.memory_available_min_bytes), all: format.bytes(machine.memory_bytes) })}</dd>
        </div>
      </dl>
    </section>
  );
}

/** The figure beside it says what it is; the line only shows its course. */
function Chart({ values }: { values: readonly number[] }) {
  if (values.length < 2) return null;
  return <svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true"><polyline points={sparkline(values, 100, 20)} fill="none" stroke="currentColor" vectorEffect="non-scaling-stroke" /></svg>;
}

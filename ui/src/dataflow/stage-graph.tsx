// The stages of a running view in SVG, left to right: what it reads, what each stage is doing, and how full the queues
// between them are. Whatever a colour says, a number says too.
import { useMemo } from "react";
import type { EdgeProgress, ViewDetail } from "../api/types";
import { layout } from "../graph/layout";
import { useReader } from "../text/context";
import { strainOf, type StagePace } from "./pace";
import { ShareBar } from "./share-bar";

const SIZES = { nodeWidth: 204, nodeHeight: 80, gapX: 88, gapY: 20 };
const PADDING = 20;

interface Props {
  view: ViewDetail;
  edges: readonly EdgeProgress[];
  stages: readonly StagePace[];
}

export function StageGraph({ view, edges, stages }: Props) {
  const { t, format } = useReader();
  const shape = JSON.stringify(edges.map((edge) => [edge.from, edge.to]));
  const placed = useMemo(() => {
    const pairs = JSON.parse(shape) as [string, string][];
    const ids = [...new Set(pairs.flat())];
    return layout(ids.map((id) => ({ id, needs: pairs.filter(([, to]) => to === id).map(([from]) => from) })), SIZES);
  }, [shape]);
  const byStage = new Map(stages.map((stage) => [stage.stage, stage]));
  const at = new Map(placed.nodes.map((node) => [node.id, node]));
  const width = placed.width + 2 * PADDING;
  const height = placed.height + 2 * PADDING;
  const edgeOf = (from: string, to: string): EdgeProgress | undefined => edges.find((edge) => edge.from === from && edge.to === to);
  const rate = (rows: number): string => t("view.rate.unit", { rate: format.number(rows, 0) });
  return (
    <div className="graph" role="group" aria-label={t("dataflow.graph")} tabIndex={0}>
      <div className="graph-canvas" style={{ width, height }}>
        <svg width={width} height={height} aria-hidden="true">
          <g transform={`translate(${PADDING} ${PADDING})`}>
            {placed.edges.map((edge) => (
              <path key={`${edge.from} ${edge.to}`} d={edge.path} className="graph-edge" data-strain={strainOf(edgeOf(edge.from, edge.to)?.fullness ?? 0)} />
            ))}
          </g>
        </svg>
        {placed.edges.map(({ from, to }) => {
          const edge = edgeOf(from, to);
          const [source, target] = [at.get(from), at.get(to)];
          if (!edge || !source || !target) return null;
          const style = { left: target.x + PADDING - SIZES.gapX, width: SIZES.gapX, top: (source.y + target.y) / 2 + SIZES.nodeHeight / 2 + PADDING };
          return (
            <span key={`${from} ${to}`} className="edge-label" style={style} data-strain={strainOf(edge.fullness)} title={t("dataflow.edge", { from, to, queued: format.bytes(edge.queued_bytes), most: format.bytes(edge.queued_bytes_max) })}>
              {edge.exchange}<br />{t("dataflow.full", { percent: format.percent(edge.fullness) })}
            </span>
          );
        })}
        {placed.nodes.map((node) => {
          const stage = byStage.get(node.id);
          const sources = view.sources.filter((source) => source.source === node.id);
          const style = { left: node.x + PADDING, top: node.y + PADDING, width: SIZES.nodeWidth, height: SIZES.nodeHeight };
          return (
            <div key={node.id} className="graph-node stage-node" style={style} data-end={stage ? undefined : true}>
              <span className="graph-text">
                <span className="graph-name" title={node.id}>{node.id}</span>
                {stage ? <ShareBar shares={stage.shares} /> : null}
                <span className="graph-note">
                  {stage
                    ? `${t("dataflow.subtasks", { count: stage.subtasks })} · ${rate(stage.rowsIn)} · ${format.bytes(stage.stateBytes)}`
                    : sources.length > 0
                      ? `${t("dataflow.partitions", { count: sources.length })} · ${rate(sources.reduce((sum, source) => sum + (source.rows_per_second ?? 0), 0))}`
                      : t("dataflow.result")}
                </span>
              </span>
            </div>
          );
        })}
      </div>
    </div>
  );
}

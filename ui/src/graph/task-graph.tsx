// The graph of a flow's tasks in SVG, left to right. In a run each node shows its status and can be chosen; water moves
// along the edges into what is running. Of a large graph only the piece is drawn that can be seen.
import { useLayoutEffect, useMemo, useRef, type ReactNode } from "react";
import { MARKS, type Status } from "../components/glyphs";
import { StatusMark } from "../components/status";
import { usePiece } from "../components/use-piece";
import { useReader } from "../text/context";
import { layout } from "./layout";
import { DRAWN_WHOLE_MAX, within } from "./view";

export interface GraphTask {
  id: string;
  needs: readonly string[];
  kind: string;
  /** A line below the name. */
  note: string;
  status: Status | null;
  /** Something to warn about. */
  flag: string | null;
}

interface Props {
  label: string;
  tasks: readonly GraphTask[];
  chosen?: string | null;
  onChoose?: (task: string) => void;
}

const SIZES = { nodeWidth: 248, nodeHeight: 58, gapX: 56, gapY: 18 };
const PADDING = 20;

export function TaskGraph({ label, tasks, chosen = null, onChoose }: Props) {
  // The places change with the names and needs only, not with every status.
  const shape = JSON.stringify(tasks.map((task) => [task.id, task.needs]));
  const placed = useMemo(() => {
    const nodes = JSON.parse(shape) as [string, string[]][];
    return layout(nodes.map(([id, needs]) => ({ id, needs })), SIZES);
  }, [shape]);
  const { scroller, piece, onScroll } = usePiece(tasks.length <= DRAWN_WHOLE_MAX);
  const shown = useMemo(() => within(placed, piece, SIZES, chosen), [placed, piece, chosen]);
  // A large graph opens where the chosen task stands.
  const start = useRef(chosen);
  useLayoutEffect(() => {
    const box = scroller.current;
    const node = placed.nodes.find((node) => node.id === start.current) ?? placed.nodes[0];
    if (!box || !node || placed.nodes.length <= DRAWN_WHOLE_MAX) return;
    box.scrollTo(node.x - (box.clientWidth - SIZES.nodeWidth) / 2, node.y - (box.clientHeight - SIZES.nodeHeight) / 2);
  }, [placed, scroller]);
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const width = placed.width + 2 * PADDING;
  const height = placed.height + 2 * PADDING;
  return (
    <div className="graph" role="group" aria-label={label} ref={scroller} onScroll={onScroll}>
      <div className="graph-canvas" style={{ width, height }}>
        <svg width={width} height={height} aria-hidden="true">
          <g transform={`translate(${PADDING} ${PADDING})`}>
            {shown.edges.map((edge) => (
              <path
                key={`${edge.from} ${edge.to}`} d={edge.path} className="graph-edge"
                data-flowing={["running", "leased"].includes(byId.get(edge.to)?.status ?? "") || undefined}
                data-done={byId.get(edge.from)?.status === "succeeded" || undefined}
              />
            ))}
          </g>
        </svg>
        {shown.nodes.map((node) => {
          const task = byId.get(node.id);
          return task ? (
            <Node key={node.id} task={task} left={node.x + PADDING} top={node.y + PADDING} chosen={chosen === node.id} onChoose={onChoose}>
              <span className="graph-name">
                {task.id}
                {task.status ? null : <span className="graph-kind code">{task.kind}</span>}
              </span>
              <span className="graph-note">{task.note}</span>
            </Node>
          ) : null;
        })}
      </div>
    </div>
  );
}

interface NodeProps {
  task: GraphTask;
  left: number;
  top: number;
  chosen: boolean;
  onChoose: ((task: string) => void) | undefined;
  children: ReactNode;
}

function Node({ task, left, top, chosen, onChoose, children }: NodeProps) {
  const { t } = useReader();
  const style = { left, top, width: SIZES.nodeWidth, height: SIZES.nodeHeight };
  const inside = (
    <>
      {task.status ? <StatusMark status={task.status} /> : null}
      <span className="graph-text">{children}</span>
      {task.status ? <span className="visually-hidden">{t(`status.${task.status}`)}</span> : null}
      {task.flag ? <span className="graph-flag" title={task.flag} role="img" aria-label={task.flag}>1×</span> : null}
    </>
  );
  if (!onChoose) return <div className="graph-node" style={style} title={task.note}>{inside}</div>;
  return (
    <button
      type="button" className="graph-node" style={style} aria-pressed={chosen} onClick={() => onChoose(task.id)}
      data-tone={task.status ? MARKS[task.status].tone : undefined} data-status={task.status ?? undefined}
    >
      {inside}
    </button>
  );
}

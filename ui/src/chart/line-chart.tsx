// A live line chart in SVG. Each series differs by colour, dash and the label at its end. A pointer or the arrow keys move
// a reading line; what it reads stands in a box and, for screen readers, in a live region. The water to the right of the
// watermark is hatched: those windows may still change.
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import { useReader } from "../text/context";
import { LayerShades } from "./layers";
import { linear, linePath, numberTicks, thin, timeTicks } from "./scale";
import type { Series } from "./series";
import { Reading } from "./reading";

interface Props {
  label: string;
  series: readonly Series[];
  xKind: "time" | "number";
  /** Event time up to which the result is settled. */
  settled?: number | null;
  /** Event time up to which batch has spoken; behind it the stream has. */
  boundary?: number | null;
  unit?: string;
}

const HEIGHT = 300;
const MARGIN = { top: 14, right: 64, bottom: 28, left: 52 };
const DASHES = ["", "7 4", "2 4", "10 4 2 4", "1 5", "12 6"];

function useWidth(): [React.RefObject<HTMLDivElement | null>, number] {
  const element = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return undefined;
    setWidth(box.clientWidth);
    const observer = new ResizeObserver(() => setWidth(box.clientWidth));
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

/** End labels, pushed apart so that none covers another. */
function spread(wished: readonly number[], gap: number): number[] {
  const order = [...wished.keys()].sort((a, b) => (wished[a] ?? 0) - (wished[b] ?? 0));
  const out = [...wished];
  let last = -Infinity;
  for (const i of order) {
    out[i] = Math.max(wished[i] ?? 0, last + gap);
    last = out[i] ?? 0;
  }
  return out;
}

export function LineChart({ label, series, xKind, settled = null, boundary = null, unit }: Props) {
  const { format } = useReader();
  const [box, width] = useWidth();
  const hatch = useId();
  const [reading, setReading] = useState<number | null>(null);

  const xs = useMemo(() => [...new Set(series.flatMap((line) => line.points.filter((point) => point.y !== null).map((point) => point.x)))].sort((a, b) => a - b), [series]);
  const ys = useMemo(() => series.flatMap((line) => line.points.flatMap((point) => (point.y === null ? [] : [point.y]))), [series]);
  useEffect(() => {
    if (reading !== null && reading >= xs.length) setReading(null);
  }, [reading, xs.length]);

  const from = xs[0] ?? 0;
  const to = xs.at(-1) ?? 1;
  const low = ys.reduce((a, b) => Math.min(a, b), 0);
  const high = ys.reduce((a, b) => Math.max(a, b), 0);
  const yTicks = numberTicks(low, high > low ? high : low + 1, 4);
  const x = linear([from, to > from ? to : from + 1], [MARGIN.left, width - MARGIN.right]);
  const y = linear([yTicks[0] ?? 0, yTicks.at(-1) ?? 1], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const inner = Math.max(50, width - MARGIN.left - MARGIN.right);
  const paths = useMemo(() => series.map((line) => thin(line.points, Math.round(inner))), [series, inner]);

  const xText = (at: number): string => (xKind === "time" ? format.eventTime(at, "daytime") : format.number(at));
  const ticks = xKind === "time" ? timeTicks(from, to, inner / 110) : { ticks: numberTicks(from, to, inner / 90), days: false };
  const ends = series.map((line) => {
    const last = line.points.findLast((point) => point.y !== null);
    return last?.y === null || last === undefined ? MARGIN.top : y(last.y);
  });
  const labelsAt = spread(ends, 14);

  function readAt(event: PointerEvent<SVGSVGElement>): void {
    const left = event.clientX - event.currentTarget.getBoundingClientRect().left;
    let nearest = 0;
    for (const [i, at] of xs.entries()) if (Math.abs(x(at) - left) < Math.abs(x(xs[nearest] ?? 0) - left)) nearest = i;
    setReading(xs.length > 0 ? nearest : null);
  }
  function step(event: KeyboardEvent): void {
    const last = xs.length - 1;
    const moves: Record<string, number> = { ArrowLeft: (reading ?? last + 1) - 1, ArrowRight: (reading ?? -1) + 1, Home: 0, End: last };
    const next = moves[event.key];
    if (event.key === "Escape") setReading(null);
    if (next === undefined || last < 0) return;
    event.preventDefault();
    setReading(Math.min(last, Math.max(0, next)));
  }

  const readX = reading === null ? undefined : xs[reading];
  return (
    <div className="chart" ref={box}>
      <svg
        width={width} height={HEIGHT} role="img" aria-label={label} tabIndex={0}
        onPointerMove={readAt} onPointerLeave={() => setReading(null)} onKeyDown={step} onBlur={() => setReading(null)}
      >
        <defs>
          <pattern id={hatch} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <line x1="0" y1="0" x2="0" y2="6" className="chart-hatch" />
          </pattern>
        </defs>
        {boundary === null ? null : <LayerShades boundary={x(boundary)} frame={{ left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: HEIGHT - MARGIN.bottom }} />}
        {yTicks.map((tick) => (
          <g key={tick}>
            <line className={tick === 0 ? "chart-zero" : "chart-rule"} x1={MARGIN.left} x2={width - MARGIN.right} y1={y(tick)} y2={y(tick)} />
            <text className="chart-tick" x={MARGIN.left - 8} y={y(tick)} dy="0.32em" textAnchor="end">{format.number(tick)}</text>
          </g>
        ))}
        {ticks.ticks.map((tick) => (
          <text key={tick} className="chart-tick" x={x(tick)} y={HEIGHT - 8} textAnchor="middle">
            {xKind === "time" ? format.eventTime(tick, ticks.days ? "day" : "hour") : format.number(tick)}
          </text>
        ))}
        {settled !== null && settled < to && settled > from ? (
          <g>
            <rect x={x(settled)} y={MARGIN.top} width={Math.max(0, width - MARGIN.right - x(settled))} height={HEIGHT - MARGIN.top - MARGIN.bottom} fill={`url(#${hatch})`} />
            <line className="chart-settled" x1={x(settled)} x2={x(settled)} y1={MARGIN.top} y2={HEIGHT - MARGIN.bottom} />
          </g>
        ) : null}
        {series.map((line, i) => (
          <g key={line.name} className="chart-series" data-series={(i % 6) + 1}>
            <path d={linePath(paths[i] ?? [], x, y)} strokeDasharray={DASHES[i % DASHES.length]} />
            <text x={width - MARGIN.right + 8} y={labelsAt[i] ?? 0} dy="0.32em">{line.name}</text>
          </g>
        ))}
        {readX !== undefined ? (
          <g className="chart-reading">
            <line x1={x(readX)} x2={x(readX)} y1={MARGIN.top} y2={HEIGHT - MARGIN.bottom} />
            {series.map((line, i) => {
              const point = line.points.find((p) => p.x === readX);
              return point && point.y !== null ? <circle key={line.name} data-series={(i % 6) + 1} cx={x(readX)} cy={y(point.y)} r="3.5" /> : null;
            })}
          </g>
        ) : null}
      </svg>
      {readX !== undefined ? <Reading at={readX} left={x(readX)} width={width} title={xText(readX)} series={series} unit={unit} /> : null}
    </div>
  );
}

// What the reading line of a chart reads: the value of every series at one x.
import { useReader } from "../text/context";
import type { Series } from "./series";

interface Props {
  at: number;
  left: number;
  width: number;
  title: string;
  series: readonly Series[];
  unit?: string | undefined;
}

export function Reading({ at, left, width, title, series, unit }: Props) {
  const { format } = useReader();
  const side = left > width / 2 ? { right: width - left + 12 } : { left: left + 12 };
  return (
    <div className="chart-box" style={side} role="status">
      <p className="chart-box-title">{title}</p>
      <ul>
        {series.map((line, i) => {
          const value = line.points.find((point) => point.x === at)?.y ?? null;
          return (
            <li key={line.name}>
              <span className="chart-key" data-series={(i % 6) + 1} aria-hidden="true" />
              <span>{line.name}</span>
              <b>{value === null ? "–" : format.number(value)}{unit && value !== null ? ` ${unit}` : ""}</b>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

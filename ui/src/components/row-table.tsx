// Rows of a query as a table: numbers to the right, times in the reader's form, nothing shown as a dash.
import type { Column } from "../api/types";
import { kindOf } from "../chart/columns";
import type { ColumnKind } from "../chart/series";
import { useReader } from "../text/context";
import type { Format } from "../text/format";

interface Props {
  label: string;
  columns: readonly Column[];
  rows: readonly (readonly unknown[])[];
}

function cellText(value: unknown, kind: ColumnKind, type: string, format: Format): string {
  if (value === null || value === undefined) return "–";
  if (kind === "time" && typeof value === "string") return format.eventTime(value.replace(" ", "T"), type.toUpperCase() === "DATE" ? "day" : "daytime");
  if (typeof value === "number") return format.number(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function RowTable({ label, columns, rows }: Props) {
  const { format } = useReader();
  const kinds = columns.map((column) => kindOf(column.type));
  return (
    <div className="table-box rows-box" role="region" aria-label={label} tabIndex={0}>
      <table className="table rows-table">
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={column.name} scope="col" className={kinds[i] === "number" ? "number" : undefined} title={column.type}>
                {column.name} <span className="column-type">{column.type.toLowerCase()}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {columns.map((column, i) => (
                <td key={column.name} className={kinds[i] === "number" ? "number" : undefined}>{cellText(row[i], kinds[i] ?? "other", column.type, format)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// Rows of a query as a table, as the data says them: numbers to the right, times as written, nothing shown as a dash.
import type { Column } from "../api/types";
import { kindOf } from "../chart/columns";
import type { ColumnKind } from "../chart/series";
import { useReader } from "../text/context";
import type { Format } from "../text/format";

interface Props {
  label: string;
  columns: readonly Column[];
  rows: readonly (readonly unknown[])[];
  /** Every digit, as a console should; else two places. */
  exact?: boolean;
}

const WHOLE = /INT/;

function cellText(value: unknown, kind: ColumnKind, type: string, exact: boolean, format: Format): string {
  if (value === null || value === undefined) return "–";
  // An ISO time reads best with a space, and without a fraction or a zone that says nothing.
  if (kind === "time" && typeof value === "string") return value.replace("T", " ").replace(/\.0+(?=Z|$)/, "").replace(/Z$/, "");
  if (typeof value === "number" && !exact) return WHOLE.test(type.toUpperCase()) ? format.number(value) : format.fixed(value, 2);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function RowTable({ label, columns, rows, exact = false }: Props) {
  const { format } = useReader();
  const kinds = columns.map((column) => kindOf(column.type));
  return (
    <div className="table-box rows-box" role="group" aria-label={label} tabIndex={0}>
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
                <td key={column.name} className={kinds[i] === "number" ? "number" : undefined}>{cellText(row[i], kinds[i] ?? "other", column.type, exact, format)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// What an SQL type means for a chart and for a table cell.
import type { Column as ApiColumn } from "../api/types";
import type { Column, ColumnKind } from "./series";

export function kindOf(sqlType: string): ColumnKind {
  const type = sqlType.toUpperCase();
  if (/^(TIMESTAMP|DATE)/.test(type)) return "time";
  if (/^(TINYINT|SMALLINT|INT|INTEGER|BIGINT|FLOAT|DOUBLE|REAL|DECIMAL|NUMERIC|UINT|UTINYINT)/.test(type)) return "number";
  return /^(VARCHAR|CHAR|STRING|TEXT|UTF8)/.test(type) ? "text" : "other";
}

export function chartColumns(columns: readonly ApiColumn[]): Column[] {
  return columns.map((column) => ({ name: column.name, kind: kindOf(column.type) }));
}

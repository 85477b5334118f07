// A row of values as the points of an SVG line: zero lies at the bottom, the highest value at the top.
export function sparkline(values: readonly number[], width: number, height: number): string {
  const most = Math.max(...values, Number.MIN_VALUE);
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, i) => `${round(i * step)},${round(height - (height * value) / most)}`).join(" ");
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

// A watermark as text. The end of the input is a time beyond all times.
import { instant } from "../../text/format";

const END_YEAR = 9999;

export function isEnd(watermark: string): boolean {
  const ms = instant(watermark);
  return Number.isNaN(ms) || new Date(ms).getUTCFullYear() >= END_YEAR;
}

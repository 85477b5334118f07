// Dates, spans and quantities, by Intl, in the reader's language and the project's time zone.
import type { Language } from "./catalogue";

type Style = "day" | "daytime" | "hour" | "weekday" | "time" | "month" | "precise";

const STYLES: Readonly<Record<Style, Intl.DateTimeFormatOptions>> = {
  day: { year: "numeric", month: "short", day: "numeric" },
  daytime: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  hour: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  weekday: { weekday: "short", year: "numeric", month: "short", day: "numeric" },
  time: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  month: { year: "numeric", month: "short" },
  precise: { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" },
};

const formats = new Map<string, Intl.DateTimeFormat>();

function dateFormat(language: Language, zone: string, style: Style): Intl.DateTimeFormat {
  const key = `${language} ${zone} ${style}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(language, { ...STYLES[style], timeZone: zone });
    formats.set(key, format);
  }
  return format;
}

export interface Format {
  /** A point in time, in the project's zone; the text itself when it is not a time. */
  date(at: string | number | null | undefined, style?: Style): string;
  /** An event time without a zone (Flink's TIMESTAMP), shown as it was written. */
  eventTime(at: string | number | null | undefined, style?: Style): string;
  /** A span, e.g. `1.2 s` or `3 min 4 s`. */
  span(ms: number | null | undefined): string;
  number(value: number, digits?: number): string;
  /** A number with exactly so many places, for columns. */
  fixed(value: number, digits: number): string;
  bytes(value: number): string;
  /** A share as a whole percentage. */
  percent(share: number): string;
  /** `in 3 h` or `5 min ago`. */
  fromNow(at: string | number, now: number): string;
}

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;
const SPANS = [["day", 86_400_000, "hour", 3_600_000], ["hour", 3_600_000, "minute", 60_000], ["minute", 60_000, "second", 1000]] as const;
const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 31_536_000_000], ["month", 2_592_000_000], ["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000],
  ["second", 1000],
];

/** Parses a time; a text without a zone counts as UTC. */
export function instant(at: string | number): number {
  if (typeof at === "number") return at;
  const zoned = /(?:[zZ]|[+-]\d\d:?\d\d)$/.test(at) || !at.includes("T");
  return Date.parse(zoned ? at : `${at}Z`);
}

export function formatFor(language: Language, zone: string): Format {
  const unit = (value: number, name: string, digits = 0): string =>
    value.toLocaleString(language, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits });
  const date = (at: string | number | null | undefined, style: Style, tz: string): string => {
    if (at === null || at === undefined) return "–";
    const ms = instant(at);
    return Number.isNaN(ms) ? String(at) : dateFormat(language, tz, style).format(ms);
  };
  return {
    date: (at, style = "daytime") => date(at, style, zone),
    eventTime: (at, style = "daytime") => date(at, style, "UTC"),
    span(ms) {
      if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
      if (ms < 1000) return unit(Math.max(0, Math.round(ms)), "millisecond");
      if (ms < 60_000) return unit(ms / 1000, "second", ms < 10_000 ? 1 : 0);
      const [big, bigMs, small, smallMs] = SPANS.find(([, size]) => ms >= size) ?? SPANS[2];
      const rest = Math.floor((ms % bigMs) / smallMs);
      return `${unit(Math.floor(ms / bigMs), big)}${rest > 0 ? ` ${unit(rest, small)}` : ""}`;
    },
    number: (value, digits = 2) => value.toLocaleString(language, { maximumFractionDigits: digits }),
    fixed: (value, digits) => value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    percent: (share) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 }),
    bytes(value) {
      let step = 0;
      let rest = value;
      while (rest >= 1000 && step < BYTE_UNITS.length - 1) {
        rest /= 1000;
        step += 1;
      }
      return unit(rest, BYTE_UNITS[step] ?? "byte", rest < 10 && step > 0 ? 1 : 0);
    },
    fromNow(at, now) {
      const ms = instant(at) - now;
      const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
      for (const [name, size] of STEPS) {
        if (Math.abs(ms) >= size) return relative.format(Math.trunc(ms / size), name);
      }
      return relative.format(0, "second");
    },
  };
}

// The icons of the UI: 16 by 16 strokes in the colour of the text around them. Always beside a word or with a label.

const PATHS = {
  flow: "M2 4.5h3.5c3 0 2 7 5 7H14M2 11.5h3.5c1.2 0 1.8-1.2 2.2-2.5M10.5 4.5H14",
  table: "M2.5 3h11v10h-11zM2.5 6.5h11M2.5 10h11M6.5 3v10",
  view: "M2 12.5V9.5l3-3.5 3 2.5L14 3M2 14h12",
  dashboard: "M2.5 2.5h4.5v6H2.5zM9 2.5h4.5v3.5H9zM9 8h4.5v5.5H9zM2.5 10.5H7v3H2.5z",
  topic: "M2.5 4h11M2.5 8h11M2.5 12h7",
  worker: "M3 3h10v4H3zM3 9h10v4H3zM5 5h.1M5 11h.1",
  sql: "M3 4l3.5 4L3 12M8.5 12H13",
  play: "M5 3.5l7 4.5-7 4.5z",
  pause: "M5 3.5v9M11 3.5v9",
  rerun: "M13 8A5 5 0 1 1 11.4 4.3M13.2 2v3.2H10",
  stop: "M4 4h8v8H4z",
  backfill: "M13 3v10M10 8H2.5m0 0L6 4.5M2.5 8L6 11.5",
  close: "M4 4l8 8m0-8l-8 8",
  chevron: "M6 3.5L10.5 8 6 12.5",
  down: "M3.5 6L8 10.5 12.5 6",
  warning: "M8 2L14.5 13.5h-13zM8 6.5v3M8 11.5v.1",
  sun: "M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
  clock: "M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0z",
  file: "M4 1.5h5l3 3v10H4zM9 1.5v3h3",
  drop: "M8 1.8c2.7 3 4.3 5.2 4.3 7.4a4.3 4.3 0 0 1-8.6 0C3.7 7 5.3 4.8 8 1.8z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      className="icon" width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" fill="none"
      stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

// One mark a status: a colour and a glyph, so that no status is told by colour alone. The same path table draws badges
// (inline SVG) and the cells of the grid (background images, since thousands of cells must scroll).

export type Tone = "succeeded" | "failed" | "running" | "waiting" | "idle" | "cancelled";

/** Every status of a run, a task or an attempt. */
export type Status =
  | "queued" | "running" | "cancelling" | "succeeded" | "failed" | "cancelled"
  | "waiting" | "ready" | "retrying" | "skipped" | "upstream_failed"
  | "leased" | "timed_out" | "lost";

interface Mark {
  tone: Tone;
  /** Solid marks are filled with their tone; hollow ones only have an outline: nothing has happened yet. */
  solid: boolean;
  /** Strokes in a 16 by 16 box. */
  path: string;
}

export const MARKS: Readonly<Record<Status, Mark>> = {
  succeeded: { tone: "succeeded", solid: true, path: "M3.8 8.4l2.9 2.9 5.5-6.3" },
  failed: { tone: "failed", solid: true, path: "M4.5 4.5l7 7m0-7l-7 7" },
  timed_out: { tone: "failed", solid: true, path: "M8 4v4.3l3 1.7M13 8a5 5 0 1 1-10 0a5 5 0 0 1 10 0" },
  lost: { tone: "failed", solid: true, path: "M5.8 6a2.2 2.2 0 1 1 3.3 1.9c-.8.5-1.1.9-1.1 1.7m0 2.2v.1" },
  upstream_failed: { tone: "failed", solid: false, path: "M4 4h8M8 12.5V7m-2.6 2.4L8 6.8l2.6 2.6" },
  skipped: { tone: "idle", solid: false, path: "M4.2 5l3 3-3 3m4.6-6l3 3-3 3" },
  running: { tone: "running", solid: true, path: "M6 4.3l5.6 3.7L6 11.7z" },
  leased: { tone: "running", solid: false, path: "M6 4.3l5.6 3.7L6 11.7z" },
  retrying: { tone: "waiting", solid: true, path: "M12.2 8A4.2 4.2 0 1 1 10.8 4.9M12.3 3v2.6H9.7" },
  queued: { tone: "idle", solid: false, path: "M4.5 8h.1M8 8h.1m3.4 0h.1" },
  ready: { tone: "idle", solid: false, path: "M4.5 8h.1M8 8h.1m3.4 0h.1" },
  waiting: { tone: "idle", solid: false, path: "M8 8h.1" },
  cancelling: { tone: "cancelled", solid: false, path: "M5 5h6v6H5z" },
  cancelled: { tone: "cancelled", solid: true, path: "M4.5 8h7" },
};

export const STATUSES = Object.keys(MARKS) as Status[];

/** The letter of a task status in a packed row of the grid (`crates/sched/src/status.rs`). */
const LETTERS: Readonly<Record<string, Status>> = {
  w: "waiting", y: "ready", r: "running", t: "retrying", s: "succeeded", f: "failed", k: "skipped", u: "upstream_failed", c: "cancelled",
};

export function statusOfLetter(letter: string): Status {
  return LETTERS[letter] ?? "waiting";
}

export function letterOfStatus(status: Status): string {
  return Object.keys(LETTERS).find((letter) => LETTERS[letter] === status) ?? "w";
}

export function isOver(status: Status): boolean {
  return !["queued", "running", "cancelling", "waiting", "ready", "retrying", "leased"].includes(status);
}

function image(path: string, stroke: string): string {
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="${path}" fill="none" stroke="${stroke}" ` +
    `stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>`;
  return `url("data:image/svg+xml,${encodeURIComponent(svg)}")`;
}

const STROKES = {
  light: { solid: "#fff", failed: "#a8300f", running: "#1a5cb0", waiting: "#7d5a00", idle: "#566a72", cancelled: "#6d477c" },
  dark: { solid: "#06161c", failed: "#ff9a75", running: "#85bcfa", waiting: "#e8c062", idle: "#9db1b8", cancelled: "#cda6da" },
} as const;

function rule(theme: "light" | "dark"): string {
  const images = STATUSES.map((status) => {
    const { tone, solid, path } = MARKS[status];
    const stroke = solid || tone === "succeeded" ? STROKES[theme].solid : STROKES[theme][tone];
    return `--glyph-${status}:${image(path, stroke)};`;
  }).join("");
  return theme === "light" ? `:root{${images}}` : `:root[data-theme="dark"]{${images}}`;
}

function cellRule(status: Status): string {
  const { tone, solid } = MARKS[status];
  const ground = solid ? `var(--${tone})` : `var(--${tone}-wash)`;
  const border = solid ? "transparent" : `var(--${tone})`;
  return `.mark[data-status="${status}"]{--mark:var(--${tone});background-color:${ground};border-color:${border};background-image:var(--glyph-${status})}`;
}

/** The style sheet of all marks, built once from the table above. */
export function markStyles(): string {
  return [rule("light"), rule("dark"), ...STATUSES.map(cellRule)].join("\n");
}

// The log of an attempt, followed by server-sent events while it grows. Stays at the end while the reader is there.
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { useReader } from "../../text/context";
import { useLog } from "./use-log";

interface Props {
  run: number;
  task: string;
  attempt: number;
  hasLog: boolean;
}

export function LogView({ run, task, attempt, hasLog }: Props) {
  const { t } = useReader();
  const { lines, complete } = useLog(run, task, attempt, hasLog);
  const box = useRef<HTMLPreElement>(null);
  const [pinned, setPinned] = useState(true);
  useLayoutEffect(() => {
    if (pinned && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, pinned]);
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const moved = (): void => setPinned(element.scrollTop + element.clientHeight >= element.scrollHeight - 24);
    element.addEventListener("scroll", moved, { passive: true });
    return () => element.removeEventListener("scroll", moved);
  }, []);

  const nothing = lines.length === 0;
  return (
    <div className="log">
      <div className="log-head">
        <h3>{t("log.title")}</h3>
        {hasLog && !complete ? <span className="log-growing">{t("log.growing")}</span> : null}
        {pinned ? null : <button type="button" className="text-button" onClick={() => setPinned(true)}>{t("log.follow")}</button>}
      </div>
      <pre className="log-text" ref={box} tabIndex={0} role="log" aria-label={t("log.label", { task, number: attempt })}>
        {nothing ? <span className="log-nothing">{t(hasLog && !complete ? "log.empty" : "log.none")}</span> : null}
        {lines.map((line, i) => <LogLine key={i} text={line} />)}
      </pre>
    </div>
  );
}

const LEVELS: readonly (readonly [RegExp, string])[] = [
  [/\b(error|failed|fatal|panic)\b/i, "error"],
  [/\bwarn(ing)?\b/i, "warn"],
];

/** The stamp that stands before each line, and the name in brackets of whoever wrote it. */
const STAMP = /^\d{4}-\d{2}-\d{2}T[\d:.]+Z?\s/;

function LogLine({ text }: { text: string }) {
  const level = LEVELS.find(([pattern]) => pattern.test(text))?.[1];
  const stamp = STAMP.exec(text)?.[0] ?? "";
  return (
    <span className="log-line" data-level={level}>
      {stamp ? <span className="log-stamp">{stamp.slice(11)}</span> : null}
      {text.slice(stamp.length)}
      {"\n"}
    </span>
  );
}

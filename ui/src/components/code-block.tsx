// Text of a file with line numbers; one line may be pointed at.
import { useEffect, useRef } from "react";

interface Props {
  label: string;
  text: string;
  line?: number | null;
}

export function CodeBlock({ label, text, line = null }: Props) {
  const pointed = useRef<HTMLSpanElement>(null);
  useEffect(() => pointed.current?.scrollIntoView({ block: "nearest" }), [line]);
  return (
    <pre className="code-block" tabIndex={0} role="group" aria-label={label}>
      <code>
        {text.replace(/\n$/, "").split("\n").map((content, i) => (
          <span key={i} className="code-line" data-pointed={i + 1 === line || undefined} ref={i + 1 === line ? pointed : null}>
            {content}
            {"\n"}
          </span>
        ))}
      </code>
    </pre>
  );
}

// A titled surface: the building block of every page.
import { useId, type ReactNode } from "react";

interface Props {
  title: string;
  aside?: ReactNode;
  flush?: boolean;
  children: ReactNode;
  className?: string;
}

export function Panel({ title, aside, flush = false, children, className }: Props) {
  const heading = useId();
  return (
    <section className={`panel ${className ?? ""}`} aria-labelledby={heading}>
      <header className="panel-head">
        <h2 id={heading}>{title}</h2>
        {aside ? <div className="panel-aside">{aside}</div> : null}
      </header>
      <div className={flush ? "panel-body flush" : "panel-body"}>{children}</div>
    </section>
  );
}

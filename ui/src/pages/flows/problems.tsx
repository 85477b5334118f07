// The broken files of the project: what is wrong, where, the line itself, and how to mend it.
import type { Problem } from "../../api/types";
import { Icon } from "../../components/icon";
import { useReader } from "../../text/context";

export function placeOf(problem: Problem): string {
  return [problem.file, problem.line, problem.column].filter((part) => part !== null && part !== undefined).join(":");
}

export function Problems({ problems }: { problems: readonly Problem[] }) {
  const { t } = useReader();
  if (problems.length === 0) return null;
  const files = new Set(problems.map((problem) => problem.file)).size;
  return (
    <section className="problems" aria-label={t("problems.title", { count: files })}>
      <header>
        <Icon name="warning" size={18} />
        <h2>{t("problems.title", { count: files })}</h2>
        <p>{t("problems.help", { count: files })}</p>
      </header>
      <ul>
        {problems.map((problem) => (
          <li key={`${placeOf(problem)} ${problem.message}`}>
            <p className="problem-place code">{placeOf(problem)}</p>
            <p className="problem-message">{problem.message}</p>
            {problem.excerpt ? <Excerpt text={problem.excerpt} line={problem.line ?? null} column={problem.column ?? null} /> : null}
            {problem.remedy ? <p className="problem-remedy"><b>{t("problems.remedy")}</b> {problem.remedy}</p> : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Excerpt({ text, line, column }: { text: string; line: number | null; column: number | null }) {
  return (
    <pre className="excerpt">
      <code>
        <span className="excerpt-line"><span className="excerpt-number">{line ?? ""}</span>{text}{"\n"}</span>
        {column !== null ? <span className="excerpt-line" aria-hidden="true"><span className="excerpt-number" />{" ".repeat(Math.max(0, column - 1))}<span className="excerpt-caret">^</span></span> : null}
      </code>
    </pre>
  );
}

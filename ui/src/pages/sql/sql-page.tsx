// A console: one statement, its rows. The last statement is kept for the next visit of this tab.
import { useCallback, useState, type KeyboardEvent } from "react";
import { api } from "../../api/client";
import type { Rows } from "../../api/types";
import { Button } from "../../components/button";
import { Fault, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import { RowTable } from "../../components/row-table";
import { useCommand } from "../../components/use-command";
import { useReader } from "../../text/context";

const LIMIT = 1000;
const KEPT = "mulgil.sql";
const FIRST = "SELECT * FROM delays_per_hour\nORDER BY window_start DESC\nLIMIT 20";

function kept(): string {
  try {
    return sessionStorage.getItem(KEPT) ?? FIRST;
  } catch {
    return FIRST;
  }
}

export function SqlPage() {
  const { t, format } = useReader();
  const [sql, setSql] = useState(kept);
  const [answer, setAnswer] = useState<Rows | null>(null);
  const query = useCommand(useCallback(async (statement: string) => {
    try {
      sessionStorage.setItem(KEPT, statement);
    } catch {
      // Only the convenience of the next visit is lost.
    }
    setAnswer(await api.sql(statement, LIMIT));
  }, []));
  const ask = (): void => {
    if (sql.trim() !== "" && !query.busy) void query.run(sql);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    ask();
  };
  return (
    <>
      <PageHead title={t("nav.sql")} />
      <div className="panel sql-editor">
        <textarea
          aria-label={t("sql.statement")} className="code" rows={Math.min(16, Math.max(5, sql.split("\n").length + 1))} spellCheck={false} autoCapitalize="off"
          value={sql} onChange={(event) => setSql(event.target.value)} onKeyDown={onKeyDown}
        />
        <footer>
          <p className="muted">{t("sql.hint")}</p>
          <Button kind="primary" icon="play" busy={query.busy} onClick={ask}>{t("sql.run")}</Button>
        </footer>
      </div>
      <div aria-live="polite">
        {query.error ? <section className="failure" aria-label={t("sql.failed")}><header><h2>{t("sql.failed")}</h2></header><Fault error={query.error} /></section> : null}
        {answer && !query.error ? (
          <Panel
            title={t("sql.result")} flush
            aside={
              <span className="muted">
                {t("sql.took", { rows: t("sql.rows", { count: answer.rows.length }), span: format.span(answer.elapsed_ms) })}
                {answer.truncated ? ` · ${t("sql.truncated", { count: answer.rows.length })}` : ""}
              </span>
            }
          >
            {answer.rows.length === 0 ? <p className="panel-note muted">{t("sql.none")}</p> : <RowTable label={t("sql.result")} columns={answer.columns} rows={answer.rows} exact />}
          </Panel>
        ) : null}
      </div>
    </>
  );
}

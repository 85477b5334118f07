// The reader's settings: language, time zone and theme. Kept in the browser, given to every component by one context.
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { say, type Language, type TextKey, type Values } from "./catalogue";
import { formatFor, type Format } from "./format";

export type Theme = "light" | "dark";

interface Reader {
  language: Language;
  theme: Theme;
  zone: string;
  t: (key: TextKey, values?: Values) => string;
  format: Format;
  setLanguage: (language: Language) => void;
  setTheme: (theme: Theme) => void;
}

const ReaderContext = createContext<Reader | null>(null);

function stored<T extends string>(name: string, allowed: readonly T[]): T | null {
  try {
    return allowed.find((value) => value === localStorage.getItem(name)) ?? null;
  } catch {
    return null;
  }
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser without storage still works; it only forgets the choice.
  }
}

function systemTheme(): Theme {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function ReaderProvider({ zone, children }: { zone: string; children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(
    () => stored("mulgil.language", ["en", "ko"]) ?? (navigator.language.startsWith("ko") ? "ko" : "en"),
  );
  const [chosen, setChosen] = useState<Theme | null>(() => stored("mulgil.theme", ["light", "dark"]));
  const [system, setSystem] = useState<Theme>(systemTheme);
  const theme = chosen ?? system;

  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = (): void => setSystem(systemTheme());
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);

  const reader = useMemo<Reader>(
    () => ({
      language,
      theme,
      zone,
      t: (key, values) => say(language, key, values),
      format: formatFor(language, zone),
      setLanguage: (next) => {
        keep("mulgil.language", next);
        setLanguage(next);
      },
      setTheme: (next) => {
        keep("mulgil.theme", next);
        setChosen(next);
      },
    }),
    [language, theme, zone],
  );
  return <ReaderContext value={reader}>{children}</ReaderContext>;
}

/** The reader's texts, formats and settings. */
export function useReader(): Reader {
  const reader = useContext(ReaderContext);
  if (!reader) throw new Error("useReader needs a ReaderProvider above it");
  return reader;
}

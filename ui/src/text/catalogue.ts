// The one catalogue of texts: a key has a message in every language. A message is a sentence with `{names}`, or one
// sentence a plural form. English is the reference; the compiler and a test hold the other languages to its keys.
import { en } from "./en";
import { ko } from "./ko";

export type Message = string | { readonly one: string; readonly other: string };
export type TextKey = keyof typeof en;
export type Catalogue = Readonly<Record<TextKey, Message>>;
export type Language = "en" | "ko";

export const CATALOGUES: Readonly<Record<Language, Catalogue>> = { en, ko };
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: "English", ko: "한국어" };

export type Values = Readonly<Record<string, string | number>>;

/** The text of `key`, its `{names}` filled in. `count` picks the plural form. */
export function say(language: Language, key: TextKey, values: Values = {}): string {
  const message = CATALOGUES[language][key];
  const count = typeof values.count === "number" ? values.count : 1;
  const form = typeof message === "string" ? message : message[count === 1 ? "one" : "other"];
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? value.toLocaleString(language) : value;
  });
}

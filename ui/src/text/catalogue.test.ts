import { describe, expect, it } from "vitest";
import { CATALOGUES, say, type Language, type Message, type TextKey } from "./catalogue";

const KEYS = Object.keys(CATALOGUES.en) as TextKey[];
const forms = (message: Message): string[] => (typeof message === "string" ? [message] : [message.one, message.other]);
const names = (message: Message): string[] => [...new Set(forms(message).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();

describe.each(Object.keys(CATALOGUES) as Language[])("catalogue %s", (language) => {
  it("has exactly the keys of English", () => {
    expect(Object.keys(CATALOGUES[language]).sort()).toEqual([...KEYS].sort());
  });
  it.each(KEYS)("%s fills in the same names as English, and is not empty", (key) => {
    expect(names(CATALOGUES[language][key])).toEqual(names(CATALOGUES.en[key]));
    for (const form of forms(CATALOGUES[language][key])) expect(form.trim()).not.toBe("");
  });
});

describe("say", () => {
  it("picks the plural form and groups digits", () => {
    expect(say("en", "problems.title", { count: 1 })).toBe("1 file is broken");
    expect(say("en", "problems.title", { count: 2000 })).toBe("2,000 files are broken");
    expect(say("ko", "problems.title", { count: 2 })).toBe("파일 2개에 오류가 있습니다");
  });
});

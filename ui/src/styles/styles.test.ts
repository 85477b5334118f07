// A rule that is not closed swallows all that follow it, and no tool says so.
import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const sheets = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".css"));

it.each(sheets)("%s closes every rule before the next one begins", (name) => {
  const text = readFileSync(`${import.meta.dirname}/${name}`, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  let depth = 0;
  for (const [number, line] of text.split("\n").entries()) {
    // Nothing but a block within a block is indented.
    if (/^[.#a-z:[*]/.test(line)) expect(depth, `${name}:${number + 1}`).toBe(0);
    depth += (line.match(/{/g) ?? []).length - (line.match(/}/g) ?? []).length;
  }
  expect(depth).toBe(0);
});

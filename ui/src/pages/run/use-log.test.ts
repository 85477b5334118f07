import { describe, expect, it } from "vitest";
import { appendText } from "./use-log";

function read(...pieces: string[]): { lines: string[]; open: boolean } {
  let state = { lines: [] as string[], open: false };
  for (const piece of pieces) state = appendText(state.lines, state.open, piece);
  return state;
}

describe("appendText", () => {
  it.each([
    [["a\nb\n"], ["a", "b"]],
    [["a\nhel", "lo\n", "b"], ["a", "hello", "b"]],
    [["a", "\n", "b\n"], ["a", "b"]],
    [["", "a\n\nb\n"], ["a", "", "b"]],
  ])("%j gives %j", (pieces, lines) => {
    expect(read(...pieces).lines).toEqual(lines);
  });
  it("keeps only the newest lines", () => {
    const { lines } = read(Array.from({ length: 6000 }, (_, i) => `${i}\n`).join(""));
    expect(lines).toHaveLength(5000);
    expect(lines.at(-1)).toBe("5999");
  });
});

import { describe, expect, it } from "vitest";
import { address, match } from "./router";

describe("match", () => {
  it.each([
    ["/flows", "/flows/", {}],
    ["/flows/:flow", "/flows/daily_delays", { flow: "daily_delays" }],
    ["/flows/:flow", "/flows/a%2Fb%20%EB%AC%BC", { flow: "a/b 물" }],
    ["/flows/:flow", "/flows", null],
    ["/flows/:flow", "/views/x", null],
    ["/flows/:flow", "/flows/%E0%A4%A", null],
  ])("%s against %s", (pattern, path, params) => {
    expect(match(pattern, path)).toEqual(params);
  });
});

describe("address", () => {
  it("is what match takes apart", () => {
    const path = address("/flows/:flow", { flow: "a/b 물?" });
    expect(match("/flows/:flow", path)).toEqual({ flow: "a/b 물?" });
  });
});

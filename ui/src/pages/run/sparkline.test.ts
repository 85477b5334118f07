import { describe, expect, it } from "vitest";
import { sparkline } from "./sparkline";

describe("sparkline", () => {
  it("spans the width, from the bottom at zero to the top at the highest value", () => {
    expect(sparkline([0, 5, 10], 100, 20)).toBe("0,20 50,10 100,0");
  });
  it("lies at the bottom where nothing was used", () => {
    expect(sparkline([0, 0], 100, 20)).toBe("0,20 100,20");
  });
});

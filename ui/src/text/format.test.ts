import { describe, expect, it } from "vitest";
import { formatFor } from "./format";

const en = formatFor("en", "America/New_York");
const ko = formatFor("ko", "America/New_York");

describe("formatFor", () => {
  it("shows times in the project's zone and event times as written", () => {
    expect(en.date("2013-07-01T10:00:00Z", "daytime")).toBe("Jul 1, 2013, 06:00");
    expect(en.eventTime("2013-07-01T10:00:00", "daytime")).toBe("Jul 1, 2013, 10:00");
    expect(ko.date("2013-07-01T10:00:00Z", "day")).toBe("2013년 7월 1일");
  });
  it.each([
    [0, "0 ms"], [999, "999 ms"], [1500, "1.5 sec"], [75_000, "1 min 15 sec"], [7_500_000, "2 hr 5 min"], [7_200_000, "2 hr"], [90_000_000, "1 day 1 hr"], [null, "–"],
  ])("span %s is %s", (ms, text) => {
    expect(en.span(ms)).toBe(text);
  });
  it("says how far away a time is", () => {
    const now = Date.UTC(2013, 0, 1);
    expect(en.fromNow(now + 3 * 3_600_000, now)).toBe("in 3 hr.");
    expect(ko.fromNow(now - 5 * 60_000, now)).toBe("5분 전");
  });
  it.each([[512, "512 byte"], [1_500_000, "1.5 MB"]])("bytes %d", (value, text) => {
    expect(en.bytes(value)).toBe(text);
  });
});

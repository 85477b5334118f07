import { describe, expect, it } from "vitest";
import { findPlace, withinProject, withoutPlace } from "./place";

describe("findPlace", () => {
  it.each([
    ["landing/2013-02-17.csv:412: dep_delay is not a number", { file: "landing/2013-02-17.csv", line: 412, column: null }],
    ["in /var/x/flights.csv:3:17", { file: "/var/x/flights.csv", line: 3, column: 17 }],
    ["sql/daily_delays.sql, line 7, column 4", { file: "sql/daily_delays.sql", line: 7, column: 4 }],
    ["at 12:30:15 the disk was full", null],
    ["exit code 1", null],
  ])("%s", (text, place) => {
    expect(findPlace(null, text)).toEqual(place);
  });
});

describe("withinProject", () => {
  it.each([
    ["/p/data/a.csv", "/p", "data/a.csv"],
    ["/pp/data/a.csv", "/p", "/pp/data/a.csv"],
    ["data/a.csv", undefined, "data/a.csv"],
  ])("%s in %s", (file, folder, shown) => {
    expect(withinProject(file, folder)).toBe(shown);
  });
});

describe("withoutPlace", () => {
  it.each([
    ["a/b.csv:4: not a number", "not a number"],
    ["not a number in a/b.csv:4", "not a number in a/b.csv:4"],
    ["a/b.csv:4", "a/b.csv:4"],
  ])("%s", (message, sentence) => {
    expect(withoutPlace(message)).toBe(sentence);
  });
});

// Where an error says it happened: `landing/2013-02-17.csv:412` or `...:412:9` somewhere in its words.

export interface Place {
  file: string;
  line: number;
  column: number | null;
}

const PLACE = /((?:[\w.@~%+=-]+\/|\/)*[\w.@~%+=-]+\.\w+):(\d+)(?::(\d+))?/;
const LINE_OF = /((?:[\w.@~%+=-]+\/|\/)*[\w.@~%+=-]+\.\w+)\W+line (\d+)(?:\W+column (\d+))?/;

/** The first place in `texts`, or null. */
export function findPlace(...texts: readonly (string | null | undefined)[]): Place | null {
  for (const text of texts) {
    const found = PLACE.exec(text ?? "") ?? LINE_OF.exec(text ?? "");
    if (found?.[1] && found[2]) return { file: found[1], line: Number(found[2]), column: found[3] ? Number(found[3]) : null };
  }
  return null;
}

/** A path as one names it within the project: without the project's folder. */
export function withinProject(file: string, folder: string | undefined): string {
  return folder && file.startsWith(`${folder}/`) ? file.slice(folder.length + 1) : file;
}

/** The sentence of an error without the place that it begins with, since that is shown apart. */
export function withoutPlace(message: string): string {
  const found = PLACE.exec(message);
  if (!found || found.index !== 0) return message;
  const rest = message.slice(found[0].length).replace(/^[:,\s]+/, "");
  return rest === "" ? message : rest;
}

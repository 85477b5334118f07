// A history router in one page: the address is the only state, patterns are `/flows/:flow`, links are plain anchors.
import { useSyncExternalStore } from "react";

const MOVED = "mulgil:moved";

export type Params = Readonly<Record<string, string>>;

/** Matches `path` against `pattern`; the decoded parameters, or null when it does not match. */
export function match(pattern: string, path: string): Params | null {
  const wanted = pattern.split("/").filter(Boolean);
  const given = path.split("/").filter(Boolean);
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    const piece = given[i] ?? "";
    if (part.startsWith(":")) {
      try {
        params[part.slice(1)] = decodeURIComponent(piece);
      } catch {
        return null;
      }
    } else if (part !== piece) {
      return null;
    }
  }
  return params;
}

/** Builds an address from a pattern: every parameter is encoded. */
export function address(pattern: string, params: Params = {}): string {
  return pattern.replace(/:([a-z]+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
}

/** Goes to an address of this app without loading the page anew. */
export function navigate(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  window.dispatchEvent(new Event(MOVED));
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("popstate", changed);
  window.addEventListener(MOVED, changed);
  return () => {
    window.removeEventListener("popstate", changed);
    window.removeEventListener(MOVED, changed);
  };
}

/** The present path and query, e.g. `/runs/x?task=land`. */
export function useLocation(): URL {
  const href = useSyncExternalStore(subscribe, () => window.location.href);
  return new URL(href);
}

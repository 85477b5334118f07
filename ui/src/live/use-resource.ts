// A resource of the API in a component: asked for when it first shows, live while it stays.
import { useCallback, useSyncExternalStore } from "react";
import { store, type Resource, type Snapshot } from "./store";

export function useResource<T>(resource: Resource<T>): Snapshot<T> {
  const { path } = resource;
  // The path says which resource it is, so a new object with the same path is the same resource.
  const subscribe = useCallback((changed: () => void) => store.watch(resource, changed), [path]);
  return useSyncExternalStore(subscribe, () => store.snapshot<T>(path));
}

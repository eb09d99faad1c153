// Values that outlive a screen: the session, the address, the uploads.
import { useEffect, useReducer } from "preact/hooks";

export class Store<T> {
  #listeners = new Set<() => void>();
  constructor(public value: T) {}
  set(value: T) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.#listeners]) listener();
  }
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export function useStore<T>(store: Store<T>): T {
  const [, again] = useReducer((n: number) => n + 1, 0);
  useEffect(() => store.listen(() => again(undefined as never)), [store]);
  return store.value;
}

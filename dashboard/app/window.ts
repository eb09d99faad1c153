// Which rows of a long list are in the document. Pure, so that a test can try every shape.
export interface Shape { count: number; columns: number; rowHeight: number }

export const columnsIn = (width: number, narrow: boolean, least = 172, gap = 16) =>
  narrow ? 2 : Math.max(1, Math.floor((width + gap) / (least + gap)));

export const rowsOf = ({ count, columns }: Shape) => Math.ceil(count / columns);

/** The half-open range of rows to draw for a view from `top` to `bottom`, in pixels from the start of the list. */
export function visible(shape: Shape, top: number, bottom: number, spare = 3): [number, number] {
  const rows = rowsOf(shape);
  const first = Math.floor(top / shape.rowHeight) - spare;
  const last = Math.ceil(bottom / shape.rowHeight) + spare;
  return [Math.min(Math.max(0, first), rows), Math.max(0, Math.min(rows, last))];
}

/** Where a key leads from an index; null for keys that do not move. */
export function moved(key: string, index: number, { count, columns }: Shape, page: number): number | null {
  const last = count - 1;
  if (last < 0) return null;
  const to = (next: number) => Math.min(last, Math.max(0, next));
  switch (key) {
    case "ArrowLeft": return to(index - 1);
    case "ArrowRight": return to(index + 1);
    case "ArrowUp": return index - columns < 0 ? index : index - columns;
    case "ArrowDown": return index + columns <= last ? index + columns : Math.floor(index / columns) < Math.floor(last / columns) ? last : index;
    case "PageUp": return to(index - page * columns);
    case "PageDown": return to(index + page * columns);
    case "Home": return 0;
    case "End": return last;
    default: return null;
  }
}

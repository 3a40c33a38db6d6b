/** Tables for people: columns aligned, numbers to three significant digits or whole. */

export type Cell = string | number | null;

const SIGNIFICANT = 3;

export function cellText(cell: Cell): string {
  if (cell === null || (typeof cell === 'number' && Number.isNaN(cell))) return '-';
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell) || Math.abs(cell) >= 10 ** (SIGNIFICANT - 1)) {
    return Math.round(cell).toLocaleString('en-US');
  }
  return cell.toPrecision(SIGNIFICANT);
}

/** @returns lines, the first column to the left and the others to the right */
export function tableText(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [head, ...rows.map((row) => row.map(cellText))];
  const widths = head.map((_, column) =>
    Math.max(...texts.map((row) => (row[column] ?? '').length)),
  );
  const lines = texts.map((row) =>
    row
      .map((text, column) =>
        column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!),
      )
      .join('  '),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return `${lines.join('\n')}\n`;
}

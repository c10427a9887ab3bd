"""The table itself: a header, rows, and how they are put together."""

from .cells import cell_text, pad

GAP = "  "


class Table:
    """Rows under a header. Every row has as many cells as the header."""

    def __init__(self, header, rows=()):
        self.header = [cell_text(value) for value in header]
        if not self.header:
            raise ValueError("a table needs at least one column")
        self.rows = []
        for row in rows:
            self.add_row(row)

    def add_row(self, row):
        """Append one row."""
        cells = [cell_text(value) for value in row]
        if len(cells) != len(self.header):
            raise ValueError("expected %d cells, got %d" % (len(self.header), len(cells)))
        self.rows.append(cells)

    def widths(self):
        """The width of each column: that of its longest cell."""
        columns = zip(self.header, *self.rows)
        return [max(len(cell) for cell in column) for column in columns]

    def render(self):
        """The whole table as text, with a line break at its end."""
        widths = self.widths()
        lines = [self._line(self.header, widths)]
        lines.append(GAP.join("-" * width for width in widths))
        for row in self.rows:
            lines.append(self._line(row, widths))
        return "\n".join(lines) + "\n"

    def _line(self, cells, widths):
        padded = [pad(cell, width) for cell, width in zip(cells, widths)]
        return GAP.join(padded).rstrip()

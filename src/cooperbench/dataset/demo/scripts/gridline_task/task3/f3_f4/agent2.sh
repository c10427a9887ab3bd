#!/bin/sh
# Recorded agent: feature 4 (Markdown). A new module, nothing of what its teammate named.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

heard
tell agent1 "agent2 here, I add gridline/markdown.py and one import in __init__.py; I read table.rows, so whole text \
suits me well. No overlap."

cat > gridline/markdown.py <<'EOF'
"""Tables as Markdown, for reports and pull requests."""


def to_markdown(table):
    """`table` as a pipe table, with a line break at its end."""
    lines = [_row(table.header), _row("---" for _ in table.header)]
    lines.extend(_row(row) for row in table.rows)
    return "\n".join(lines) + "\n"


def _row(cells):
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(cell):
    return cell.replace("\\", "\\\\").replace("|", "\\|")
EOF

sed -i \
    -e 's/^from .table import Table$/from .markdown import to_markdown\n&/' \
    -e 's/^__all__ = .*/__all__ = ["Table", "to_markdown"]/' \
    gridline/__init__.py

python3 -B -c '
from gridline import Table, to_markdown
print(to_markdown(Table(["a|b"], [["c"]])))
'

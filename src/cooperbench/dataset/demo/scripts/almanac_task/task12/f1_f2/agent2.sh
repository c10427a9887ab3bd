#!/bin/sh
# Recorded agent: feature 2 (macros). Answers that it needs the line.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

grep -n "split" almanac/schedule.py

case "$(heard)" in
*"that line"*)
    tell agent1 "agent2 here: yes, I need that line, it becomes expand(expression).split(), and I add an import above. \
Could you put names in lower case somewhere else, for example in Field._number? I will not touch fields.py."
    ;;
esac

cat > almanac/macros.py <<'EOF'
"""Words for the schedules that everybody uses."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def expand(expression):
    """The five fields that a macro stands for; any other expression as it is."""
    word = expression.strip().lower()
    if word.startswith("@") and word not in MACROS:
        raise ValueError("unknown macro %r; known: %s" % (expression, ", ".join(sorted(MACROS))))
    return MACROS.get(word, expression)
EOF

python3 - <<'EOF'
from pathlib import Path

path = Path("almanac/schedule.py")
text = path.read_text()
text = text.replace("from .fields import FIELDS\n", "from .fields import FIELDS\nfrom .macros import expand\n")
text = text.replace("parts = expression.split()", "parts = expand(expression).split()")
path.write_text(text)
EOF

heard
python3 -B -m unittest -q

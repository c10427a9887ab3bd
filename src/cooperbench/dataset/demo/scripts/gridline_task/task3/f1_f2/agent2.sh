#!/bin/sh
# Recorded agent: feature 2 (caption). Takes the split that agent1 proposes; does it all when nothing is proposed.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

sed -n "/def render/,/def _line/p" gridline/table.py

case "$(heard)" in
*self.caption*)
    tell agent1 "agent2 here, I have the caption. Good idea, agreed: __init__ is yours, with self.caption set as you \
say; I edit nothing but render(), and only the line that adds the header."
git apply <<'EOF'
diff --git a/gridline/table.py b/gridline/table.py
index c399b24..a2b8b88 100644
--- a/gridline/table.py
+++ b/gridline/table.py
@@ -31,7 +31,11 @@ class Table:
     def render(self):
         """The whole table as text, with a line break at its end."""
         widths = self.widths()
-        lines = [self._line(self.header, widths)]
+        lines = []
+        if self.caption:
+            total = sum(widths) + len(GAP) * (len(widths) - 1)
+            lines.append(self.caption.center(total).rstrip())
+        lines.append(self._line(self.header, widths))
         lines.append(GAP.join("-" * width for width in widths))
         for row in self.rows:
             lines.append(self._line(row, widths))
EOF
    git -c user.name=agent2 -c user.email=agent2@example.org commit -qam "The caption, drawn"
    heard
    if coop fetch agent1; then
        git worktree add -q --detach /tmp/whole
        (
            cd /tmp/whole
            git -c user.name=agent2 -c user.email=agent2@example.org merge -q -m "Both halves" team/agent1
            python3 -B -m unittest -q
            python3 -B -c 'from gridline import Table; print(Table(["n"], [[1]], align="r", caption="both").render())'
        )
        git worktree remove --force /tmp/whole
        tell agent1 "render() draws self.caption now. I merged your branch and mine to try it: all tests pass."
    else
        tell agent1 "render() draws self.caption now. I could not run it without your half; nothing else is touched."
    fi
    ;;
*)
    echo "no proposal: the whole feature"
git apply <<'EOF'
diff --git a/gridline/table.py b/gridline/table.py
index c399b24..c13b514 100644
--- a/gridline/table.py
+++ b/gridline/table.py
@@ -8,10 +8,11 @@ GAP = "  "
 class Table:
     """Rows under a header. Every row has as many cells as the header."""
 
-    def __init__(self, header, rows=()):
+    def __init__(self, header, rows=(), caption=None):
         self.header = [cell_text(value) for value in header]
         if not self.header:
             raise ValueError("a table needs at least one column")
+        self.caption = None if caption is None else cell_text(caption)
         self.rows = []
         for row in rows:
             self.add_row(row)
@@ -31,7 +32,11 @@ class Table:
     def render(self):
         """The whole table as text, with a line break at its end."""
         widths = self.widths()
-        lines = [self._line(self.header, widths)]
+        lines = []
+        if self.caption:
+            total = sum(widths) + len(GAP) * (len(widths) - 1)
+            lines.append(self.caption.center(total).rstrip())
+        lines.append(self._line(self.header, widths))
         lines.append(GAP.join("-" * width for width in widths))
         for row in self.rows:
             lines.append(self._line(row, widths))
EOF
    ;;
esac

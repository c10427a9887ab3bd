#!/bin/sh
# Recorded agent: feature 2 (caption). Never looks at its inbox.
set -eu

sed -n "/class Table/,/def add_row/p" gridline/table.py
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
python3 -B -m unittest -q

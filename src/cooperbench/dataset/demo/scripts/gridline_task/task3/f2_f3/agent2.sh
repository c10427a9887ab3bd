#!/bin/sh
# Recorded agent: feature 3 (max_width). Does not say what it edits.
set -eu

cat gridline/cells.py
git apply <<'EOF'
diff --git a/gridline/cells.py b/gridline/cells.py
index 74fe27d..b59f5d3 100644
--- a/gridline/cells.py
+++ b/gridline/cells.py
@@ -15,3 +15,10 @@ def cell_text(value):
 def pad(text, width):
     """`text` filled up with blanks to `width`."""
     return text + " " * (width - len(text))
+
+
+def shorten(text, width):
+    """`text` cut to `width` characters, with an ellipsis for what is missing."""
+    if width is None or len(text) <= width:
+        return text
+    return text[: width - 3] + "..."
diff --git a/gridline/table.py b/gridline/table.py
index c399b24..5b620a0 100644
--- a/gridline/table.py
+++ b/gridline/table.py
@@ -1,6 +1,6 @@
 """The table itself: a header, rows, and how they are put together."""
 
-from .cells import cell_text, pad
+from .cells import cell_text, pad, shorten
 
 GAP = "  "
 
@@ -8,10 +8,13 @@ GAP = "  "
 class Table:
     """Rows under a header. Every row has as many cells as the header."""
 
-    def __init__(self, header, rows=()):
+    def __init__(self, header, rows=(), max_width=None):
         self.header = [cell_text(value) for value in header]
         if not self.header:
             raise ValueError("a table needs at least one column")
+        if max_width is not None and max_width < 4:
+            raise ValueError("max_width must leave room for one character and the ellipsis: at least 4")
+        self.max_width = max_width
         self.rows = []
         for row in rows:
             self.add_row(row)
@@ -26,7 +29,7 @@ class Table:
     def widths(self):
         """The width of each column: that of its longest cell."""
         columns = zip(self.header, *self.rows)
-        return [max(len(cell) for cell in column) for column in columns]
+        return [max(len(shorten(cell, self.max_width)) for cell in column) for column in columns]
 
     def render(self):
         """The whole table as text, with a line break at its end."""
@@ -38,5 +41,6 @@ class Table:
         return "\n".join(lines) + "\n"
 
     def _line(self, cells, widths):
-        padded = [pad(cell, width) for cell, width in zip(cells, widths)]
+        cut = [shorten(cell, self.max_width) for cell in cells]
+        padded = [pad(cell, width) for cell, width in zip(cut, widths)]
         return GAP.join(padded).rstrip()
EOF
python3 -B -m unittest -q

#!/bin/sh
# Recorded agent: feature 1 (align). Proposes who edits which lines, and keeps to the answer.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

grep -n "def " gridline/table.py gridline/cells.py

tell agent2 "agent1 here, I have column alignment. We both need a new keyword of Table.__init__, so its signature \
will collide. Proposal: I write the signature for both of us (rows=(), align=None, caption=None) and store self.align \
and self.caption (already one line of text). You leave __init__ alone and draw self.caption in render(). I stay out \
of render(): alignment goes into _line() and cells.py. Do you agree?"

case "$(heard)" in
*agreed*)
git apply <<'EOF'
diff --git a/gridline/cells.py b/gridline/cells.py
index 74fe27d..166ef78 100644
--- a/gridline/cells.py
+++ b/gridline/cells.py
@@ -12,6 +12,17 @@ def cell_text(value):
     return " ".join(str(value).split("\n"))
 
 
-def pad(text, width):
-    """`text` filled up with blanks to `width`."""
-    return text + " " * (width - len(text))
+def pad(text, width, side="l"):
+    """`text` filled up with blanks to `width`, set to the left, the right or the centre."""
+    blanks = width - len(text)
+    before = {"l": 0, "r": blanks, "c": blanks // 2}[side]
+    return " " * before + text + " " * (blanks - before)
+
+
+def check_align(align, columns):
+    """One letter a column; all `l` when nothing is asked for."""
+    if align is None:
+        return "l" * columns
+    if len(align) != columns or align.strip("lrc"):
+        raise ValueError("align takes one of l, r, c for each of %d columns, got %r" % (columns, align))
+    return align
diff --git a/gridline/table.py b/gridline/table.py
index c399b24..c1ed0d5 100644
--- a/gridline/table.py
+++ b/gridline/table.py
@@ -1,6 +1,6 @@
 """The table itself: a header, rows, and how they are put together."""
 
-from .cells import cell_text, pad
+from .cells import cell_text, check_align, pad
 
 GAP = "  "
 
@@ -8,10 +8,12 @@ GAP = "  "
 class Table:
     """Rows under a header. Every row has as many cells as the header."""
 
-    def __init__(self, header, rows=()):
+    def __init__(self, header, rows=(), align=None, caption=None):
         self.header = [cell_text(value) for value in header]
         if not self.header:
             raise ValueError("a table needs at least one column")
+        self.align = check_align(align, len(self.header))
+        self.caption = None if caption is None else cell_text(caption)
         self.rows = []
         for row in rows:
             self.add_row(row)
@@ -38,5 +40,5 @@ class Table:
         return "\n".join(lines) + "\n"
 
     def _line(self, cells, widths):
-        padded = [pad(cell, width) for cell, width in zip(cells, widths)]
+        padded = [pad(cell, width, side) for cell, width, side in zip(cells, widths, self.align)]
         return GAP.join(padded).rstrip()
EOF
    # Where branches are shared, its teammate can try both halves together.
    git -c user.name=agent1 -c user.email=agent1@example.org commit -qam "Column alignment, and __init__ for both"
    pushed=""
    if coop push; then pushed=" My branch is pushed."; fi
    tell agent2 "Done: __init__ takes align and caption, self.caption is None or one line of text. render() is yours.\
$pushed"
    heard
    ;;
*)
    echo "no agreement: only my own keyword"
git apply <<'EOF'
diff --git a/gridline/cells.py b/gridline/cells.py
index 74fe27d..166ef78 100644
--- a/gridline/cells.py
+++ b/gridline/cells.py
@@ -12,6 +12,17 @@ def cell_text(value):
     return " ".join(str(value).split("\n"))
 
 
-def pad(text, width):
-    """`text` filled up with blanks to `width`."""
-    return text + " " * (width - len(text))
+def pad(text, width, side="l"):
+    """`text` filled up with blanks to `width`, set to the left, the right or the centre."""
+    blanks = width - len(text)
+    before = {"l": 0, "r": blanks, "c": blanks // 2}[side]
+    return " " * before + text + " " * (blanks - before)
+
+
+def check_align(align, columns):
+    """One letter a column; all `l` when nothing is asked for."""
+    if align is None:
+        return "l" * columns
+    if len(align) != columns or align.strip("lrc"):
+        raise ValueError("align takes one of l, r, c for each of %d columns, got %r" % (columns, align))
+    return align
diff --git a/gridline/table.py b/gridline/table.py
index c399b24..98212dc 100644
--- a/gridline/table.py
+++ b/gridline/table.py
@@ -1,6 +1,6 @@
 """The table itself: a header, rows, and how they are put together."""
 
-from .cells import cell_text, pad
+from .cells import cell_text, check_align, pad
 
 GAP = "  "
 
@@ -8,10 +8,11 @@ GAP = "  "
 class Table:
     """Rows under a header. Every row has as many cells as the header."""
 
-    def __init__(self, header, rows=()):
+    def __init__(self, header, rows=(), align=None):
         self.header = [cell_text(value) for value in header]
         if not self.header:
             raise ValueError("a table needs at least one column")
+        self.align = check_align(align, len(self.header))
         self.rows = []
         for row in rows:
             self.add_row(row)
@@ -38,5 +39,5 @@ class Table:
         return "\n".join(lines) + "\n"
 
     def _line(self, cells, widths):
-        padded = [pad(cell, width) for cell, width in zip(cells, widths)]
+        padded = [pad(cell, width, side) for cell, width, side in zip(cells, widths, self.align)]
         return GAP.join(padded).rstrip()
EOF
    ;;
esac

python3 -B -m unittest -q

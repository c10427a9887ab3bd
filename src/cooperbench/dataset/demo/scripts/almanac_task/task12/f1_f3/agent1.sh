#!/bin/sh
# Recorded agent: feature 1 (names). Agrees on files with its teammate, but not on what the numbers mean.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

tell agent2 "agent1 here, names of months and weekdays: a new names.py, Field._number in fields.py, and the line with \
split() in schedule.py. Where are you?"
heard
git apply <<'EOF'
diff --git a/almanac/fields.py b/almanac/fields.py
index 38e98c5..056bbad 100644
--- a/almanac/fields.py
+++ b/almanac/fields.py
@@ -1,5 +1,7 @@
 """One field of an expression: its bounds, and the numbers that a text stands for."""
 
+from .names import NAMES
+
 
 class Field:
     """A field with all the numbers it may hold."""
@@ -29,6 +31,7 @@ class Field:
         return range(first, last + 1, self._step(step) if slash else 1)
 
     def _number(self, text):
+        text = NAMES.get(self.name, {}).get(text, text)
         if not text.isdecimal():
             raise ValueError("%s: %r is not a number" % (self.name, text))
         number = int(text)
diff --git a/almanac/names.py b/almanac/names.py
new file mode 100644
index 0000000..caaabdc
--- /dev/null
+++ b/almanac/names.py
@@ -0,0 +1,11 @@
+"""Names that may stand in place of numbers, in lower case."""
+
+
+def _numbered(names, first):
+    return {name: str(number) for number, name in enumerate(names.split(), first)}
+
+
+NAMES = {
+    "month": _numbered("jan feb mar apr may jun jul aug sep oct nov dec", 1),
+    "weekday": _numbered("mon tue wed thu fri sat sun", 0),
+}
diff --git a/almanac/schedule.py b/almanac/schedule.py
index 0a30d27..b389b4d 100644
--- a/almanac/schedule.py
+++ b/almanac/schedule.py
@@ -7,7 +7,7 @@ class Schedule:
     """When something happens, as a crontab says it."""
 
     def __init__(self, expression):
-        parts = expression.split()
+        parts = expression.lower().split()
         if len(parts) != len(FIELDS):
             raise ValueError("expected %d fields, got %d: %r" % (len(FIELDS), len(parts), expression))
         self.expression = " ".join(parts)
EOF
python3 -B -m unittest -q
tell agent2 "Done. mon is 0, as the README says. All tests pass here."
heard

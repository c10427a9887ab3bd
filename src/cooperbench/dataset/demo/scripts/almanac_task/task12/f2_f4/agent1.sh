#!/bin/sh
# Recorded agent: feature 2 (macros). Announces its lines.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

coop broadcast "agent1 here, macros: a new macros.py and the first lines of Schedule.__init__." || true
git apply <<'EOF'
diff --git a/almanac/macros.py b/almanac/macros.py
new file mode 100644
index 0000000..d0add2c
--- /dev/null
+++ b/almanac/macros.py
@@ -0,0 +1,18 @@
+"""Words for the schedules that everybody uses."""
+
+MACROS = {
+    "@hourly": "0 * * * *",
+    "@daily": "0 0 * * *",
+    "@midnight": "0 0 * * *",
+    "@monthly": "0 0 1 * *",
+    "@yearly": "0 0 1 1 *",
+    "@annually": "0 0 1 1 *",
+}
+
+
+def expand(expression):
+    """The five fields that a macro stands for; any other expression as it is."""
+    word = expression.strip().lower()
+    if word.startswith("@") and word not in MACROS:
+        raise ValueError("unknown macro %r; known: %s" % (expression, ", ".join(sorted(MACROS))))
+    return MACROS.get(word, expression)
diff --git a/almanac/schedule.py b/almanac/schedule.py
index 0a30d27..3adb898 100644
--- a/almanac/schedule.py
+++ b/almanac/schedule.py
@@ -1,13 +1,14 @@
 """The schedule: five fields that must all hold."""
 
 from .fields import FIELDS
+from .macros import expand
 
 
 class Schedule:
     """When something happens, as a crontab says it."""
 
     def __init__(self, expression):
-        parts = expression.split()
+        parts = expand(expression).split()
         if len(parts) != len(FIELDS):
             raise ValueError("expected %d fields, got %d: %r" % (len(FIELDS), len(parts), expression))
         self.expression = " ".join(parts)
EOF
python3 -B -m unittest -q
heard

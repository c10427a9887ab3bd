#!/bin/sh
# Recorded agent: feature 4 (next times). Keeps to the end of the class.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

heard
tell agent1 "agent2 here, next_after and upcoming: a new search.py, both methods at the end of Schedule, and I import \
the module above your import line, with a blank line between."
git apply <<'EOF'
diff --git a/almanac/schedule.py b/almanac/schedule.py
index 0a30d27..69baa0d 100644
--- a/almanac/schedule.py
+++ b/almanac/schedule.py
@@ -1,5 +1,6 @@
 """The schedule: five fields that must all hold."""
 
+from . import search
 from .fields import FIELDS
 
 
@@ -32,3 +33,17 @@ class Schedule:
 
     def __repr__(self):
         return "Schedule(%r)" % self.expression
+
+    def next_after(self, moment):
+        """The next time it happens, later than `moment`; None when it never does."""
+        return search.next_after(self, moment)
+
+    def upcoming(self, moment, count):
+        """The next `count` times, fewer when there are no more."""
+        found = []
+        while len(found) < count:
+            moment = search.next_after(self, moment)
+            if moment is None:
+                break
+            found.append(moment)
+        return found
diff --git a/almanac/search.py b/almanac/search.py
new file mode 100644
index 0000000..103631f
--- /dev/null
+++ b/almanac/search.py
@@ -0,0 +1,20 @@
+"""Finding the next time."""
+
+from datetime import datetime, time, timedelta
+
+# A leap day falls on a given weekday once in 28 years, in 40 around a century without one.
+YEARS = 40
+
+
+def next_after(schedule, moment):
+    """The first minute after `moment` that `schedule` matches; None when there is none."""
+    times = [time(hour, minute) for hour in sorted(schedule.hours) for minute in sorted(schedule.minutes)]
+    day = moment.date()
+    last = day + timedelta(days=366 * YEARS)
+    while day <= last:
+        if schedule.matches(datetime.combine(day, times[0])):
+            for candidate in (datetime.combine(day, each) for each in times):
+                if candidate > moment:
+                    return candidate
+        day += timedelta(days=1)
+    return None
EOF
python3 -B -c '
from datetime import datetime
from almanac import Schedule
print(Schedule("*/15 8-17 * * *").upcoming(datetime(2024, 5, 6, 17, 40), 3))
'

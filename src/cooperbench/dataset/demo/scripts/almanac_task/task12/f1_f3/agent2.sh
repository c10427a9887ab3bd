#!/bin/sh
# Recorded agent: feature 3 (weekday numbers). Sees that the lines differ and looks no further.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

heard
tell agent1 "agent2 here, weekday numbers as in cron: one line of FIELDS and one line of matches(). Our lines do not \
overlap, so there will be no conflict. Go ahead."

sed -i 's/Field("weekday", 0, 6)/Field("weekday", 0, 7)/' almanac/fields.py
git apply <<'EOF'
diff --git a/README.md b/README.md
index a5aeb52..ba3934d 100644
--- a/README.md
+++ b/README.md
@@ -16,4 +16,5 @@ Five fields: minute, hour, day of the month, month, weekday. A field is `*`, a n
 with a step (`*/15`, `8-17/2`), or several of these with commas.
 
 All five must hold. (cron itself wants only one of day and weekday when both are given; this is on purpose not so
-here.) Weekdays are 0 to 6, with Monday as 0, as in `datetime`.
+here.) Weekdays are 0 to 7 as cron counts
+them: 1 is Monday, 6 is Saturday, Sunday is both 0 and 7.
diff --git a/almanac/schedule.py b/almanac/schedule.py
index 0a30d27..807a03c 100644
--- a/almanac/schedule.py
+++ b/almanac/schedule.py
@@ -21,7 +21,7 @@ class Schedule:
             and moment.hour in self.hours
             and moment.day in self.days
             and moment.month in self.months
-            and moment.weekday() in self.weekdays
+            and not self.weekdays.isdisjoint((moment.isoweekday(), moment.isoweekday() % 7))
         )
 
     def __eq__(self, other):
EOF
python3 -B -m unittest -q
tell agent1 "Done, and all tests pass here."
heard

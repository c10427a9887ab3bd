#!/bin/sh
# Recorded agent: feature 1 (priorities). Makes a proposal, takes silence for consent, and reads the answer too late.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

tell agent2 "agent1 here, priorities. We both add an option to add(). Let me write one loop over the options that \
takes -p and -d, and you fill in the -d branch. I start now."
git apply <<'EOF'
diff --git a/bin/todo b/bin/todo
index 267086c..d67d1b7 100755
--- a/bin/todo
+++ b/bin/todo
@@ -8,7 +8,8 @@ usage() {
     cat <<'END'
 usage: todo COMMAND
 
-  add TEXT       put an entry on the list
+  add [-p A|B|C] TEXT
+                 put an entry on the list
   list           show the open entries
   done NUMBER    finish an entry
   help           show this text
@@ -21,12 +22,27 @@ fail() {
 }
 
 add() {
+    priority=
+    if [ "${1:-}" = -p ]; then
+        case ${2:-} in
+        [ABC]) priority="($2) " ;;
+        *) fail "a priority is A, B or C" ;;
+        esac
+        shift 2
+    fi
     [ $# -gt 0 ] || fail "nothing to add"
-    printf '[ ] %s\n' "$*" >>"$file"
+    printf '[ ] %s%s\n' "$priority" "$*" >>"$file"
 }
 
 list() {
-    sed -n '/^\[ \] /{=;p;}' "$file" | sed 'N;s/\n\[ \]//'
+    for priority in A B C; do
+        entries "\\[ \\] ($priority) "
+    done
+    entries '\[ \] ' | grep -v '^[0-9]* ([ABC]) ' || true
+}
+
+entries() {
+    sed -n "/^$1/{=;p;}" "$file" | sed 'N;s/\n\[ \]//'
 }
 
 finish() {
EOF
sh tests/run.sh
heard

#!/bin/sh
# Recorded agent: feature 2 (due dates). Edits first and reads its messages afterwards.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

sed -n "/^add()/,/^}/p" bin/todo
git apply <<'EOF'
diff --git a/bin/todo b/bin/todo
index 267086c..0308ccb 100755
--- a/bin/todo
+++ b/bin/todo
@@ -8,7 +8,8 @@ usage() {
     cat <<'END'
 usage: todo COMMAND
 
-  add TEXT       put an entry on the list
+  add [-d YYYY-MM-DD] TEXT
+                 put an entry on the list
   list           show the open entries
   done NUMBER    finish an entry
   help           show this text
@@ -21,8 +22,16 @@ fail() {
 }
 
 add() {
+    due=
+    if [ "${1:-}" = -d ]; then
+        case ${2:-} in
+        [0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]) due=" due:$2" ;;
+        *) fail "a date looks like 2025-01-31" ;;
+        esac
+        shift 2
+    fi
     [ $# -gt 0 ] || fail "nothing to add"
-    printf '[ ] %s\n' "$*" >>"$file"
+    printf '[ ] %s%s\n' "$*" "$due" >>"$file"
 }
 
 list() {
EOF
sh tests/run.sh

case "$(heard)" in
*"one loop"*)
    tell agent1 "agent2 here: sorry, I read this only now. My -d is in add() already, in an if of its own. This will \
conflict, and I have finished."
    ;;
esac

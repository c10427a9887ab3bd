#!/bin/sh
# Recorded agent: feature 4 (stats). Takes the deal: it was going there anyway.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

case "$(heard)" in
*Deal*) tell agent1 "agent2 here, stats. Deal: everything of mine goes behind done, nothing in front of it." ;;
esac
git apply <<'EOF'
diff --git a/bin/todo b/bin/todo
index 267086c..5d12c8f 100755
--- a/bin/todo
+++ b/bin/todo
@@ -11,6 +11,7 @@ usage: todo COMMAND
   add TEXT       put an entry on the list
   list           show the open entries
   done NUMBER    finish an entry
+  stats          count open and finished entries
   help           show this text
 END
 }
@@ -38,6 +39,17 @@ finish() {
     mv "$file.new" "$file"
 }
 
+stats() {
+    open=$(grep -c '^\[ \] ' "$file" || true)
+    finished=$(grep -c '^\[x\] ' "$file" || true)
+    total=$((open + finished))
+    if [ "$total" -eq 0 ]; then
+        echo "nothing yet"
+    else
+        echo "$open open, $finished done ($((finished * 100 / total))%)"
+    fi
+}
+
 [ -f "$file" ] || : >"$file"
 command=${1:-list}
 [ $# -eq 0 ] || shift
@@ -46,6 +58,7 @@ case $command in
 add) add "$@" ;;
 list) list ;;
 done) finish "$@" ;;
+stats) stats ;;
 help) usage ;;
 *) usage >&2; exit 2 ;;
 esac
EOF
sh tests/run.sh

#!/bin/sh
# Recorded agent: feature 3 (search). Proposes a place for each new command.
set -eu

tell() { coop send "$@" || echo "message not sent" >&2; }
heard() { coop inbox --wait 120 || true; }

echo "with me: $(coop who || true)"
tell agent2 "agent1 here, the search command. Two new commands at the same place will collide. Proposal: mine goes \
right behind list (function, usage line and case branch), yours right behind done. Deal?"

case "$(heard)" in
*[Dd]eal*)
git apply <<'EOF'
diff --git a/bin/todo b/bin/todo
index 267086c..18d1571 100755
--- a/bin/todo
+++ b/bin/todo
@@ -10,6 +10,7 @@ usage: todo COMMAND
 
   add TEXT       put an entry on the list
   list           show the open entries
+  search TEXT    show the open entries with TEXT in them
   done NUMBER    finish an entry
   help           show this text
 END
@@ -29,6 +30,13 @@ list() {
     sed -n '/^\[ \] /{=;p;}' "$file" | sed 'N;s/\n\[ \]//'
 }
 
+search() {
+    [ $# -gt 0 ] || fail "nothing to search for"
+    list | while read -r number text; do
+        ! printf '%s\n' "$text" | grep -q -i -F -e "$*" || echo "$number $text"
+    done
+}
+
 finish() {
     case ${1:-} in
     '' | *[!0-9]*) fail "done takes the number of an entry" ;;
@@ -45,6 +53,7 @@ command=${1:-list}
 case $command in
 add) add "$@" ;;
 list) list ;;
+search) search "$@" ;;
 done) finish "$@" ;;
 help) usage ;;
 *) usage >&2; exit 2 ;;
EOF
    ;;
*)
git apply <<'EOF'
diff --git a/bin/todo b/bin/todo
index 267086c..eb9086b 100755
--- a/bin/todo
+++ b/bin/todo
@@ -11,6 +11,7 @@ usage: todo COMMAND
   add TEXT       put an entry on the list
   list           show the open entries
   done NUMBER    finish an entry
+  search TEXT    show the open entries with TEXT in them
   help           show this text
 END
 }
@@ -38,6 +39,13 @@ finish() {
     mv "$file.new" "$file"
 }
 
+search() {
+    [ $# -gt 0 ] || fail "nothing to search for"
+    list | while read -r number text; do
+        ! printf '%s\n' "$text" | grep -q -i -F -e "$*" || echo "$number $text"
+    done
+}
+
 [ -f "$file" ] || : >"$file"
 command=${1:-list}
 [ $# -eq 0 ] || shift
@@ -46,6 +54,7 @@ case $command in
 add) add "$@" ;;
 list) list ;;
 done) finish "$@" ;;
+search) search "$@" ;;
 help) usage ;;
 *) usage >&2; exit 2 ;;
 esac
EOF
    ;;
esac

sh tests/run.sh

#!/bin/sh
# Stands in for the AWS CLI: notes each call and each file that is given to it, and answers from the files in answers/.
# "SERVICE OPERATION" or "SERVICE wait WAITER" is answered by the file of its name with .out, or .err if it fails; the
# nth call by those with .n before that, if there are any.
home=$(dirname "$0")/..
operation="$1 $2"
[ "$2" = wait ] && operation="$operation $3"
# An argument may have several lines.
printf '%s\n' "$(printf '%s' "$*" | tr '\n' ' ')" >> "$home/calls"
n=$(grep -c "^$operation" "$home/calls")

previous=
for word; do
    case $previous in --output-template-file) cp "$home/packaged.json" "$word" ;; esac
    case $word in
    fileb://* | file://*) { printf '%s: ' "$operation"; cat "${word#*://}"; echo; } >> "$home/sent" ;;
    esac
    previous=$word
done

for answer in "$home/answers/$operation.$n" "$home/answers/$operation"; do
    if [ -f "$answer.err" ]; then
        cat "$answer.err" >&2
        exit 254
    fi
    if [ -f "$answer.out" ]; then
        cat "$answer.out"
        exit 0
    fi
done
echo "the stand-in has no answer for: $*" >&2
exit 252

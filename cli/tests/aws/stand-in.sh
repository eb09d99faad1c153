#!/bin/sh
# A stand-in for the AWS CLI: records each call and each file passed to it, and responds with the files in answers/.
# The response to "SERVICE OPERATION" or "SERVICE wait WAITER" is the file of that name with .out, or .err if it fails;
# for the nth call with .n before the suffix, if that file exists.
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

#!/bin/sh
# tests/check_limits.sh [FILE]: what a user pays for including vq.h stays small: at most 10,000
# lines, 5 s of "cc -O2 -c" of the implementation (processor time, the least of three, since other
# load only adds to it) and 1.5 MB of code. Prints the numbers, then "check_limits: N passed, N failed".
set -eu
file=${1:-vq.h}
test -r "$file" || { echo "check_limits.sh: cannot read $file"; exit 1; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/vq_limits.XXXXXX")
trap 'rm -rf "$dir"' EXIT

lines=$(awk 'END { print NR }' "$file")
path=$(cd "$(dirname "$file")" && pwd)/${file##*/}
printf '#define VQ_IMPLEMENTATION\n#include "%s"\n' "$path" > "$dir/vq.c"
for i in 1 2 3; do
    (${CC:-cc} -O2 -c -o "$dir/vq.o" "$dir/vq.c" 2> "$dir/log" && times >> "$dir/times") || {
        head -n 10 "$dir/log"
        echo "check_limits: 0 passed, 3 failed"
        exit 1
    }
done
size "$dir/vq.o" > "$dir/size"

# `times` has the children in every second line: user and system, as 0m1.25s.
awk -v lines="$lines" -v from="$dir" '
function seconds(t,    part) { split(t, part, /[ms]/); return part[1] * 60 + part[2] }
function limit(what, value, most,    over) {
    over = value + 0 > most + 0
    printf("  %-20s %12s of %s%s\n", what, value, most, over ? "    FAILED" : "")
    if (over) failed++
    else passed++
}
BEGIN {
    while ((getline < (from "/times")) > 0 && (getline < (from "/times")) > 0) {
        took = seconds($1) + seconds($2)
        if (!time || took < time) time = took
    }
    getline < (from "/size")
    getline < (from "/size")
    limit("lines", lines, 10000)
    limit("seconds to compile", sprintf("%.2f", time), 5)
    limit("bytes of code", $1, 1500000)
    print "check_limits: " passed + 0 " passed, " failed + 0 " failed"
    exit failed > 0
}'

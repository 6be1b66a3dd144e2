#!/bin/sh
# tests/run.sh PROGRAM... [-- ARGUMENT...]: runs each program with the arguments, those that end in
# .sh with sh and in .py with python3, two at a time (JOBS=n: n), and prints the output of each
# whole and in the order given.
#
# A program ends with a line "NAME: N passed, N failed[, N skipped]" and a status of 0 if none
# failed. The last line here has the sums. A program without that line, or whose status denies it,
# is one failure more and is named; so is one that hangs for VQ_TEST_SECONDS, 1200. Exits 1 if anything failed, or no program was given.
set -eu

jobs=${JOBS:-2}
dir=$(mktemp -d "${TMPDIR:-/tmp}/vq_run.XXXXXX")
children=
trap 'rm -rf "$dir"' EXIT
trap 'kill $children 2> /dev/null; exit 1' HUP INT TERM

n=0
while test $# -gt 0; do
    test "$1" = -- && { shift; break; }
    n=$((n + 1))
    printf '%s\n' "$1" > "$dir/$n.name"
    shift
done

# In the background: runs program $1 with the other arguments; leaves its output, then its status.
# Background jobs are deaf to an interrupt: it is the main program that ends them.
run() {
    trap - EXIT
    i=$1
    shift
    read -r program < "$dir/$i.name"
    case $program in
    *.sh) set -- sh "$program" "$@" ;;
    *.py) set -- python3 "$program" "$@" ;;
    */*)  set -- "$program" "$@" ;;
    *)    set -- "./$program" "$@" ;;
    esac
    status=0
    if command -v timeout > /dev/null 2>&1; then set -- timeout "${VQ_TEST_SECONDS:-1200}" "$@"; fi
    "$@" > "$dir/$i.out" 2>&1 < /dev/null &
    child=$!
    trap 'kill $child 2> /dev/null; exit 1' HUP INT TERM
    wait $child || status=$?
    echo $status > "$dir/$i.part"
    mv "$dir/$i.part" "$dir/$i.status"
}

# Prints the output of program $1 and adds up its counts.
report() {
    read -r program < "$dir/$1.name"
    read -r status < "$dir/$1.status"
    awk '{ print }' "$dir/$1.out"
    set -- $(awk '
        /^[^ ]+: [0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { at = NR; line = $0 }
        END {
            sub(/^[^ ]+: /, "", line)
            split(line, part, /[^0-9]+/)
            print part[1] + 0, part[2] + 0, part[3] + 0, (!at ? "none" : at == NR ? "last" : "more")
        }' "$dir/$1.out")
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    wrong=
    case $4 in
    none) wrong="no closing line" ;;
    more) wrong="output after the closing line" ;;
    esac
    test "$status" -ne 0 || test "$2" -eq 0 || wrong="tests failed"
    test "$status" -eq 0 || test "$2" -ne 0 || wrong=${wrong:-"no test failed"}
    if test -n "$wrong"; then
        how="status $status"
        test "$status" -le 128 || how="signal $((status - 128))"
        echo "$program: FAILED: $wrong, and it ended with $how"
        failed=$((failed + 1))
    fi
}

# As many as $jobs run at once, at any distance ahead of the one that is printed next.
passed=0 failed=0 skipped=0 started=0 shown=0
while test $shown -lt $n; do
    running=0
    i=$shown
    while test $i -lt $started; do
        i=$((i + 1))
        test -e "$dir/$i.status" || running=$((running + 1))
    done
    if test $started -lt $n && test $running -lt "$jobs"; then
        started=$((started + 1))
        run $started "$@" &
        children="$children $!"
    elif test -e "$dir/$((shown + 1)).status"; then
        shown=$((shown + 1))
        report $shown
    else
        sleep 0.1 2> /dev/null || sleep 1
    fi
done

if test $n = 0; then
    echo "run.sh: no program was given"
    failed=1
fi
tail=
test $skipped = 0 || tail=", $skipped skipped"
echo "$passed passed, $failed failed$tail"
test $failed = 0

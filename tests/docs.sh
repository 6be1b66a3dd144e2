#!/bin/sh
# tests/docs.sh [--check]: puts the generated parts of vq.h and README.md in their places, which are
# between two equal lines "VQ_GENERATED name" (in README.md "<!-- VQ_GENERATED name -->"). With
# --check it changes nothing: it shows what differs, also between the version in the first line of
# vq.h, VQ_VERSION, CHANGES.md and README.md, and ends with "docs: N passed, N failed".
#
# Run it at the top of the repository, after "make build/docs". A missing line is an error.
set -eu

check=0
case ${1:-} in
--check) check=1 ;;
"") ;;
*) echo "usage: tests/docs.sh [--check]" >&2; exit 2 ;;
esac
test -x build/docs || { echo "docs.sh: build/docs is not there: make build/docs" >&2; exit 1; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/vq_docs.XXXXXX")
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0
good() { passed=$((passed + 1)); }
bad()  { failed=$((failed + 1)); echo "docs.sh: $*"; }

# Puts the lines of file $3 between the two lines "$2" of file $1, as $dir/new.
between() {
    awk -v mark="$2" -v from="$3" '
        $0 == mark {
            print
            if (++seen == 1) while ((getline line < from) > 0) print line
            next
        }
        seen != 1 { print }
        END { exit seen != 2 }' "$1" > "$dir/new"
}

# One region: file $1, marker line $2, content in $dir/text.
region() {
    test -r "$1" || { bad "$1 is missing"; return; }
    between "$1" "$2" "$dir/text" || { bad "$1 must have the line \"$2\" twice"; return; }
    if cmp -s "$1" "$dir/new"; then
        good
    elif test $check = 0; then
        cat "$dir/new" > "$1"
        echo "$1: $2"
        good
    else
        bad "$1 is stale: make docs"
        diff -u "$1" "$dir/new" || true
    fi
}

# From build/docs into vq.h as it is, into README.md with empty lines around.
generated() {
    build/docs "$2" > "$dir/out" || { bad "build/docs $2 failed"; return; }
    case $1 in
    *.md) { echo; cat "$dir/out"; echo; } > "$dir/text"; region "$1" "<!-- VQ_GENERATED $2 -->" ;;
    *)    cp "$dir/out" "$dir/text"; region "$1" "VQ_GENERATED $2" ;;
    esac
}

# The version that file $1 has, by the sed expression $2, must be the library's.
version() {
    test -r "$1" || { bad "$1 is missing"; return; }
    found=$(sed -n "$2" "$1" | head -n 1)
    if test "$found" = "$library"; then
        good
    else
        bad "$1 has version ${found:-none}, VQ_VERSION is $library"
    fi
}

generated vq.h op-index
generated README.md op-key-table
generated README.md key-table
generated README.md status-table
if test -r examples/01_quantize.c; then
    { echo '```c'; cat examples/01_quantize.c; echo '```'; } > "$dir/text"
    region README.md "<!-- VQ_GENERATED quick-start -->"
else
    bad "examples/01_quantize.c is missing"
fi

number='[0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*'
library=$(build/docs version)
version vq.h      "1s/^.* - v\($number\) - .*/\1/p"
version CHANGES.md "s/^## \($number\),.*/\1/p"
version README.md "s/^.*vq v\{0,1\}\($number\).*/\1/p"

test $check = 0 || echo "docs: $passed passed, $failed failed"
test $failed = 0

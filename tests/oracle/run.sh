#!/bin/sh
# run.sh - every oracle in numpy and ml_dtypes; PYTHON names an interpreter that has them
set -u
cd "$(dirname "$0")/../.." || exit 1
PYTHON=${PYTHON:-python3}
passed=0 failed=0 skipped=0
lacking() {                              # a skip, but in CI, where all must be there
    echo "  $f  $1 (skipped)"
    if [ -n "${CI:-}" ]; then failed=$((failed + 1)); else skipped=$((skipped + 1)); fi
}
for f in formats weights rules observe norms activations "record --check"; do
    set -- $f
    if { [ "$1" = weights ] || [ "$1" = observe ]; } && [ ! -x build/vq ]; then
        lacking "needs build/vq: install jansson (Debian: libjansson-dev), then make"; continue
    fi
    if ! "$PYTHON" -c 'import numpy, ml_dtypes, mpmath' 2> /dev/null; then
        lacking "needs numpy, ml_dtypes and mpmath: pip install numpy ml_dtypes mpmath, or PYTHON=..."
        continue
    fi
    if "$PYTHON" tests/oracle/$1.py ${2:-}; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
printf 'oracle: %d passed, %d failed' $passed $failed
[ $skipped -gt 0 ] && printf ', %d skipped' $skipped
echo
[ $failed -eq 0 ]

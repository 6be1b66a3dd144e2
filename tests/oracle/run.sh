#!/bin/sh
# run.sh - every oracle in numpy and ml_dtypes; PYTHON names an interpreter that has them
set -u
cd "$(dirname "$0")/../.." || exit 1
PYTHON=${PYTHON:-python3}
passed=0 failed=0
for f in formats weights; do
    if [ "$f" = weights ] && [ ! -x build/vq ]; then
        echo "weights.py needs build/vq: install jansson (Debian: libjansson-dev)"
        failed=$((failed + 1)); continue
    fi
    if ! "$PYTHON" -c 'import numpy, ml_dtypes' 2> /dev/null; then
        echo "$f.py needs numpy and ml_dtypes: pip install numpy ml_dtypes, or PYTHON=..."
        failed=$((failed + 1)); continue
    fi
    if "$PYTHON" tests/oracle/$f.py; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "oracle: $passed passed, $failed failed"
[ $failed -eq 0 ]

#!/bin/sh
# test_demo.sh - what `make demo` prints: the recorded numbers, and every op on three machines
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
check() {
    if [ "$2" = "$3" ]; then printf '  %-58s ok\n' "$1"; passed=$((passed + 1))
    else printf '  %-58s\n    FAILED: found "%s", needed "%s"\n' "$1" "$2" "$3"; failed=$((failed + 1)); fi
}
out=$(VQ_BACKEND=cpu build/02_activations) || failed=1
quality() { echo "$out" | awk -v key="$1" -v elem="$2" 'index($0, key) && index($0, elem " ") { print $(NF-6), $(NF-5), $(NF-4), $(NF-2), $(NF-1); exit }'; }
for e in "float8_e4m3fn 448" "float8_e4m3fnuz 224"; do
    set -- $e
    check "static keeps what it kept, $1" "$(quality 'static, per tensor' "$1")" "$2 2097156 31.69 8.8571 0.045"
    check "per token keeps what it kept, $1" "$(quality 'per token' "$1")" "$2 2099200 33.09 6.7143 0.022"
    check "groups keep what they kept, $1" "$(quality 'groups of 128' "$1")" "$2 2162688 39.22 5.1429 0.003"
done
for m in cpu gfx942 gfx950; do
    for op in quant dequant cast fnuz_normalize scale_convert; do
        n=$(echo "$out" | awk -v m="$m" -v op="$op" '/^[a-z0-9]+: .*scaled to/ { at = $1 == m ":" } at && $1 == op ":" && /: runs,/ { n++ } END { print n + 0 }')
        case $op in quant | dequant) want=3 ;; *) want=1 ;; esac
        check "$op has an implementation on $m" "$n" "$want"
    done
done
block=$(build/03_feed_forward) || failed=$((failed + 1))
row() { echo "$block" | awk -v op="$1" -v mid="$2" '$2 == op && $3 == mid { print $4, $5, $6, $7 }'; }
check "a norm's codes by 1 launch and by 2, bf16 between" "$(row norm bf16)" "equal 231424 362496 36.61"
check "a norm's codes by 1 launch and by 2, f32 between" "$(row norm f32)" "equal 231424 493568 36.77"
check "a gate's codes by 1 launch and by 2, bf16 between" "$(row gate bf16)" "equal 329728 591872 32.60"
check "a gate's codes by 1 launch and by 2, f32 between" "$(row gate f32)" "equal 329728 854016 32.64"
echo "test_demo: $passed passed, $failed failed"
[ $failed -eq 0 ]

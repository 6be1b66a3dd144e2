#!/bin/sh
# fuzz.sh: fuzzes the arguments of every op, the tool's reader of files, and graphs, all at once, each
# for FUZZ_SECONDS (30), from inputs that the programs make themselves and with the seed FUZZ_SEED (1).
#
# Needs clang with libFuzzer (Debian: clang, libclang-rt-14-dev), and jansson for the reader. An
# input that fails stays in build/fuzz; build/fuzz/fuzz_args FILE repeats it. An op that never ran,
# or was never refused, and a kind of file that was not seen, fail too: the time was wasted.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${FUZZ_SECONDS:-30}
seed=${FUZZ_SEED:-1}
cc=${FUZZ_CC:-clang}
only=${FUZZ_ONLY:-fuzz_args fuzz_file fuzz_graph}
least=20
out=build/fuzz
passed=0
failed=0
skipped=0
children=
mkdir -p $out
temp=$(mktemp -d "${TMPDIR:-/tmp}/vq_fuzz.XXXXXX") || exit 1
trap 'rm -rf "$temp"' EXIT
trap 'kill $children 2> /dev/null; exit 1' HUP INT TERM

check() {                                          # NAME STATUS: 0 is good
    if [ "$2" -eq 0 ]; then
        printf '  %-58s ok\n' "$1"
        passed=$((passed + 1))
    else
        printf '  %-58s FAILED\n' "$1"
        failed=$((failed + 1))
    fi
}

finish() {
    tail=
    [ $skipped -eq 0 ] || tail=", $skipped skipped"
    echo "fuzz: $passed passed, $failed failed$tail"
    [ $failed -eq 0 ] && { [ $skipped -eq 0 ] || [ -z "${CI:-}" ]; }
    exit
}

wanted() { case " $only " in *" $1 "*) return 0 ;; esac; return 1; }

cat > "$temp/none.c" << 'NONE'
#include <stdint.h>
#include <stddef.h>
int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return !d && n; }
NONE
if ! "$cc" -fsanitize=fuzzer,address,undefined "$temp/none.c" -o "$temp/none" 2> /dev/null; then
    echo "  fuzz.sh: $cc has no libFuzzer (Debian: clang, libclang-rt-14-dev)"
    skipped=3
    finish
fi

# Compares are not traced: it takes half the speed, and the programs know what to try.
safe="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"
seen="-fsanitize-coverage=inline-8bit-counters,pc-table"
warn="-Wall -Wextra -Wno-unused-function"

# The words of a header, for the fuzzer to put together.
tr -s ' ' '\n' > "$temp/words" << 'WORDS'
__metadata__ dtype shape data_offsets vq.dtype.x vq.shape.x vq.order.x F32 F16 BF16 I8 U8 F8_E4M3
F8_E5M2 F8_E8M0 I32 I64 BOOL F4 F6_E2M3 float4_e2m1fn float6_e3m2fn float8_e8m0fnu ue4m3 int4 uint4
int32 int64 rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4 2,3 1,1,1, [0,24] [2,3] [] {} null
true 1e9 -1 0 9223372036854775807 18446744073709551615 1152921504606846976 \\u0000 \xff \xc0\x80
WORDS
sed 's/.*/"&"/' "$temp/words" > "$temp/dict"
# The words of a graph.
tr -s ' ' '\n' > "$temp/words" << 'WORDS'
in out act_mul act_mul_quant rms_norm rms_norm_quant quant dequant cast act layer_norm scale_convert
x=x y=y q=q scale=s zero=z bound=b scale2=c weight=w gate=h gate=even residual=r:t act=silu act=swiglu_oai
key=fp8_token key=fp8_static key=fp8_group128 key=mxfp8 key=mxfp4 key=nvfp4 key=vllm_packed_ue8m0 mid=f32
key=int8_token_azp eps=1e-6 plus_one=1 alpha=1.702 limit=7 plus=1 overflow=nonfinite @f -> bf16 f16 f32
float8_e4m3fn float8_e8m0fnu float4_e2m1fn ue4m3 int8 2x32 2x64 1x1 2x1 0x8 4x999999999999999999 columns
columns_tma packed_ue8m0 128x4 8x4 cdna4 # \x0a \x01
WORDS
sed 's/.*/"&"/' "$temp/words" > "$temp/graph"

build_fuzz_args() {
    "$cc" -x c -O1 -g $safe $seen -DVQ_IMPLEMENTATION -c vq.h -o "$temp/vq.o" &&
    "$cc" -O2 -g $warn -c tests/fuzz_args.c -o "$temp/fuzz_args.o" &&
    "$cc" -g $safe -fsanitize=fuzzer "$temp/fuzz_args.o" "$temp/vq.o" -o $out/fuzz_args -ldl -lm
}

build_fuzz_file() {
    "$cc" -O1 -g $warn $safe $seen -fsanitize=fuzzer tests/fuzz_file.c -o $out/fuzz_file \
        $(pkg-config --cflags --libs jansson) -ldl -lm
}

build_fuzz_graph() {
    "$cc" -O1 -g $warn $safe $seen -fsanitize=fuzzer tests/fuzz_graph.c -o $out/fuzz_graph -ldl -lm
}

# NAME [OPTION...]: builds and runs it; leaves its output and its status in $temp
fuzz() {
    trap - EXIT
    name=$1
    shift
    "build_$name" > "$temp/$name.log" 2>&1 || { echo build > "$temp/$name.status"; return; }
    mkdir "$temp/$name.in" "$temp/$name.tmp"
    "$out/$name" --seeds "$temp/$name.in" >> "$temp/$name.log" 2>&1
    status=0
    TMPDIR=$temp/$name.tmp timeout $((seconds + 90)) "$out/$name" "$temp/$name.in" -seed="$seed" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -artifact_prefix=$out/ "$@" \
        > "$temp/$name.log" 2>&1 < /dev/null &
    child=$!
    trap 'kill $child 2> /dev/null; exit 1' HUP INT TERM
    wait $child || status=$?
    echo $status > "$temp/$name.status"
}

# NAME: 0 where it ran well; else says why not
ran() {
    status=$(cat "$temp/$1.status" 2> /dev/null || echo none)
    grep '^Done ' "$temp/$1.log" | sed "s/^/  $1: /"
    [ "$status" = 0 ] && return 0
    grep -a -v '^#[0-9]\|NEW_FUNC\|^INFO\|^0x\|^\\\|^Base64' "$temp/$1.log" | cut -c 1-200 \
        | head -n 50
    grep -a '^Base64' "$temp/$1.log"
    echo "  $1 ended with status $status"
    return 1
}

if wanted fuzz_file && ! pkg-config --exists jansson 2> /dev/null; then
    echo "  fuzz.sh: no reader without jansson (Debian: libjansson-dev)"
    only=$(echo " $only " | sed 's/ fuzz_file / /')
    skipped=1
fi
for name in $only; do
    case $name in
    fuzz_args) fuzz fuzz_args -max_len=512 & ;;
    fuzz_file) fuzz fuzz_file -max_len=4096 -dict="$temp/dict" & ;;
    fuzz_graph) fuzz fuzz_graph -max_len=4096 -dict="$temp/graph" & ;;
    *) echo "fuzz.sh: FUZZ_ONLY: no $name" >&2; exit 2 ;;
    esac
    children="$children $!"
done
wait

if wanted fuzz_args; then
    ran fuzz_args
    check every_op_keeps_its_promises_under_any_arguments $?
    idle=$(awk -v least=$least '
        /^fuzz_args: .* calls / { n++; if ($6 < least || $8 < least) print "    " $0 }
        END { if (!n) print "    no op was counted" }' "$temp/fuzz_args.log")
    [ -z "$idle" ] || echo "$idle"
    [ -z "$idle" ]
    check every_op_ran_and_was_refused $?
fi
if wanted fuzz_file; then
    ran fuzz_file
    check the_reader_of_files_takes_or_refuses_any_bytes $?
    idle=$(awk -v least=$least '
        /^fuzz_file: accepted / {
            n++
            for (i = 3; i <= NF; i += 2) few += $i < least
            if (few) print "    " $0
        }
        END { if (!n) print "    no file was counted" }' "$temp/fuzz_file.log")
    [ -z "$idle" ] || echo "$idle"
    [ -z "$idle" ]
    check files_of_every_kind_were_read $?
fi
if wanted fuzz_graph; then
    ran fuzz_graph
    check any_text_is_a_graph_or_is_refused_and_fusing_changes_no_byte $?
    idle=$(awk -v least=$least '
        /^fuzz_graph: accepted / {
            n++
            for (i = 3; i <= NF; i += 2) few += $i < least
            if (few) print "    " $0
        }
        END { if (!n) print "    no graph was counted" }' "$temp/fuzz_graph.log")
    [ -z "$idle" ] || echo "$idle"
    [ -z "$idle" ]
    check graphs_were_read_refused_and_fused $?
fi
finish

#!/bin/sh
# tests/test_tool.sh [TOOL]: vq from a shell. TOOL is build/vq unless given.
# Prints a line a case and, last, "test_tool: N passed, N failed[, N skipped]"; exits 1 if any case
# failed. A case that cannot run here is skipped; with CI set that is a failure.

tool=${1:-build/vq}
case $tool in /*) ;; *) tool=$PWD/$tool ;; esac
test -x "$tool" || { echo "test_tool: no tool at $tool" >&2; exit 2; }
unset VQ_BACKEND VQ_KERNELS VQ_IMPL
LC_ALL=C
export LC_ALL
top=$(mktemp -d) || exit 2
trap 'rm -rf "$top"' EXIT
trap 'exit 130' HUP INT TERM
cd "$top" || exit 2
mkdir in out
good=0
bad=0
skipped=0

# --- the harness -----------------------------------------------------------

note() { echo "    $*" >> "$top/notes"; }
skip() { echo "$*" > "$top/skip"; }        # what the case needs and this machine lacks

# run ARG...: the tool, its output in $top/stdout and $top/stderr, its exit code in $rc
run() {
    "$tool" "$@" > "$top/stdout" 2> "$top/stderr"
    rc=$?
}

works() {
    run "$@"
    test $rc = 0 || note "$*: exit code $rc: $(cat "$top/stderr")"
    test -s "$top/stderr" && note "$*: stderr: $(cat "$top/stderr")"
    return $rc
}

# refused CODE WORDS ARG...: exit code CODE, one line that has WORDS in it, and out/ as before
refused() {
    want=$1 words=$2
    shift 2
    before=$(ls -A out)
    run "$@"
    test $rc = "$want" || note "$*: exit code $rc, needed $want"
    test "$(wc -l < "$top/stderr")" -eq 1 || note "$*: not one line: $(cat "$top/stderr")"
    grep -qF -e "$words" "$top/stderr" || note "$*: needed '$words' in: $(cat "$top/stderr")"
    test "$(ls -A out)" = "$before" || note "$*: left behind: $(ls -A out)"
}

# soon ARG...: works, and within a few seconds
soon() {
    (ulimit -t 5; exec "$tool" "$@") > "$top/stdout" 2> "$top/stderr"
    rc=$?
    test $rc = 0 || note "$*: exit code $rc: $(cat "$top/stderr")"
    return $rc
}

says() {
    grep -qF -e "$1" "$top/stdout" || note "needed '$1' in: $(head -c 400 "$top/stdout")"
}

equal() {
    test "$1" = "$2" ||
        note "${3:-found}: found $(echo "$1" | head -c 200), needed $(echo "$2" | head -c 200)"
}

t() {                                  # t NAME: the function of that name is a case
    : > "$top/notes"
    rm -rf out "$top/skip"
    mkdir out
    printf '  %-58s ' "$1"
    "$1"
    test -f "$top/skip" && test -n "${CI:-}" && note "cannot run: $(cat "$top/skip")"
    if test -s "$top/notes"; then
        echo
        cat "$top/notes"
        echo "    FAILED"
        bad=$((bad + 1))
    elif test -f "$top/skip"; then
        echo "$(cat "$top/skip") (skipped)"
        skipped=$((skipped + 1))
    else
        echo ok
        good=$((good + 1))
    fi
}

# --- files -----------------------------------------------------------------

byte() { printf "\\$(printf %03o "$1")"; }

le64() {
    le_n=$1
    for _ in 1 2 3 4 5 6 7 8; do
        byte $((le_n & 255))
        le_n=$((le_n >> 8))
    done
}

hex() { for h in "$@"; do byte $((0x$h)); done; }      # hex 3f 80: those bytes

# st FILE HEADER: a file with this header, its data from stdin
st() {
    { le64 ${#2}; printf '%s' "$2"; cat; } > "$1"
}

# tensors [NAME TYPE SHAPE OFFSETS]... [METADATA]: a header
tensors() {
    sep='{'
    while test $# -ge 4; do
        printf '%s"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%s]}' "$sep" "$1" "$2" "$3" "$4"
        sep=,
        shift 4
    done
    test $# = 0 || printf '%s"__metadata__":{%s}' "$sep" "$1"
    printf '}'
}

# data FILE: the bytes after the header, in hexadecimal
data() {
    n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    tail -c +$((9 + n)) "$1" | od -An -v -tx1 | tr -d ' \n'
}

header() {
    n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    tail -c +9 "$1" | head -c "$n"
}

# pick FILE NAME: the bytes of one tensor, in hexadecimal
pick() {
    set -- "$1" $(header "$1" |
        sed "s/.*\"$2\":{[^}]*\"data_offsets\":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/")
    data "$1" | cut -c $((2 * $2 + 1))-$((2 * $3))
}

# f32 448 1 -224 0
hex 00 00 e0 43  00 00 80 3f  00 00 60 c3  00 00 00 00 > in/four
head -c 4 in/four > in/four_first
st in/four.st "$(tensors x F32 1,4 0,16)" < in/four

# bf16 [4, 512]: magnitudes of 0.5 to 8, both signs
printf "$(awk 'BEGIN { for (i = 0; i < 2048; i++)
    printf "\\%03o\\%03o", i * 37 % 256, 63 + i % 2 + (i % 3 ? 0 : 128) }')" > in/matrix
st in/matrix.st "$(tensors x BF16 4,512 0,4096)" < in/matrix
{ cat in/matrix; hex 01 02 03 04 05 06 07 08; cat in/matrix; } | st in/model.st \
"$(tensors w.b BF16 16,128 4104,8200 bias BF16 4 4096,4104 w.a BF16 4,512 0,4096)"
# [128, 128], every preset's group
{ for _ in 1 2 3 4 5 6 7 8; do cat in/matrix; done; hex 00 00 00 00 00 00 00 00; } |
    st in/square.st "$(tensors x BF16 128,128 0,32768 ids I64 1 32768,32776)"
{ head -c 384 in/matrix; head -c 512 in/matrix; } |
    st in/odd.st "$(tensors w.odd BF16 2,96 0,384 w.even BF16 2,128 384,896)"
st in/flat4 "$(tensors x F32 4 0,16)" < in/four
hex 00 00 00 00 00 00 00 00 | st in/ids.st "$(tensors ids I64 1 0,8)"
{ hex 7e 80 7f 38 00 00 80 3f; } | st in/pair "$(tensors q F8_E4M3 1,4 0,4 scale F32 1,1 4,8)"

# --- the command line ------------------------------------------------------

help_and_version_work() {
    works --help && says 'usage: vq'
    works run --help && says -- '--set scale'
    works explain --help && says -- '--json'
    works info --help && says 'usage: vq info'
    works --help && says '2 where the command line cannot be understood'
    works --version
    grep -qE '^vq [0-9]+\.[0-9]+\.[0-9]+$' stdout || note "found $(cat stdout)"
}

what_cannot_be_read_is_usage() {
    refused 2 'needs a command'
    refused 2 'nosuch' nosuch
    refused 2 'needs an op' run
    refused 2 '--nosuch' run quant --nosuch
    refused 2 '--key needs a value' run quant --key
    refused 2 'needs --key' run quant -i in/four.st -o out/y
    refused 2 'needs -i and -o' run quant --key fp8_token
    refused 2 'needs -i and -o' run quant --key fp8_token -i in/four.st
    refused 2 'needs --shape' explain quant --key fp8_token
    refused 2 'run cast: takes no --key' run cast --key fp8_token -i in/four.st -o out/y
    refused 2 'needs --set out' run cast --all -i in/four.st -o out/y
    refused 2 'needs --from' run requant --key fp8_token -i in/four.st -o out/y
    refused 2 'needs -i' run compare
    refused 2 '--error' run dequant --error --key fp8_token -i in/four.st -o out/y
    refused 2 '--shape' run quant --shape 1,4
}

names_that_are_unknown_are_refused() {
    refused 2 'nosuch' run nosuch -i in/four.st -o out/y
    refused 2 'nosuch' explain nosuch --shape 1,4
    refused 2 '--key nosuch' run quant --key nosuch -i in/four.st -o out/y
    refused 2 '--key float8' run quant --key float8_e4m3fn/f32 -i in/four.st -o out/y
    refused 2 'nosuch' run quant --key fp8_token --backend nosuch -i in/four.st -o out/y
    refused 2 'nosuch' run quant --key fp8_token --as nosuch -i in/four.st -o out/y
    refused 2 'int8' run quant --key fp8_token --as int8 -i in/four.st -o out/y
    refused 2 '12x' run quant --key fp8_token --as float8_e4m3fn:12x -i in/four.st -o out/y
    refused 2 'nosuch' run quant --key fp8_token --set nosuch=1 -i in/four.st -o out/y
    refused 2 'name=value' run quant --key fp8_token --set scale -i in/four.st -o out/y
    refused 2 '1.5x' run quant --key fp8_static --set scale=1.5x -i in/four.st -o out/y
    refused 2 '--set order: nosuch' run quant --key fp8_token --set order=nosuch -i in/four.st \
        -o out/y
    refused 2 '--order: nosuch' explain quant --key fp8_token --order nosuch --shape 4,4
    refused 2 'nosuch' run cast --set out=nosuch -i in/four.st -o out/y
    refused 2 'nosuch' run cast --set out=f16 --set overflow=nosuch -i in/four.st -o out/y
    refused 2 'needs --set out' run cast -i in/four.st -o out/y
    refused 2 'needs --set layout' run scale_convert -i in/four.st -o out/y
    refused 2 '4x4' explain quant --key fp8_token --shape 4x4
    refused 2 '-1' explain quant --key fp8_token --shape -1,4
    refused 2 'nosuch' explain quant --key fp8_token --shape 4,4 --x-type nosuch
    refused 2 'nosuch' explain quant --key fp8_token --shape 4,4 --place nosuch
    refused 2 'gfx123456' explain quant --key fp8_token --shape 4,4 --device gfx123456
    refused 2 'found cuda, needed hip' explain quant --key fp8_token --shape 4,4 --device gfx950 \
        --backend cuda
    refused 2 'found cpu, needed cuda' info --device sm_90 --backend cpu
    refused 2 'found 1x' run amax --key fp8_token --set running=1x -i in/four.st -o out/y
    refused 2 'found 0' run histogram --set bins=0 -i in/four.st -o out/y
    refused 2 'amax is not a number' run compare --set atol=amax -i in/four.st
    refused 2 '--from nosuch' run requant --from nosuch --key fp8_token -i in/four.st -o out/y
    for caps in '' , avx512, ,avx2 avx avx22 nosuch; do
        refused 2 'no capability' info --without "$caps"
    done
    works explain quant --key fp8_token --shape 4,4 --device gfx950 --backend hip
}

what_an_op_does_not_use_is_refused() {
    q='run quant -i in/four.st -o out/y --key'
    for s in out=f16 overflow=nonfinite layout=rows; do
        refused 2 "run quant: takes no --set ${s%=*}" $q fp8_token --set $s
        refused 2 "takes no --set ${s%=*}" explain quant --key fp8_token --set $s --shape 4,4
    done
    for s in 1 amax; do refused 2 '--set scale: the key is not' $q fp8_token --set scale=$s; done
    refused 2 '--set order: the scale is read' $q fp8_static --set order=rows
    works $q fp8_static --set order=rows --set scale=amax && rm out/y
    refused 2 'takes no --set order' run dequant --key fp8_token --set order=rows -i in/four.st \
        -o out/y
    refused 2 'takes no --set scale' run cast --set out=f16 --set scale=1 -i in/four.st -o out/y
    refused 2 'takes no --set scale' explain quant --key fp8_static --set scale=1 --shape 4,4
    refused 2 'takes no --set layout' run fnuz_normalize --set layout=rows -i in/four.st -o out/y
    refused 2 'takes no --set out' run scale_convert --set out=f32 -i in/four.st -o out/y
    refused 2 'takes no --order' explain cast --order rows --shape 4,4
    refused 2 'takes no --set order' explain fnuz_normalize --set order=rows --shape 4,4
    refused 2 'takes no --x-type' explain dequant --key fp8_token --x-type f16 --shape 4,4
    refused 2 'takes no --as' run cast --as float8_e4m3fn --set out=f16 -i in/four.st -o out/y
    refused 2 'takes no --static' run cast --static --set out=f16 -i in/four.st -o out/y
    refused 2 'takes no --from' $q fp8_token --from fp8_token
    refused 2 'takes no --set scale' run dequant --key fp8_token --set scale=1 -i in/four.st \
        -o out/y
    refused 2 'takes no --set x' $q fp8_token --set x=1
    refused 2 'takes no --set key' $q fp8_token --set key=1
    refused 2 'takes no --set bins' $q fp8_token --set bins=8
    refused 2 'takes no --set limit' run amax --key fp8_token --set limit=8 -i in/four.st -o out/y
    refused 2 '--set scale2: has no part in this key' $q fp8_token --set scale2=1
    refused 2 '--set bound: has no part in this key' $q fp8_token --set bound=1
    refused 2 '--set zero: has no part in this key' $q fp8_static --set scale=1 --set zero=1
    refused 2 '--set zero: the key is not static' $q int8_token_azp --set zero=1
    refused 2 '--set zero: scale=amax makes it' $q int8_static_tensor_azp --set scale=amax \
        --set zero=1
    refused 2 'is for scales of ue4m3' $q \
        float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/scale2=mul --set scale2=amax
    refused 2 'is not a number' $q int8_static_tensor_azp --set zero=amax
    refused 2 'every: is for quant' run amax --key every -i in/four.st -o out/y
    refused 2 'every: takes no -o' $q every
    refused 2 'every: takes no --set scale' run quant --key every --set scale=1 -i in/four.st
    refused 2 'every: takes no --as' run quant --key every --as float8_e5m2 -i in/four.st
    refused 2 'every: takes no --static' run quant --key every --static -i in/four.st
    refused 2 'every' explain quant --key every --shape 4,4
}

what_is_said_twice_is_refused() {
    q='run quant --key fp8_static -i in/four.st -o out/y'
    refused 2 '--key is given twice' $q --key fp8_token
    refused 2 '-i is given twice' $q -i in/four.st
    refused 2 '-o is given twice' $q -o out/z
    refused 2 '--error is given twice' $q --error --error
    refused 2 '--backend is given twice' $q --backend cpu --backend cpu
    refused 2 '--set scale is given twice' $q --set scale=1 --set scale=amax
    refused 2 '--set order is given twice' explain quant --key fp8_token --shape 4,4 --order rows \
        --set order=rows
    refused 2 '--shape is given twice' explain cast --shape 4,4 --shape 4,4
    refused 2 '--device is given twice' info --device gfx950 --device gfx942
    refused 2 '--set limit is given twice' run histogram --set limit=1 --set limit=2 \
        -i in/four.st -o out/y
    works $q --set scale=1 --set order=rows
}

what_is_understood_and_not_done_is_1() {
    refused 1 'in/none' run cast --set out=f16 -i in/none -o out/y
    refused 1 'no tensor scale' run quant --key fp8_static -i in/four.st -o out/y
    refused 1 'quant' explain quant --key fp8_token --shape 1000000000000,1000000000000
    VQ_BACKEND=nosuch
    export VQ_BACKEND
    refused 1 'VQ_BACKEND' info
    unset VQ_BACKEND
}

an_implementation_that_cannot_run_says_why() {
    VQ_IMPL=gpu
    export VQ_IMPL
    refused 1 'gpu: the kernel is not in' run quant --key fp8_token --backend cpu -i in/four.st \
        -o out/y
    unset VQ_IMPL
}

a_full_standard_output_is_an_error() {
    test -c /dev/full || { skip 'no /dev/full'; return; }
    "$tool" info > /dev/full 2> stderr
    equal $? 1 'exit code'
    equal "$(wc -l < stderr | tr -d ' ')" 1 'lines'
}

# --- info and explain ------------------------------------------------------

info_lists_devices_libraries_and_every_key() {
    works info || return
    for w in devices 'kernel libraries' platform fp8 wave memory fp8_group128 nvfp4 \
        scale_convert; do
        says "$w"
    done
    works info --backend cpu && says 'cpu'
    works info --device gfx942 && says 'float8_e4m3fnuz to 224'
}

explain_gives_every_row_with_its_reason() {
    works explain quant --key fp8_token --shape 4,512 --place host
    says 'reference: runs'
    says 'gpu'
    works explain quant --key fp8_token --shape 4,512 --device gfx950
    says 'gpu: runs'
    says 'found device, needed host'
    for op in cast fnuz_normalize scale_convert; do
        works explain $op --shape 4,512 --place host && says "$op: reference: runs"
    done
    works explain dequant --key fp8_group128 --order columns_tma --shape 5,300 --place host
    says 'reference: runs'
    refused 1 'found bf16' explain fnuz_normalize --x-type bf16 --shape 4,512
}

json_holds() {
    if command -v python3 > /dev/null; then
        python3 -c 'import json, sys
r = json.load(sys.stdin)
assert isinstance(r, list) and r and all(w["op"] == sys.argv[1] for w in r)
assert any(w["impl"] == "reference" for w in r)' "$1" < stdout || note "no good JSON: $(cat stdout)"
    else
        skip 'no python3'
        says '"impl": "reference"'
    fi
}

explain_writes_json() {
    works explain quant --key fp8_token --shape 4,512 --json && json_holds quant
    works explain dequant --key mxfp4 --shape 4,512 --json --device gfx950 && json_holds dequant
    works explain cast --shape 0,3 --json && json_holds cast
}

# --- known answers ---------------------------------------------------------

codes_and_scales_are_the_known_ones() {
    works run quant --key fp8_token -i in/four.st -o out/a && equal "$(data out/a)" 0000803f7e38f600
    works run quant --key fp8_token --as float8_e4m3fnuz -i in/four.st -o out/b &&
        equal "$(data out/b)" 000000407e38f600
    works run quant --key fp8_static --set scale=0.5 -i in/four.st -o out/c &&
        equal "$(data out/c)" 0000003f7e40fe00
    works run quant --key fp8_static --as float8_e4m3fnuz:224 --set scale=0.5 -i in/four.st \
        -o out/d && equal "$(data out/d)" 0000003f7e48fe00
    works run quant --key fp8_static --set scale=amax -i in/four.st -o out/e &&
        cmp -s out/a out/e || note 'scale=amax is not amax / 448'
    works run quant --key float8_e4m3fn/f32/-1x-1/static/max448/x.inv.s --set scale=0.5 \
        -i in/four.st -o out/f && cmp -s out/c out/f || note "a key's text is not its name"
}

dequant_gives_the_values_back() {
    for as in float8_e4m3fn float8_e4m3fnuz; do
        works run quant --key fp8_token --as $as -i in/four.st -o out/q || return
        works run dequant --key fp8_token --as $as -i out/q -o out/y &&
            equal "$(data out/y)" 0000e0430000803f000060c300000000
        works run dequant --key fp8_token --as $as --set out=bf16 -i out/q -o out/y &&
            equal "$(data out/y)" e043803f60c30000
    done
}

a_quantized_matrix_quantizes_to_the_same_codes() {
    for key in fp8_static fp8_token fp8_group128; do
        for as in float8_e4m3fn float8_e4m3fnuz; do
            set -- --key $key --as $as
            test $key = fp8_static && amax='--set scale=amax' || amax=
            works run quant "$@" $amax -i in/matrix.st -o out/q || return
            works run dequant "$@" -i out/q -o out/y || return
            sed 's/"y"/"x"/' out/y > out/x
            works run quant "$@" $amax -i out/x -o out/q2 || return
            works run dequant "$@" -i out/q2 -o out/y2 || return
            case $key in                # the 16 scales of amax.inv stand first, and may move
            fp8_group128) equal "$(data out/q | tail -c +129)" "$(data out/q2 | tail -c +129)" ;;
            *) cmp -s out/q out/q2 && cmp -s out/y out/y2 || note "$key $as: another matrix" ;;
            esac
        done
    done
}

the_order_of_scales_moves_no_value() {
    set -- --key fp8_group128
    works run quant "$@" -i in/matrix.st -o out/q || return
    works run dequant "$@" -i out/q -o out/y || return
    for order in columns columns_tma; do
        works run quant "$@" --set order=$order -i in/matrix.st -o out/q2 || return
        header out/q2 | grep -q "\"vq.order.scale\":\"$order\"" || note "$order: $(header out/q2)"
        works run dequant "$@" -i out/q2 -o out/y2 || return
        cmp -s out/y out/y2 || note "$order: values moved"
    done
}

a_static_scale_is_read_from_the_file() {
    for shape in '' 1 1,1; do
        { cat in/four; hex 00 00 00 3f; } |
            st out/x "$(tensors x F32 1,4 0,16 scale F32 "$shape" 16,20)"
        works run quant --key fp8_static -i out/x -o out/q &&
            equal "$(data out/q)" 0000003f7e40fe00 "shape [$shape]"
    done
    refused 1 'scale' run quant --key fp8_static -i in/four.st -o out/y
}

cast_knows_packed_types() {
    works run cast --set out=float4_e2m1fn -i in/four.st -o out/q || return
    equal "$(data out/q)" 270f
    header out/q | grep -q '"vq.dtype.y":"float4_e2m1fn"' || note "$(header out/q)"
    header out/q | grep -q '"vq.shape.y":"1,4"' || note "$(header out/q)"
    sed 's/"y"/"x"/; s/\.y"/.x"/g' out/q > out/x
    works run cast --set out=f32 -i out/x -o out/y &&
        equal "$(data out/y)" 0000c0400000803f0000c0c000000000
    works run cast --set out=float8_e5m2 --set overflow=nonfinite -i in/four.st -o out/y &&
        equal "$(data out/y)" 5f3cdb00
    works run cast --set out=float6_e3m2fn -i in/four.st -o out/q &&
        equal "$(data out/q)" 1ff303
}

fnuz_normalize_goes_both_ways() {
    { hex 7e 80 7f 38 00 00 80 3f; } | st out/x "$(tensors x F8_E4M3 1,4 0,4 scale F32 1,1 4,8)"
    works run fnuz_normalize -i out/x -o out/y || return
    equal "$(data out/y)" 000000407e008038
    header out/y | grep -q '"vq.dtype.y":"float8_e4m3fnuz"' || note "$(header out/y)"
    sed 's/"y"/"x"/; s/\.y"/.x"/; s/scale_out"/scale"    /' out/y > out/z
    works run fnuz_normalize -i out/z -o out/w && equal "$(data out/w)" 0000803f7e007f38
}

scale_convert_comes_back() {
    hex 01 02 03 04 05 06 | st out/x "$(tensors x U8 2,3 0,6 '"vq.dtype.x":"float8_e8m0fnu"')"
    for order in columns columns_tma packed_ue8m0 128x4 8x4 cdna4; do
        works run scale_convert --set layout=$order -i out/x -o out/y || continue
        sed 's/"y"/"x"/; s/\.y"/.x"/g' out/y > out/z
        works run scale_convert --set layout=rows -i out/z -o out/w &&
            equal "$(data out/w)" 010203040506 $order
    done
    works run scale_convert --set layout=columns -i out/x -o out/y &&
        equal "$(data out/y)" 010402050306
}

all_takes_every_matrix_and_says_what_it_skips() {
    works run quant --key fp8_group128 --all --error -i in/model.st -o out/q || return
    says 'skipped bias'
    equal "$(awk '$1 == "total" { print $2, $3 }' stdout)" '8192 4224' bytes
    says 'w.a '
    says '16x128'
    says 'total'
    equal "$(grep -c '' stdout)" 5 'lines'
    for n in w.a.q w.a.scale w.b.q w.b.scale; do
        header out/q | grep -q "\"$n\":" || note "no $n in $(header out/q)"
    done
    works run dequant --key fp8_group128 --all -i out/q -o out/y || return
    works run quant --key fp8_group128 -i in/matrix.st -o out/q1
    works run dequant --key fp8_group128 -i out/q1 -o out/y1
    # both matrices have the same bytes in the same groups
    equal "$(data out/y)" "$(data out/y1)$(data out/y1)"
    refused 1 'no tensor' run dequant --key fp8_token --all -i in/model.st -o out/z
    refused 2 'static' run quant --key fp8_static --all -i in/model.st -o out/z
}

empty_matrices_are_fine() {
    : | st out/x "$(tensors x F32 0,4 0,0)"
    for key in fp8_token fp8_group128; do
        works run quant --key $key --error -i out/x -o out/q && says ' inf  0' &&
            works run dequant --key $key -i out/q -o out/y && equal "$(data out/y)" ''
    done
}

a_huge_extent_beside_one_of_0_takes_no_time() {
    for shape in 35184372088832,0 0,35184372088832; do
        : | st out/x "$(tensors x F32 $shape 0,0)"
        for op in 'cast --set out=bf16' 'quant --key fp8_static --set scale=amax --error' \
            'quant --key fp8_static --set scale=1' 'quant --key fp8_group128 --error' \
            'quant --key float8_e4m3fn/f32/1x128/static/max448/x.inv.s --set scale=amax' \
            'quant --key float8_e4m3fn/f32/1x128/static/max448/x.inv.s --set scale=1' \
            'amax --key fp8_group128' 'minmax --key fp8_group128' 'histogram --set limit=1'; do
            rm -f out/y
            soon run $op -i out/x -o out/y || continue
            case $op in quant*fp8_static*|quant*group*) ;; *) continue ;; esac
            soon run dequant --key "$(set -- $op; echo $3)" -i out/y -o out/z
        done
        : | st out/x "$(tensors x F8_E4M3 $shape 0,0 scale F32 0,1 0,0)"
        soon run fnuz_normalize -i out/x -o out/z
    done
}

a_tensor_without_extents_stays_one() {
    st out/x "$(tensors x F32 '' 0,4)" < in/four_first
    works run cast --set out=bf16 -i out/x -o out/y || return
    header out/y | grep -qF '"y":{"dtype":"BF16","shape":[]' || note "$(header out/y)"
    equal "$(data out/y)" e043
    works run cast --set out=float4_e2m1fn -i out/x -o out/y || return
    header out/y | grep -qF '"y":{"dtype":"U8","shape":[]' || note "$(header out/y)"
    sed 's/"y"/"x"/; s/\.y"/.x"/g' out/y > out/z
    works run cast --set out=f32 -i out/z -o out/w && equal "$(data out/w)" 0000c040
    header out/w | grep -qF '"shape":[]' || note "$(header out/w)"
    for op in 'quant --key fp8_token' 'quant --key fp8_static --set scale=amax' \
        'scale_convert --set layout=columns' fnuz_normalize; do
        refused 1 'tensor x: has 0 extents, needed 2' run $op -i out/x -o out/n
    done
    { cat in/four; hex 00 00 00 3f; } | st out/x "$(tensors x F32 1,4 0,16 scale F32 '' 16,20)"
    works run quant --key fp8_static -i out/x -o out/q &&
        { header out/q | grep -qF '"scale":{"dtype":"F32","shape":[]' || note "$(header out/q)"; }
    works run dequant --key fp8_static -i out/q -o out/y
    for shape in '' 1; do
        { hex 7e 80 7f 38 00 00 80 3f; } |
            st out/x "$(tensors x F8_E4M3 1,4 0,4 scale F32 "$shape" 4,8)"
        works run fnuz_normalize -i out/x -o out/y || continue
        header out/y | grep -qF "\"scale_out\":{\"dtype\":\"F32\",\"shape\":[$shape]" ||
            note "$(header out/y)"
    done
}

all_takes_every_name() {
    # "", ".q", "a", "a.q", "a.scale" and one that tries to end the line
    set -- '' .q a a.q a.scale '\u001b[31m\n'
    entries=
    at=0
    for n in "$@"; do
        one="\"$n\":{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[$at,$((at + 16))]}"
        entries=$entries$one,
        at=$((at + 16))
    done
    for n in "$@"; do cat in/four; done | st out/x "{${entries%,}}"
    works run quant --key fp8_token --all --error -i out/x -o out/q || return
    equal "$(grep -c '' stdout)" 8 'lines'
    grep -q "$(printf '\033')" stdout && note 'an escape went through'
    works run dequant --key fp8_token --all -i out/q -o out/y || return
    equal "$(cat stdout)" ''
    for n in "$@"; do
        for s in q scale; do
            header out/q | grep -qiF "\"$n.$s\":" || note "no $n.$s in $(header out/q)"
        done
        header out/y | grep -qiF "\"$n.y\":" || note "no $n.y in $(header out/y)"
    done
    equal "$(data out/y)" "$(data out/x)"
    st out/x "$(tensors .scale F32 1,1 0,4 b.scale F32 1,1 4,8 .q F8_E4M3 1,4 8,12 \
        c F8_E4M3 1,4 12,16)" < in/four
    works run dequant --key fp8_token --all -i out/x -o out/y || return
    says 'skipped b.scale: has no q'
    says 'skipped c: neither'
    equal "$(grep -c '' stdout)" 2 'lines'
}

backends_are_asked_for_by_name() {
    works run quant --key fp8_token --backend cpu -i in/four.st -o out/a
    for b in hip cuda; do
        run run quant --key fp8_token --backend $b -i in/four.st -o out/b
        if test $rc = 0; then cmp -s out/a out/b || note "$b gives other bytes"; rm -f out/b
        else refused 1 $b run quant --key fp8_token --backend $b -i in/four.st -o out/b; fi
    done
}

# --- every op and every key ------------------------------------------------

presets() { awk '$1 == "key" { on = 1; next } on && !NF { exit } on { print $1 }' stdout; }

# opts KEY: what quant needs besides, to make all it needs of the data
opts() {
    case $1 in
    nvfp4_static) echo --set scale=amax --set scale2=amax ;;
    *nvfp4*) echo --set scale2=amax ;;
    *static*|w4a8*) echo --set scale=amax ;;
    esac
}

# Every row of --key every is the total of --error under that key, and what dequant then writes
# is as far from x as the table says: not a digit more, not a digit less.
every_preset_comes_back_as_near_as_the_table_says() {
    works run quant --all --key every -i in/square.st || return
    says 'skipped ids: not f32, f16 or bf16'
    mv stdout table
    works info --backend cpu && presets > names
    equal "$(grep -c '' names)" "$(awk '$2 == 1' table | grep -c '')" presets
    while read -r key; do
        works run quant --key "$key" $(opts "$key") --error -i in/square.st -o out/q || continue
        set -- $(awk -v k="$key" '$1 == k' table) -
        equal "$(awk '$1 == "total" { print $3, $4, $5 }' stdout)" "$3 $5 $6" "$key"
        equal "$4" "$(awk -v b="$3" 'BEGIN { printf "%.4f", b / 16384 }')" "$key: bytes/weight"
        works run dequant --key "$key" -i out/q -o out/y || continue
        set -- "$6" $(awk -v m="$6" 'BEGIN { printf "%.9g %.9g", m * 1.00001, m * 0.99999 }')
        works run compare --set atol="$2" -i in/square.st --also out/y ||
            note "$key: further off than $1"
        run run compare --set atol="$3" -i in/square.st --also out/y
        equal $rc 1 "$key: nearer than $1: exit code"
    done < names
}

every_key_says_which_matrices_it_passes_over() {
    works run quant --all --key every -i in/model.st || return
    equal "$(grep -c skipped stdout)" 1 'lines of what no key takes'
    says 'vllm_scaled_quantize_block128: passes over 2, the first w.a: quant: x has an extent'
    equal "$(awk '$1 == "vllm_scaled_quantize_block128" { print $2, $3, $4, $5, $6 }' stdout)" \
        '0 0 - - -'
    equal "$(awk '$1 == "fp8_dynamic_group128" { print $2 }' stdout)" 2
    equal "$(grep -c 'passes over' stdout)" 1 'keys that pass over'
    works run quant --key every -i in/four.st
    says 'nvfp4: passes over 1, the first x: quant: x has an extent'
    equal "$(awk '$1 == "fp8_token" { print $2 }' stdout)" 1
    works run quant --all --key fp8_dynamic_group128 --error -i in/odd.st -o out/q
    says 'skipped w.odd: quant: x has an extent that does not fit the others: found 96, needed 128'
    equal "$(grep -c '' stdout)" 4 'lines'
    refused 1 'no tensor that quant --all takes' run quant --all \
        --key vllm_scaled_quantize_block128 -i in/odd.st -o out/z
    refused 1 'no tensor that quant --all takes' run quant --all --key every -i in/ids.st
    works run quant --all --key every --set scale2=100 -i in/model.st
    equal "$(awk '$1 == "fp8_group128" { print $2, $3, $4 }' stdout)" '2 4224 1.0312'
    cp stdout fixed
    works run quant --all --key nvfp4 --error --set scale2=100 -i in/model.st -o out/q &&
        equal "$(awk '$1 == "nvfp4" { print $3, $5, $6 }' fixed)" \
            "$(awk '$1 == "total" { print $3, $4, $5 }' stdout)"
}

second_scales_are_set_made_or_read() {
    # amax is 7.96875, G 2688 / 7.96875
    works run quant --key nvfp4 --set scale2=amax -i in/square.st -o out/a || return
    header out/a | grep -qF '"scale2":{"dtype":"F32","shape":[1,1]' || note "$(header out/a)"
    equal "$(data out/a | head -c 8)" a9a8a843 G
    works run quant --key nvfp4_static --set scale=amax --set scale2=amax -i in/square.st -o out/b
    equal "$(data out/b | head -c 8)" 2449423b '1 / G'
    works run quant --key nvfp4 --set scale2=337.317657 -i in/square.st -o out/c
    cmp -s out/a out/c || note 'the same number gives another file'
    for shape in '' 1 1,1; do
        hex a9 a8 a8 43 | st out/g "$(tensors scale2 F32 "$shape" 0,4)"
        works run quant --key nvfp4 -i in/square.st --also out/g -o out/d &&
            equal "$(data out/a)" "$(data out/d)" "shape [$shape]"
        works run dequant --key nvfp4 -i out/d -o out/y
    done
    refused 1 'no tensor scale2, which quant reads (or --set scale2=V)' run quant --key nvfp4 \
        -i in/square.st -o out/z
    sed 's/scale2/scale3/' out/a > out/e
    refused 1 'no tensor scale2' run dequant --key nvfp4 -i out/e -o out/z
    { hex 00 00 a8 43; hex 00 00 a8 43; } | st out/g "$(tensors scale2 F32 2 0,8)"
    refused 1 'found 1, needed 2' run quant --key nvfp4 -i in/square.st --also out/g -o out/z
    : | st out/zeros "$(tensors x F32 0,16 0,0)"
    works run quant --key nvfp4 --set scale2=amax -i out/zeros -o out/d &&
        equal "$(data out/d)" 0000803f 'G of nothing'
    head -c 128 /dev/zero | st out/zeros "$(tensors x F32 1,32 0,128)"
    for key in nvfp4 nvfp4_static int8_static_tensor_azp fp8_static mxfp4_static \
        int4_static_asym; do
        works run quant --key $key $(opts $key) -i out/zeros -o out/d &&
            works run dequant --key $key -i out/d -o out/y &&
            equal "$(data out/y | tr -d 0)" '' "$key: zeros"
    done
    works run quant --key fp8_static --set scale=amax -i out/zeros -o out/d &&
        equal "$(data out/d | head -c 8)" 0000803f 'the scale of zeros'
    { hex 01 00 00 00; head -c 60 /dev/zero; } | st out/x "$(tensors x F32 1,16 0,64)"
    works run quant --key nvfp4 --set scale2=amax -i out/x -o out/d &&
        equal "$(data out/d | head -c 8)" ffff7f7f 'the largest G'
    { hex c0 7f 80 3f; head -c 28 /dev/zero; } | st out/x "$(tensors x BF16 1,16 0,32)"
    works run quant --key nvfp4 --set scale2=amax -i out/x -o out/d &&
        equal "$(data out/d | head -c 8)" 00002845 'G beside a NaN'
}

bounds_and_zero_points_are_set_or_read() {
    set -- --key float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/bound=amax
    works run quant "$@" --set bound=224 -i in/four.st -o out/a || return
    equal "$(data out/a)" 0000003f7e40fe00
    header out/a | grep -q bound && note 'the bound is written'
    for shape in '' 1 1,1; do
        { cat in/four; hex 00 00 60 43; } |
            st out/x "$(tensors x F32 1,4 0,16 bound F32 "$shape" 16,20)"
        works run quant "$@" -i out/x -o out/b &&
            { cmp -s out/a out/b || note "shape [$shape]: another file"; }
    done
    refused 1 'no tensor bound' run quant "$@" -i in/four.st -o out/z
    set -- --key int8_static_tensor_azp
    works run quant "$@" --set scale=4 --set zero=-3 -i in/four.st -o out/a || return
    equal "$(data out/a)" 000080406dfdc5fdfd
    header out/a | grep -qF '"zero":{"dtype":"I8","shape":[1,1]' || note "$(header out/a)"
    works run dequant "$@" -i out/a -o out/y &&
        equal "$(data out/y)" 0000e04300000000000060c300000000
    { cat in/four; hex 00 00 80 40 fd; } |
        st out/x "$(tensors x F32 1,4 0,16 scale F32 '' 16,20 zero I8 1 20,21)"
    works run quant "$@" -i out/x -o out/b && equal "$(data out/b)" "$(data out/a)"
    refused 1 'no tensor zero' run quant "$@" --set scale=4 -i in/four.st -o out/z
    works run quant --key int4_static_group32_asym --set scale=0.5 --set zero=8 -i in/square.st \
        -o out/a || return
    equal "$(data out/a | tail -c 512 | tr -d 8)" '' 'packed zero points'
    set -- --key int4_static_group32_asym
    works run quant "$@" --set scale=amax -i in/square.st -o out/a &&
        works run quant "$@" --set scale=amax --set order=columns -i in/square.st -o out/b || return
    works run dequant "$@" -i out/a -o out/y && works run dequant "$@" -i out/b -o out/z &&
        { cmp -s out/y out/z || note 'the order of scales moves values'; }
}

the_scales_of_mx_clip_nothing() {
    works run quant --key mxfp8 -i in/square.st -o out/a &&
        works run quant --key mxfp8_static --set scale=amax -i in/square.st -o out/b &&
        { cmp -s out/a out/b || note 'mxfp8_static is not mxfp8'; }
}

an_infinity_counts_as_the_largest_number() {
    hex 80 7f 00 3f c0 7f 00 00 | st out/x "$(tensors x BF16 1,4 0,8)"
    works run quant --key fp8_static --set scale=amax -i out/x -o out/a &&
        works run quant --key fp8_dynamic_tensor -i out/x -o out/b &&
        { cmp -s out/a out/b || note 'the scale is not that of the dynamic key'; }
}

# observed KEY: what is observed, calibrated and given makes the bytes of the dynamic key
observed() {
    rm -f out/*
    see=amax
    case $1 in */asym*|*azp*) see=minmax ;; esac
    test "$1" = nvfp4 && g='--set scale2=336' || g=
    works run quant --key "$1" $g -i in/square.st -o out/a || return
    works run $see --key "$1" -i in/square.st -o out/seen || return
    works run calibrate --key "$1" $g -i out/seen -o out/given || return
    works run quant --key "$1" --static -i in/square.st --also out/given -o out/b || return
    cmp -s out/a out/b || note "$1: another file"
}

observed_scales_are_the_dynamic_ones() {
    for key in fp8_tensor fp8_token fp8_group128 fp8_block128 fp8_channel mxfp8 mxfp6_e2m3 mxfp4 \
        nvfp4 int8_tensor int8_group128 int8_token_azp vllm_int8_token_azp deepseek_block128 \
        int4/f16/1x32/dyn/amax.div7/x.div.s uint4/f32/1x64/dyn/range.div15/x.div.s/asym; do
        observed $key
    done
    works run amax --all --key fp8_group128 -i in/model.st -o out/seen || return
    works run calibrate --all --key fp8_group128 -i out/seen -o out/given || return
    works run quant --all --static --key fp8_group128 -i in/model.st --also out/given -o out/b &&
        works run quant --all --key fp8_group128 -i in/model.st -o out/a &&
        { cmp -s out/a out/b || note '--all: another file'; }
    hex 00 00 00 3f | st out/given "$(tensors scale F32 1,1 0,4)"
    works run quant --key fp8_token --static -i in/four.st --also out/given -o out/b &&
        equal "$(data out/b)" 0000003f7e40fe00 'a scale of 0.5'
    refused 1 'key.flags' run calibrate --all --key fp8_static -i out/seen -o out/z
}

observers_give_the_known_numbers() {
    o='-i in/four.st -o out/a'
    works run amax --key fp8_token $o && equal "$(data out/a)" 0000e043
    works run minmax --key fp8_token $o && equal "$(data out/a)" 000060c30000e043
    works run percentile --set percent=50 --key fp8_token $o && equal "$(data out/a)" 0000803f
    works run percentile --set percent=100 --key fp8_token $o && equal "$(data out/a)" 0000e043
    works run histogram --set limit=512 --set bins=4 $o &&
        equal "$(data out/a)" 0200000000000000010000000000000000000000000000000100000000000000
    header out/a | grep -qF '"counts":{"dtype":"I64","shape":[1,4]' || note "$(header out/a)"
    works run histogram --set limit=512 $o && equal "$(data out/a | wc -c | tr -d ' ')" 32768
    refused 1 'limit has a value' run histogram $o
    refused 1 'percent has a value' run percentile --key fp8_token $o
    refused 1 'percent has a value' run percentile --set percent=101 --key fp8_token $o
}

observers_go_on_from_what_was_seen() {
    hex 00 00 80 43 00 00 80 c3 | st out/x "$(tensors x F32 1,2 0,8)"      # 256 -256
    for op in 'amax --key fp8_tensor' 'minmax --key fp8_tensor' 'histogram --set limit=512'; do
        works run $op --set running=1 -i in/four.st -o out/a || return     # of nothing so far
        works run $op -i in/four.st -o out/b
        cmp -s out/a out/b || note "$op: running=1 without a past"
        works run $op --set running=1 -i out/x --also out/a -o out/c
        works run $op --set running=0 -i out/x --also out/a -o out/d
        cmp -s out/c out/d && note "$op: running=1 changes nothing"
        case $op in
        amax*) equal "$(data out/c)" 0000e043 && cp out/c out/amax ;;
        minmax*) equal "$(data out/c)" 000080c30000e043 ;;
        *) equal "$(data out/c | tr -d 0)" 11121 'bins in use' ;;
        esac
    done
    st out/y "$(tensors x F32 1,1 0,4)" < in/four_first
    works run minmax --key fp8_tensor --set running=1 -i out/y -o out/b &&
        equal "$(data out/b)" 0000e0430000e043 'the range of 448'
    hex 00 00 00 00 | st out/lo "$(tensors lo F32 1,1 0,4)"
    refused 1 'no tensor hi' run minmax --key fp8_tensor --set running=1 -i out/x --also out/lo \
        -o out/z
    refused 1 'amax has an extent' run amax --key fp8_channel --set running=1 -i out/x \
        --also out/amax -o out/z
    rm -f out/b
    works run minmax --key fp8_token --all --set running=1 -i in/model.st -o out/b &&
        works run minmax --key fp8_token --all --set running=1 -i in/model.st --also out/b \
            -o out/c &&
        { cmp -s out/b out/c || note '--all: the same again is not the same'; }
}

# requant is dequant and then quant, and says what it changed
requant_is_dequant_and_quant() {
    while read -r from key; do
        rm -f out/*
        set -- $(opts "$key")
        works run quant --key "$from" $(opts "$from") -i in/square.st -o out/a || continue
        works run dequant --key "$from" -i out/a -o out/y || continue
        sed 's/"y"/"x"/' out/y > out/x
        works run quant --key "$key" "$@" -i out/x -o out/b || continue
        works run requant --from "$from" --key "$key" \
            $(echo "$@" | sed 's/=amax/_out=amax/g') -i out/a -o out/c || continue
        equal "$(data out/c)" "$(data out/b)" "$from to $key"
        says 'codes      16384, '
        says 'SQNR dB'
    done <<END
fp8_token int8_token
fp8_group128 nvfp4
nvfp4 int8_token_azp
nvfp4_static mxfp6_e3m2
int8_token_azp int4_static_group32_asym
int4_static_asym nvfp4_static
mxfp4 fp8_static
fp8_block128 fp8_group128
END
    works run quant --key fp8_token -i in/four.st -o out/a || return
    works run requant --from fp8_token --key fp8_token -i out/a -o out/b || return
    equal "$(cat stdout)" '  codes      4, changed 0
  values     moved 0, infinite or NaN 0
  SQNR dB    inf'
    equal "$(data out/b)" "$(data out/a)"
    works run requant --from fp8_token --key int8_static_tensor --set scale_out=10 -i out/a -o out/b
    equal "$(data out/b)" 000020412d00ea00
    says 'of another type'
    works run requant --from fp8_token --set bound=224 -i out/a -o out/b \
        --key float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/bound=amax &&
        equal "$(data out/b)" 0000003f7e40fe00
    works run quant --all --key fp8_group128 -i in/model.st -o out/a
    works run requant --all --from fp8_group128 --key mxfp8 -i out/a -o out/b || return
    says w.a
    for n in w.a.q_out w.a.scale_out w.b.q_out w.b.scale_out; do
        header out/b | grep -q "\"$n\":" || note "no $n in $(header out/b)"
    done
    refused 1 'no tensor scale_out' run requant --from fp8_token --key fp8_static -i out/a \
        --also in/pair -o out/z
}

# fused OP FUSED KEY ARG...: FUSED makes the codes, scales and residual of OP and then quant
fused() {
    op=$1 both=$2 key=$3
    shift 3
    given=$(opts "$key" | sed 's/=amax/=0.125/g')
    works run "$op" "$@" -i in/block.st -o out/y || return
    sed 's/"y"/"x"/; s/"residual"/"residuaX"/' out/y > out/x
    works run quant --key "$key" $given -i out/x -o out/a || return
    works run "$both" --key "$key" $given $(echo "$*" | sed 's/--set out=f32//') -i in/block.st \
        -o out/b || return
    for n in q scale; do equal "$(pick out/b $n)" "$(pick out/a $n)" "$both $key $*: $n"; done
    header out/y | grep -q residual || return 0
    equal "$(pick out/b residual)" "$(pick out/y residual)" "$both $key $*: residual"
}

fused_ops_are_the_ops_one_after_another() {
    { cat in/matrix in/matrix in/matrix in/matrix; head -c 1024 in/matrix; } |
        st in/block.st "$(tensors x BF16 4,512 0,4096 weight BF16 512 16384,17408 \
            residual BF16 4,512 4096,8192 z BF16 8,512 8192,16384)"
    for key in fp8_token fp8_static mxfp4 nvfp4 int8_token_azp; do
        for mid in '' '--set mid=f32 --set out=f32'; do
            fused rms_norm rms_norm_quant $key $mid --set eps=1e-5
            fused act_mul act_mul_quant $key $mid --set gate=second --set act=gelu_tanh
        done
    done
    fused act_mul act_mul_quant mxfp8 --set gate=even --set act=swiglu_oai --set alpha=1.702 \
        --set plus=1 --set limit=7
    refused 2 'found nosuch, needed silu, gelu' run act --set act=nosuch -i in/block.st -o out/z
    refused 2 'found sil, needed silu' run act --set act=sil -i in/block.st -o out/z
    refused 2 'found last, needed first, second or even' run act_mul --set gate=last \
        -i in/block.st -o out/z
    refused 2 '--set mid: f3 is no type' run act_mul --set mid=f3 -i in/block.st -o out/z
    refused 2 'takes no --set gate' run rms_norm --set gate=first -i in/block.st -o out/z
    refused 2 'takes no --set residual' run rms_norm --set residual=1 -i in/block.st -o out/z
    refused 2 'amax is not a number' run rms_norm_quant --key fp8_static --set scale=amax \
        -i in/block.st -o out/z
    refused 1 'act has a value' run act --set act=swiglu_oai -i in/block.st -o out/z
}

activations_and_norms_give_the_known_numbers() {
    works run act --set act=relu2 -i in/four.st -o out/y && equal "$(data out/y)" \
        000044480000803f0000000000000000
    works run act_mul --set act=relu2 -i in/four.st -o out/y && equal "$(data out/y)" \
        00802bcc00000000
    header out/y | grep -qF '"shape":[1,2]' || note "$(header out/y)"
    # 3 4 0 0: the mean square is 2.5 squared
    { hex 00 00 40 40 00 00 80 40; head -c 8 /dev/zero; } > in/x
    st in/norm.st "$(tensors x F32 1,4 0,16)" < in/x
    works run rms_norm -i in/norm.st -o out/y && equal "$(data out/y)" \
        9a99993fcdcccc3f0000000000000000
    header out/y | grep -q residual && note 'a residual from nowhere'
    { cat in/x in/x; for _ in 1 2 3 4; do hex 00 00 00 40; done; } |
        st in/norms.st "$(tensors x F32 1,4 0,16 residual F32 1,4 16,32 weight F32 4 32,48)"
    works run rms_norm -i in/norms.st -o out/y &&
        equal "$(pick out/y y)" 9a991940cdcc4c400000000000000000 &&
        equal "$(pick out/y residual)" 0000c040000000410000000000000000
    works run rms_norm --all -i in/odd.st -o out/y && equal "$(cat stdout)" ''
    works run layer_norm --all -i in/model.st -o out/y &&
        equal "$(cat stdout)" 'skipped bias: not a matrix'
    { cat in/x in/x; } | st out/x "$(tensors x F32 2,1,4 0,32)"
    works run layer_norm --all -i out/x -o out/y
    works run layer_norm -i out/x -o out/y &&
        { header out/y | grep -qF '"shape":[2,1,4]' || note "$(header out/y)"; }
    refused 1 'tensor x: has 1 extent, needed 2 or 3' run layer_norm -i in/flat4 -o out/z
}

experts_have_rows_of_their_own() {
    { for _ in 1 2 3 4; do cat in/four; done; hex 01 00 00 00 05 00 00 00; } |
        st out/x "$(tensors x F32 2,2,4 0,64 counts I32 2 64,72)"
    set -- masked_act_mul_quant --key fp8_token --set act=relu2
    works run "$@" -i out/x -o out/a || return
    equal "$(pick out/a q)" fe000000fe00fe00
    equal "$(pick out/a status)" 02000000
    header out/a | grep -qF '"q":{"dtype":"F8_E4M3","shape":[2,2,2]' || note "$(header out/a)"
    refused 1 'no tensor counts' run "$@" -i in/four.st -o out/z
    # [2, 2, 256] to 128-wide groups in each order, back to rows
    { cat in/matrix in/matrix; hex 02 00 00 00 01 00 00 00; } |
        st out/x "$(tensors x BF16 2,2,1024 0,8192 counts I32 2 8192,8200)"
    for order in rows columns columns_tma packed_ue8m0; do
        works run masked_act_mul_quant --key vllm_packed_ue8m0 --set order=$order -i out/x \
            -o out/a || return
        sed 's/"scale"/"x"    /; s/\.scale"/.x"    /g' out/a > out/b
        works run scale_convert --set layout=rows -i out/b -o out/c || return
        case $order in
        rows) cp out/c out/r ;;
        *) cmp -s out/c out/r || note "$order: other scales" ;;
        esac
    done
    works run masked_act_mul_quant --key fp8_group128 --set order=columns -i out/x -o out/a
    header out/a | grep -qF '"scale":{"dtype":"U8","shape":[64]' || note "$(header out/a)"
    hex 00 00 00 00 00 00 00 00 | st out/x "$(tensors x BF16 2,0,1024 0,0 counts I32 2 0,8)"
    works run masked_act_mul_quant --key vllm_packed_ue8m0 --set order=packed_ue8m0 -i out/x \
        -o out/a
}

all_is_for_every_op() {
    hex 38 40 7f 00 00 00 80 3f 00 00 00 40 01 01 00 00 00 40 > out/bytes
    st out/x "$(tensors a F8_E4M3 1,4 0,4 b F32 2 4,12 flag BOOL 2 12,14 a.scale F32 1,1 14,18)" \
        < out/bytes
    works run cast --all --set out=bf16 -i out/x -o out/y || return
    says 'skipped flag: has a type that is not known here'
    equal "$(pick out/y a.y) $(pick out/y b.y) $(pick out/y a.scale.y)" \
        '803f0040c07f0000 803f0040 0040'
    works run fnuz_normalize --all -i out/x -o out/y || return
    says 'skipped a.scale: has no scale'
    equal "$(pick out/y a.y) $(pick out/y a.scale_out)" '38408000 00008040'
    hex 01 02 03 04 05 06 | st out/x "$(tensors s U8 2,3 0,6 '"vq.dtype.s":"float8_e8m0fnu"')"
    works run scale_convert --all --set layout=128x4 -i out/x -o out/y || return
    works run scale_convert --all --set layout=rows -i out/y -o out/z &&
        equal "$(data out/z)" 010203040506
    { hex 38 00 00 80 3f 38; } |
        st out/x "$(tensors a.q F8_E4M3 1,1 0,1 a.scale F32 1,1 1,5 b.y F8_E4M3 1,1 5,6)"
    works run dequant --all --key fp8_token -i out/x -o out/y &&
        says 'skipped b.y: neither NAME.q nor what goes with it'
}

compare_says_so_with_its_exit_code() {
    sed 's/"x"/"y"/' in/four.st > out/y
    cp out/y in/y
    works run compare -i in/four.st --also in/y && says 'passed: 0 of 4 mismatch'
    { hex 00 80 e0 43; tail -c 12 in/four; } | st in/y "$(tensors y F32 1,4 0,16)"      # 449
    refused 1 'found 25 % of mismatches, needed 0 % at most' run compare -i in/four.st --also in/y
    says 'FAILED: 1 of 4 mismatch'
    refused 1 'failed' run compare --set atol=0.99 -i in/four.st --also in/y
    works run compare --set atol=1 -i in/four.st --also in/y
    works run compare --set rtol=0.01 -i in/four.st --also in/y
    works run compare --set budget=25 -i in/four.st --also in/y
    refused 1 'needed 24 % at most' run compare --set budget=24 -i in/four.st --also in/y
    refused 1 'budget has a value' run compare --set budget=101 -i in/four.st --also in/y
    refused 1 'no tensor y' run compare -i in/four.st
    refused 1 'in/none' run compare -i in/four.st --also in/none
    hex 00 00 e0 43 00 00 80 3f | st in/y "$(tensors y F32 1,2 0,8)"
    refused 1 'y has an extent' run compare -i in/four.st --also in/y
    { cat in/four_first; cat in/four_first; } | st in/y "$(tensors x F32 '' 0,4 y F32 '' 4,8)"
    works run compare -i in/y
    { cat in/matrix; cat in/matrix; } |
        st in/y "$(tensors w.b.y BF16 16,128 0,4096 w.a.y BF16 4,512 4096,8192)"
    works run compare --all -i in/model.st --also in/y && says w.b
    equal "$(grep -c passed stdout)" 2
    works run cast --all --set out=float8_e4m3fn -i in/model.st -o in/y
    refused 1 'compare: 3 of 3 failed: bias: found 100 %' run compare --all -i in/model.st \
        --also in/y
}

int32_and_int64_stay_what_they_are() {
    head -c 48 in/matrix |
        st in/ints "$(tensors x I32 1,4 0,16 counts I64 1,2 16,32 y I32 1,4 32,48)"
    works run histogram --set limit=8 --set bins=2 --set running=1 -i in/four.st --also in/ints \
        -o out/h && header out/h | grep -qF '"counts":{"dtype":"I64"' || note "$(header out/h)"
    refused 1 'found int32' run quant --key fp8_token -i in/ints -o out/z
    refused 1 'found int32' run compare -i in/ints
    head -c 32 in/matrix | st in/ints "$(tensors counts I32 1,2 0,8 z I32 1,6 8,32)"
    refused 1 'counts has a type' run histogram --set limit=8 --set bins=2 --set running=1 \
        -i in/four.st --also in/ints -o out/z
}

a_machine_without_an_instruction_gives_the_same_bytes() {
    works info --backend cpu --without avx512,AVX2,neon || return
    grep -q '^  has .*\(AVX\|Neon\)' stdout && note "still: $(grep '^  has' stdout)"
    works explain quant --key fp8_token --shape 4,4 --without avx512
    for key in fp8_token mxfp4 int8_token_azp; do
        works run quant --key $key -i in/square.st -o out/a
        for caps in avx512 avx2 avx512,avx2 avx512,avx2,fma; do
            works run quant --key $key --without $caps -i in/square.st -o out/b &&
                { cmp -s out/a out/b || note "$key without $caps: other bytes"; }
        done
    done
}

help_lists_every_op_and_what_it_reads() {
    works run --help
    for w in 'quant            x [scale] [zero] [bound] [scale2] -> q scale [zero]' \
        'requant          q scale' 'compare          x y ->' 'histogram        x [counts] -> counts'
    do says "$w"; done
    sed -n '/^OP /,$p' stdout | grep -e '->' | tail -n +2 | cut -d ' ' -f 1 > ops
    while read -r op; do
        set -- explain "$op" --shape 128,128
        run "$@"
        grep -q 'needs --key' stderr && set -- "$@" --key mxfp4
        test "$op" = requant && set -- "$@" --from int8_token_azp
        works "$@" && says "$op: reference: runs"
    done < ops
    equal "$(test "$(grep -c '' ops)" -ge 12 && echo enough)" enough "ops: $(cat ops)"
}

# --- the output file -------------------------------------------------------

an_error_leaves_the_old_output_alone() {
    echo keep > out/y
    refused 1 'no tensor scale' run quant --key fp8_static -i in/four.st -o out/y
    refused 1 'no tensor q' run dequant --key fp8_token -i in/four.st -o out/y
    equal "$(cat out/y)" keep
}

an_output_that_cannot_be_written_is_one_line() {
    refused 1 'out/none/y: cannot be written: No such' run quant --key fp8_token -i in/four.st \
        -o out/none/y
    refused 1 'in/four.st/y' run quant --key fp8_token -i in/four.st -o in/four.st/y
    refused 1 'not a regular file' run quant --key fp8_token -i in/four.st -o out
    test ! -c /dev/full ||
        refused 1 'not a regular file' run quant --key fp8_token -i in/four.st -o /dev/full
    mkfifo out/pipe
    refused 1 'not a regular file' run quant --key fp8_token -i in/four.st -o out/pipe
    test -p out/pipe || note 'the pipe is gone'
    test -d /proc/self || { skip 'no /proc/self, where nothing can be written'; return; }
    refused 1 '/proc/self/y: cannot be written' run quant --key fp8_token -i in/four.st \
        -o /proc/self/y
}

# stuck: the tool under way to out/y, its output begun, waiting for a reader of its table
stuck() {
    test -p in/table || mkfifo in/table
    exec 3<> in/table 4< in/table
    "$tool" run quant --key fp8_token --all --error -i in/many.st -o out/y >&3 2> stderr 3>&- 4<&- &
    tool_pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        sleep 0.1 2> /dev/null || sleep 1
        test -n "$(find out -size +0 2> /dev/null | grep y)" && break
    done
    sleep 0.2 2> /dev/null || sleep 1
    kill -0 $tool_pid 2> /dev/null || note 'it did not wait'
}

# 1500 matrices, so that the table is more than a pipe holds
many() {
    head -c 24000 /dev/zero > in/zeros
    cut=$(printf '%060d' 0)
    st in/many.st "$(awk -v z="$cut" 'BEGIN {
        printf "{"
        for (i = 0; i < 1500; i++)
            printf "%s\"%s%d\":{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[%d,%d]}",
                i ? "," : "", z, i, i * 16, i * 16 + 16
        printf "}" }')" < in/zeros
}

a_signal_leaves_nothing() {
    many
    for signal in TERM HUP; do        # a shell's child in the background ignores INT
        stuck
        equal "$(ls -A out | wc -l | tr -d ' ')" 1 'files under way'
        kill -$signal $tool_pid
        wait $tool_pid
        test $? -gt 128 || note "$signal: the exit code is no signal's"
        exec 3>&- 4<&-
        equal "$(ls -A out)" '' "left behind by $signal"
    done
}

an_input_that_shrinks_is_one_line() {
    many
    stuck
    : > in/many.st
    cat <&4 > /dev/null 3>&- &
    exec 3>&- 4<&-
    wait $tool_pid
    equal $? 1 'exit code'
    wait                                # the cat, which sees the end now
    grep -q 'the input became shorter' stderr || note "found $(cat stderr)"
    equal "$(ls -A out)" '' 'left behind'
}

a_disk_that_fills_up_leaves_nothing() {
    (ulimit -f 4) 2> /dev/null || { skip 'no ulimit -f'; return; }
    echo keep > out/y
    (
        ulimit -f 4                                  # 2 or 4 KiB, by the shell
        "$tool" run cast --set out=f32 -i in/matrix.st -o out/y 2> "$top/stderr"
        equal $? 1 'exit code'
    )
    equal "$(wc -l < stderr | tr -d ' ')" 1 'lines'
    grep -q 'out/y: cannot be written' stderr || note "found $(cat stderr)"
    equal "$(ls -A out)" y
    equal "$(cat out/y)" keep
}

the_output_replaces_its_input_and_links_stay() {
    cp in/four.st out/x
    ln -s x out/link
    works run quant --key fp8_token -i out/x -o out/link || return
    equal "$(data out/x)" 0000803f7e38f600
    test -h out/link || note 'the link is gone'
    equal "$(ls -A out | wc -l | tr -d ' ')" 2 'files'
}

# --- bad input -------------------------------------------------------------

# broken WORDS: what stdin holds is refused
broken() {
    cat > in/bad.st
    refused 1 "$1" run cast --set out=f16 -i in/bad.st -o out/y
    grep -q 'in/bad.st' stderr || note "the file is not named: $(cat stderr)"
}

# entry WORDS HEADER [BYTES]: a file with this header and so many bytes, 16 unless given
entry() {
    head -c "${3:-16}" in/matrix | st in/entry "$2"
    broken "$1" < in/entry
}

files_that_end_early_are_refused() {
    refused 1 'in/none' run cast --set out=f16 -i in/none -o out/y
    refused 1 'not a regular file' run cast --set out=f16 -i in -o out/y
    test -p in/pipe || mkfifo in/pipe
    refused 1 'not a regular file' run cast --set out=f16 -i in/pipe -o out/y
    : | broken 'found 0 bytes'
    hex 00 00 00 | broken 'found 3 bytes'
    le64 0 | broken 'JSON'
    le64 1 | broken 'length'
    le64 1152921504606846976 | broken '1152921504606846976'
    { le64 1152921504606846976; echo '{"x":1}'; } | broken '1152921504606846976'
    { le64 -1; echo '{}'; } | broken '18446744073709551615'
    for n in 4 20 60 70; do head -c $n in/four.st | broken ''; done
}

headers_that_are_not_json_objects_are_refused() {
    entry 'JSON' '[]'
    entry 'JSON' ' {"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    entry 'JSON' '{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    entry 'JSON' '{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}x'
    entry 'JSON' "$(tensors x F32 4 0,99999999999999999999)"
    entry 'duplicate' "$(tensors x F32 4 0,16 x F32 4 0,16)"
    for name in 'x\377' 'x\300\200' 'x\355\240\200' 'x\303'; do
        entry 'JSON' "$(tensors "$(printf "$name")" F32 4 0,16)"
    done
    entry 'no tensor x' "$(tensors "$(printf 'x\303\251')" F32 4 0,16)"
    { le64 100000; head -c 100000 /dev/zero | tr '\000' '['; } | broken 'JSON'
    { le64 100000; printf '{"x":'; head -c 99995 /dev/zero | tr '\000' '['; } | broken 'JSON'
    entry '__metadata__' "$(tensors x F32 4 0,16 '"a":1')"
    entry '__metadata__' '{"__metadata__":[]}' 0
}

entries_that_contradict_the_file_are_refused() {
    entry 'tensor x' '{"x":[]}'
    entry 'tensor x' '{"x":{}}'
    entry 'tensor x' '{"x":{"dtype":5,"shape":[4],"data_offsets":[0,16]}}'
    entry 'tensor x' '{"x":{"dtype":"F32","shape":4,"data_offsets":[0,16]}}'
    entry 'data_offsets' "$(tensors x F32 4 0)"
    entry 'data_offsets' "$(tensors x F32 4 0,16,16)"
    entry 'data_offsets' "$(tensors x F32 4 0,16.0)"
    entry 'data_offsets' "$(tensors x F32 4 -16,0)"
    entry 'begin <= end' "$(tensors x F32 4 16,0)"
    entry 'ends at byte 20' "$(tensors x F32 5 0,20)"
    entry 'ends at byte 9223372036854775807' "$(tensors x F32 4 0,9223372036854775807)"
    entry 'found 16 bytes' "$(tensors x F32 3 0,16)"
    entry 'found 16 bytes' "$(tensors x F32 '' 0,16)"
    entry 'tensor z' "$(tensors x F32 2 0,8 z I16 3 8,16)"
    entry 'shape' "$(tensors x F32 -4 0,16)"
    entry 'shape' "$(tensors x F32 4.0 0,16)"
    entry 'shape' '{"x":{"dtype":"F32","shape":["4"],"data_offsets":[0,16]}}'
    entry 'too large' "$(tensors x F32 4611686018427387908 0,16)"
    entry 'too large' "$(tensors x F32 4294967296,4294967296,4 0,16)"
}

tensors_that_overlap_or_leave_holes_are_refused() {
    entry 'tensor y' "$(tensors x F32 4 0,16 y F32 4 0,16)"
    entry 'tensor y' "$(tensors x F32 3 0,12 y F32 2 8,16)"
    entry 'tensor y' "$(tensors x F32 2 0,8 y F32 1 12,16)"
    entry 'tensor x' "$(tensors x F32 3 4,16)"
    entry 'end at byte 12 of 16' "$(tensors x F32 3 0,12)"
    entry 'end at byte 0 of 16' '{}'
}

metadata_that_lies_is_refused() {
    lies() {                            # lies WORDS [TYPE] [EXTENTS] [ORDER], of 16 bytes
        m=${2:+,\"vq.dtype.x\":\"$2\"}${3+,\"vq.shape.x\":\"$3\"}${4:+,\"vq.order.x\":\"$4\"}
        entry "$1" "$(tensors x U8 4,4 0,16 "${m#,}")"
    }
    lies nosuch nosuch
    lies vq.shape '' 4,4
    lies 'needed 8' float4_e2m1fn 4,4
    for s in '' ',' '4,' 4,x -4,4 1,1,1,1,16 99999999999999999999; do
        lies vq.shape float8_e8m0fnu "$s"
    done
    lies 'tensor x' float8_e8m0fnu 4611686018427387904,4
    lies nosuch float8_e8m0fnu 4,4 nosuch
    lies 'needed 512' float8_e8m0fnu 4,4 128x4
    lies 'needs 2 extents' float8_e8m0fnu 16 columns
    entry 'needs type U8' "$(tensors x F32 4 0,16 '"vq.dtype.x":"float8_e8m0fnu"')"
}

tensors_that_do_not_fit_the_op_are_refused() {
    entry 'no tensor x' "$(tensors z F32 4 0,16)"
    entry 'found int64' "$(tensors x I64 2 0,16)"
    entry 'found int32' "$(tensors x I32 4 0,16)"
    entry 'U64' "$(tensors x U64 2 0,16)"
    entry 'NOSUCH' "$(tensors x NOSUCH 2 0,16)"
    entry '1 to 4 extents' "$(tensors x F32 1,1,1,1,4 0,16)"
    head -c 16 in/matrix | st in/flat "$(tensors x F32 4 0,16)"
    refused 1 'has 1 extent, needed 2' run quant --key fp8_token -i in/flat -o out/y
    refused 1 'has 1 extent, needed 2' run scale_convert --set layout=columns -i in/flat -o out/y
    head -c 16 in/matrix | st in/columns \
        "$(tensors x U8 16 0,16 '"vq.dtype.x":"f32","vq.shape.x":"2,2","vq.order.x":"columns"')"
    refused 1 'order columns, needed rows' run cast --set out=f16 -i in/columns -o out/y
    refused 1 'order columns, needed rows' run quant --key fp8_static --set scale=amax \
        -i in/columns -o out/y
    head -c 16 in/matrix | st in/ints "$(tensors x U8 4,4 0,16)"
    refused 1 'uint8' run quant --key fp8_token -i in/ints -o out/y
    refused 1 'no tensor scale' run fnuz_normalize -i in/ints -o out/y
    head -c 16 in/matrix | st in/ints "$(tensors x U8 2,6 0,12 scale F32 1 12,16)"
    refused 1 'uint8' run fnuz_normalize -i in/ints -o out/y
    head -c 16 in/matrix | st in/pair "$(tensors q F8_E4M3 2,4 0,8 scale F32 2 8,16)"
    refused 1 'needed float8_e4m3fnuz' run dequant --key fp8_token --as float8_e4m3fnuz \
        -i in/pair -o out/y
    refused 1 'scale' run dequant --key fp8_static -i in/pair -o out/y
    works run dequant --key fp8_token -i in/pair -o out/y
    rm out/y
}

a_name_cannot_break_the_line() {
    entry 'tensor' "$(tensors 'x\ny\u001b[31m' F32 3 0,16)"
    grep -q "$(printf '\033')" stderr && note 'an escape went through'
    # a type that has no name here stands in the way of nothing else
    head -c 16 in/matrix | st in/other "$(tensors x F32 2 0,8 z NOSUCH 7 8,16)"
    works run cast --set out=f16 -i in/other -o out/y
}

for name in help_and_version_work what_cannot_be_read_is_usage names_that_are_unknown_are_refused \
    what_an_op_does_not_use_is_refused what_is_said_twice_is_refused \
    what_is_understood_and_not_done_is_1 an_implementation_that_cannot_run_says_why \
    a_full_standard_output_is_an_error info_lists_devices_libraries_and_every_key \
    explain_gives_every_row_with_its_reason explain_writes_json \
    codes_and_scales_are_the_known_ones dequant_gives_the_values_back \
    a_quantized_matrix_quantizes_to_the_same_codes the_order_of_scales_moves_no_value \
    a_static_scale_is_read_from_the_file cast_knows_packed_types fnuz_normalize_goes_both_ways \
    scale_convert_comes_back all_takes_every_matrix_and_says_what_it_skips empty_matrices_are_fine \
    a_huge_extent_beside_one_of_0_takes_no_time a_tensor_without_extents_stays_one \
    all_takes_every_name \
    backends_are_asked_for_by_name \
    every_preset_comes_back_as_near_as_the_table_says \
    every_key_says_which_matrices_it_passes_over second_scales_are_set_made_or_read \
    bounds_and_zero_points_are_set_or_read an_infinity_counts_as_the_largest_number \
    the_scales_of_mx_clip_nothing \
    observed_scales_are_the_dynamic_ones observers_give_the_known_numbers \
    observers_go_on_from_what_was_seen requant_is_dequant_and_quant \
    fused_ops_are_the_ops_one_after_another activations_and_norms_give_the_known_numbers \
    experts_have_rows_of_their_own all_is_for_every_op \
    compare_says_so_with_its_exit_code int32_and_int64_stay_what_they_are \
    a_machine_without_an_instruction_gives_the_same_bytes help_lists_every_op_and_what_it_reads \
    a_signal_leaves_nothing an_input_that_shrinks_is_one_line an_error_leaves_the_old_output_alone \
    an_output_that_cannot_be_written_is_one_line a_disk_that_fills_up_leaves_nothing \
    the_output_replaces_its_input_and_links_stay files_that_end_early_are_refused \
    headers_that_are_not_json_objects_are_refused entries_that_contradict_the_file_are_refused \
    tensors_that_overlap_or_leave_holes_are_refused metadata_that_lies_is_refused \
    tensors_that_do_not_fit_the_op_are_refused a_name_cannot_break_the_line; do
    t "$name"
done
tail=
test $skipped = 0 || tail=", $skipped skipped"
echo "test_tool: $good passed, $bad failed$tail"
test $bad = 0

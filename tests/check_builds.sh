#!/bin/sh
# check_builds.sh - vq.h under every compiler and flag that its contract names
#
#   warnings are errors in C99, gnu99 and C++11; two translation units; VQ_STATIC; families left
#   out; builds that tempt the compiler to contract, run with the tests of numbers; fast-math
#   refused; the device compilers, where they are found
#
# Ends with "check_builds: N passed, N failed[, N skipped]"; CI=true makes a skip a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0
W="-Wall -Wextra -Wpedantic -Werror"

ok()   { printf '  %-58s ok\n' "$1"; passed=$((passed + 1)); }
bad()  { printf '  %-58s\n    FAILED\n' "$1"; sed 's/^/    /' "$dir/log" | head -20; failed=$((failed + 1)); }
skip() {
    if [ -n "${CI:-}" ]; then echo "$2" > "$dir/log"; bad "$1"
    else printf '  %-58s %s (skipped)\n' "$1" "$2"; skipped=$((skipped + 1)); fi
}
try()  { name=$1; shift; if "$@" > "$dir/log" 2>&1; then ok "$name"; else bad "$name"; fi; }
refuse() { name=$1; shift; if "$@" > "$dir/log" 2>&1; then bad "$name"; else ok "$name"; fi; }
have() { command -v "$1" > /dev/null 2>&1; }

# What takes long is done two at a time: later NAME COMMAND... begins, settle waits and tells.
begun=0
told=0
later() {
    begun=$((begun + 1))
    printf '%s' "$1" > "$dir/job$begun.name"
    shift
    (
        status=0
        "$@" > "$dir/job$begun.log" 2>&1 || status=$?
        echo $status > "$dir/job$begun.status"
    ) &
    [ $((begun - told)) -lt 2 ] || settle
}
settle() {
    wait
    while [ $told -lt $begun ]; do
        told=$((told + 1))
        try "$(cat "$dir/job$told.name")" sh -c "cat '$dir/job$told.log'; exit \$(cat '$dir/job$told.status')"
    done
}

# --- warnings, in every language -------------------------------------------------------
for c in gcc clang; do
    have "$c" || { skip "$c" "no $c: apt-get install $c"; continue; }
    for s in c99 gnu99; do
        later "$c -std=$s: the header" $c -std=$s $W -O2 -x c -DVQ_IMPLEMENTATION -c vq.h -o "$dir/o$c$s"
        later "$c -std=$s: the examples" sh -c "for f in examples/*.c; do $c -std=$s $W -fsyntax-only \$f || exit 1; done"
        later "$c -std=$s: the tests" sh -c "for f in tests/*.c; do $c -std=$s -Wall -Wextra -Werror -fsyntax-only \$f || exit 1; done"
    done
    later "$c: every option at once" $c -std=c99 $W -x c -DVQ_IMPLEMENTATION -DVQ_NO_DLOPEN \
        -DVQ_NO_ENV -DVQ_STATIC -fsyntax-only vq.h
    for f in CONVERT QUANT ACT NORM OBSERVE SCALES COMPARE; do
        later "$c: VQ_NO_$f" $c -std=c99 $W -x c -DVQ_IMPLEMENTATION -DVQ_NO_$f -c vq.h -o "$dir/o$c$f"
    done
    later "$c: every family left out" $c -std=c99 $W -x c -DVQ_IMPLEMENTATION -DVQ_NO_CONVERT -DVQ_NO_QUANT \
        -DVQ_NO_ACT -DVQ_NO_NORM -DVQ_NO_OBSERVE -DVQ_NO_SCALES -DVQ_NO_COMPARE -c vq.h -o "$dir/o$c"
done
for c in g++ clang++; do
    have "$c" || { skip "$c" "no $c: apt-get install g++ clang"; continue; }
    for s in c++11 gnu++17; do
        later "$c -std=$s: the header" $c -std=$s $W -x c++ -DVQ_IMPLEMENTATION -c vq.h -o "$dir/o$c$s"
        later "$c -std=$s: the examples" sh -c "for f in examples/*.c; do $c -std=$s $W -x c++ -fsyntax-only \$f || exit 1; done"
        later "$c -std=$s: the graph" $c -std=$s $W -x c++ -DVQ_IMPLEMENTATION -include vq.h -fsyntax-only \
            examples/vq/graph.h
    done
done

settle

# --- two translation units, and one that is static -------------------------------------
cat > "$dir/one.c" <<'X'
#define VQ_IMPLEMENTATION
#include "vq.h"
int two(void);
int main(void)
{
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    d.backend = VQ_CPU;
    if (vq_init(&d, &vq) != VQ_OK) return 1;
    vq_free(vq);
    return two();
}
X
cat > "$dir/two.c" <<'X'
#include "vq.h"
int two(void)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_TOKEN);
    return vq_e4m3fn_from_f32(448.0f, VQ_SATURATE) == 0x7e && k.code_max == 448.0f ? 0 : 1;
}
X
both() { $1 -I"$top" $W $2 "$dir/one.c" $2 "$dir/two.c" -o "$dir/both" -ldl && "$dir/both"; }
statics() {                              # each file has an implementation of its own
    $1 -I"$top" $W -DVQ_STATIC -c "$dir/one.c" -o "$dir/one.o" &&
        $1 -I"$top" $W -DVQ_STATIC -DVQ_IMPLEMENTATION -c "$dir/two.c" -o "$dir/two.o" &&
        $1 "$dir/one.o" "$dir/two.o" -o "$dir/both" -ldl && "$dir/both"
}
for c in gcc clang; do
    have $c || continue
    try "$c: two translation units" both $c "-x c"
    try "$c: VQ_STATIC in two files" statics $c
done
for c in g++ clang++; do
    have $c && try "$c: two translation units" both $c "-x c++"
done

# --- installed, and found by pkg-config --------------------------------------------------
installed() {
    make -s install DESTDIR="$dir/root" PREFIX=/usr > /dev/null || return 1
    sed 's,"../vq.h",<vq.h>,' examples/01_quantize.c > "$dir/app.c"
    flags=$(PKG_CONFIG_SYSROOT_DIR="$dir/root" PKG_CONFIG_PATH="$dir/root/usr/lib/pkgconfig" \
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 pkg-config --cflags --libs vq) || return 1
    # shellcheck disable=SC2086
    (cd "$dir" && cc app.c $flags -o app && VQ_BACKEND=cpu ./app 2> /dev/null) | grep -q 'reference: runs' &&
        [ "$(PKG_CONFIG_PATH="$dir/root/usr/lib/pkgconfig" pkg-config --modversion vq)" = \
          "$(sed -n '1s/.*- v\([0-9.]*\) -.*/\1/p' vq.h)" ]
}
if have pkg-config; then try "make install, and a program built by pkg-config" installed
else skip "make install" "no pkg-config"; fi

# --- builds that tempt the compiler: same bits, or no build -----------------------------
numbers="test_formats test_numerics test_quant test_keys test_fnuz test_rules test_activations"
tempt() {
    own=$(mktemp -d "$dir/tempt.XXXXXX")
    for t in $numbers; do
        # shellcheck disable=SC2086
        $1 -w tests/$t.c -o "$own/$t" -ldl -lm && "$own/$t" > "$own/out" 2>&1 ||
            { tail -20 "$own/out" 2>/dev/null; echo "$t failed"; return 1; }
    done
}
export VQ_TEST_DIR="$top/build"
for c in gcc clang; do
    have $c || continue
    for f in "-std=c99 -O0" "-std=gnu99 -O2" "-std=gnu99 -O3 -march=native -ffp-contract=fast" \
             "-std=gnu99 -O3 -ffp-contract=fast"; do
        later "$c $f" tempt "$c $f"
    done
done
for c in g++ clang++; do                 # the tests that are C++ too
    have $c || continue
    numbers="test_formats test_numerics test_fnuz"
    later "$c -std=gnu++17 -O3 -march=native -ffp-contract=fast" tempt \
        "$c -x c++ -std=gnu++17 -O3 -march=native -ffp-contract=fast"
done
numbers="test_formats test_numerics test_quant test_keys test_fnuz"
for f in -ffast-math -Ofast -funsafe-math-optimizations -ffinite-math-only -fno-signed-zeros \
         "-mfpmath=387 -m64"; do
    # shellcheck disable=SC2086
    have gcc && refuse "gcc $f does not compile" gcc $f -x c -DVQ_IMPLEMENTATION -fsyntax-only vq.h
done
have clang && refuse "clang -ffinite-math-only does not compile" clang -ffinite-math-only -x c -DVQ_IMPLEMENTATION -fsyntax-only vq.h
have clang && refuse "clang -ffast-math does not compile" clang -ffast-math -x c -DVQ_IMPLEMENTATION -fsyntax-only vq.h
if have clang; then                      # these leave no macro behind: the pragma must hold
    for f in -freciprocal-math -fassociative-math -fno-signed-zeros; do
        later "clang -O3 $f" tempt "clang -std=gnu99 -O3 $f"
    done
fi
settle

# --- what is in the object, and what is not ----------------------------------------------
no_globals() {
    cc -O2 -fno-pie -x c -DVQ_IMPLEMENTATION -c vq.h -o "$dir/g.o" || return 1
    nm "$dir/g.o" | grep -E ' [bBdDgGsS] ' && return 1
    return 0
}
try "the implementation has no variable that can change" no_globals
no_jansson() {
    rm -rf "$dir/tree" && mkdir "$dir/tree" && cp -r Makefile vq.h vq_kernels.hip examples tests "$dir/tree" &&
        make -C "$dir/tree" JANSSON= TESTS=build/test_quant MOCKS= STANDINS= all | grep -q libjansson-dev && [ ! -e "$dir/tree/build/vq" ] &&
        [ -x "$dir/tree/build/test_quant" ]
}
try "without jansson all but the tool is built, and it says so" no_jansson
for o in VQ_NO_DLOPEN VQ_NO_ENV; do
    option() {
        gcc -D$o examples/01_quantize.c -o "$dir/opt" -ldl &&
            VQ_BACKEND=nonsense "$dir/opt" > "$dir/out" 2>&1
        status=$?
        if [ $o = VQ_NO_ENV ]; then [ $status -eq 0 ]
        else [ $status -eq 1 ] && VQ_BACKEND=any "$dir/opt" 2>&1 | grep -q 'built with VQ_NO_DLOPEN'; fi
    }
    try "$o" option
done

# --- the device compilers ---------------------------------------------------------------
HIPCC=${HIPCC:-hipcc}
if have "$HIPCC"; then
    # gfx942 is optimized, as the library; the others are compiled for their instructions.
    hip_library() { make -s hip HIPCC="$HIPCC" GFX=gfx942; }
    later "hipcc gfx942: the library" hip_library
    for g in gfx90a gfx1100 gfx1201; do
        later "hipcc $g: the kernels" "$HIPCC" -O1 -std=c++17 -Wall -Wextra -Werror --offload-arch=$g \
            --cuda-device-only --no-gpu-bundle-output -o "$dir/k_$g" vq_kernels.hip
    done
    later "hipcc gfx950: an object" "$HIPCC" -O1 -std=c++17 -Wall -Wextra -Werror --offload-arch=gfx950 \
        -c vq_kernels.hip -o "$dir/h.o"
    later "hipcc: one command, program and kernels" "$HIPCC" -O1 -x hip --offload-arch=gfx942 \
        examples/01_quantize.c vq_kernels.hip -o "$dir/hip_prog" -ldl
    for f in CONVERT QUANT ACT NORM SCALES; do
        later "hipcc: VQ_NO_$f" "$HIPCC" -std=c++17 -Wall -Wextra -Werror -DVQ_NO_$f --offload-arch=gfx942 \
            -fsyntax-only vq_kernels.hip
    done
    settle
    one_symbol() {
        nm -D --defined-only build/libvq_hip.so | awk '{ print $3 }' > "$dir/symbols"
        cat "$dir/symbols"
        [ "$(cat "$dir/symbols")" = vq_kernels_hip ]
    }
    try "hipcc: the library exports one symbol" one_symbol
    try "that program, on a machine without a GPU" sh -c "'$dir/hip_prog' 2>/dev/null | grep -q 'reference: runs'"
else skip "hipcc" "no hipcc: sh tests/rocm.sh DIR brings one, then HIPCC=DIR/hipcc"; fi
NVCC=${NVCC:-nvcc}
if have "$NVCC"; then
    cuda_library() { make -s cuda NVCC="$NVCC" SM=90a; }
    later "nvcc sm_90a: the library" cuda_library
    for a in 80 100 120; do
        later "nvcc sm_$a: the kernels" "$NVCC" -O3 -std=c++17 -arch=sm_$a --fmad=false \
            -Xcompiler -Wall,-Wextra,-Werror -cubin vq_kernels.cu -o "$dir/k_$a"
    done
    later "nvcc sm_89: an object" "$NVCC" -O3 -std=c++17 -arch=sm_89 --fmad=false \
        -Xcompiler -Wall,-Wextra,-Werror -c vq_kernels.cu -o "$dir/c.o"
    later "nvcc: one command, program and kernels" "$NVCC" -arch=sm_90 -x cu examples/01_quantize.c \
        vq_kernels.cu -o "$dir/cuda_prog" -ldl
    for f in CONVERT QUANT ACT NORM SCALES; do
        later "nvcc: VQ_NO_$f" "$NVCC" -Xcicc -O0 -std=c++17 -DVQ_NO_$f -arch=sm_90 -ptx vq_kernels.cu -o "$dir/k_$f"
    done
    settle
    one_cuda_symbol() {
        nm -D --defined-only build/libvq_cuda.so | awk '{ print $3 }' > "$dir/symbols"
        cat "$dir/symbols"
        [ "$(cat "$dir/symbols")" = vq_kernels_cuda ]
    }
    try "nvcc: the library exports one symbol" one_cuda_symbol
    if have "$HIPCC"; then
        try "both vendors' kernels in one program" ld -r "$dir/h.o" "$dir/c.o" -o "$dir/hc.o"
    fi
    try "that program, on a machine without a GPU" sh -c "VQ_BACKEND=cpu '$dir/cuda_prog' 2>/dev/null | grep -q 'reference: runs'"
else printf '  %-58s %s\n' "nvcc" "not found, not needed"; fi

# --- words and files ----------------------------------------------------------------------
words() {
    git ls-files > "$dir/files" 2> /dev/null || return 0     # not a checkout
    if xargs grep -nIE '\bTODO\b|\bFIXME\b|\bXXX\b|previously|no longer|/tmp/[a-z]+_jobs|https?://[a-z.-]*(debian|pypi)' \
        < "$dir/files" | grep -v '^tests/check_'; then return 1; fi
    grep -v / "$dir/files" | tr '\n' ' ' > "$dir/top"
    cat "$dir/top"
    [ "$(cat "$dir/top")" = ".gitignore CHANGES.md LICENSE Makefile README.md vq.h vq_kernels.cu vq_kernels.hip " ]
}
try "no stray word, no stray file at the top" words
columns() { awk 'length($0) > 110 { print FILENAME ":" FNR; bad = 1 } END { exit bad }' vq_kernels.hip vq_kernels.cu \
            examples/*.c examples/vq/*.[ch] tests/*.[ch]; }
try "no line over 110 columns in C" columns

printf 'check_builds: %d passed, %d failed' $passed $failed
[ $skipped -gt 0 ] && printf ', %d skipped' $skipped
echo
[ $failed -eq 0 ]

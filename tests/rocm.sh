#!/bin/sh
# tests/rocm.sh DIR: a HIP compiler, DIR/hipcc, on a Debian 12 that has none of use (its own knows
# no gfx942): clang 21, ROCm device libraries 7 and HIP 6.4 out of Debian's newer suite.
#
# The packages are unpacked into DIR and patched to find each other there; nothing is installed,
# the host's apt stays as it is, and deleting DIR undoes everything (half a GB). Programs that
# DIR/hipcc links run on this machine, with DIR's libc, because DIR's libamdhip64 needs it.
# Host code is compiled with the headers of the machine's own g++.
# Returns at once when DIR/hipcc compiles already.
set -eu

suite=forky
llvm=21
wanted="clang-$llvm clang-tools-$llvm libclang-common-$llvm-dev lld-$llvm llvm-$llvm
        rocm-device-libs-$llvm libamdhip64-dev"

say() { echo "rocm.sh: $*"; }
die() { say "$*" >&2; exit 1; }

test $# = 1 || die "usage: tests/rocm.sh DIR"
mkdir -p "$1"
dir=$(cd "$1" && pwd)

compiles() {
    test -x "$dir/hipcc" || return 1
    printf '%s\n' '#include <hip/hip_runtime.h>' \
        '__global__ void k(int *p) { *p = (int)threadIdx.x; }' > "$dir/try.hip"
    "$dir/hipcc" --offload-arch=gfx950 --cuda-device-only --no-gpu-bundle-output \
        -o "$dir/try.elf" "$dir/try.hip" 2> "$dir/try.log"
}

if compiles; then
    say "$dir/hipcc is there"
    exit 0
fi

case $(uname -m) in
x86_64) ;;
*) die "needs an x86-64 machine, this is $(uname -m)" ;;
esac
grep -qs '^ID=debian' /etc/os-release || die "needs Debian: /etc/os-release does not name it"
for tool in apt-get dpkg-deb patchelf g++; do
    command -v $tool > /dev/null || die "needs $tool, which is not installed"
done
keys=/usr/share/keyrings/debian-archive-keyring.gpg
test -r $keys || die "needs the package debian-archive-keyring"

# The mirror that this machine's apt takes its own release from.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(SUITE) $(RELEASE)' 'Created-By: Packages' |
    awk -v c="$codename" '$2 == c || $3 == c || $2 ~ /^(old)*stable$/ { print $1; exit }')
test -n "$mirror" || die "needs an apt source for Debian $codename to take the mirror from"

# An apt of its own: sources, lists, cache, and a status file in which nothing is installed. The
# mirror may serve a Release file past its date.
apt=$dir/.apt
rm -rf "$apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/preferences.d"
: > "$apt/status"
echo "deb [signed-by=$keys arch=amd64] $mirror $suite main" > "$apt/sources.list"
cat > "$apt/apt.conf" <<X
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$apt/preferences.d";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::Archives "archives";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
X
export APT_CONFIG="$apt/apt.conf"
apt-get -qq update || die "could not read the suite $suite of the mirror"

# Everything that would be installed, less what is no shared library: compilers' own headers,
# Python, documentation. apt knows the names, which change with each library's version.
apt-get -s --no-install-recommends install $wanted > "$apt/plan" ||
    die "the suite $suite lacks one of: $(echo $wanted)"
libraries=$(awk '$1 == "Inst" && $2 ~ /^lib/ && $2 !~ /-dev$|python/ { print $2 }' "$apt/plan")
(cd "$apt/archives" && apt-get -qq download $wanted $libraries) || die "the download failed"
for deb in "$apt"/archives/*.deb; do
    dpkg-deb -x "$deb" "$dir"
done

# DIR's programs run with DIR's loader and libraries. It is the loader recorded in the file that
# counts: started through the loader, clang would not find itself in /proc/self/exe. libLLVM and
# libclang-cpp carry a RUNPATH, which would switch off that of the program.
lib=$dir/usr/lib/x86_64-linux-gnu
bin=$dir/usr/lib/llvm-$llvm/bin
loader=$dir/usr/lib64/ld-linux-x86-64.so.2
test -e "$loader" || die "libc6 has no $loader"
test -e "$dir/lib64" || ln -s usr/lib64 "$dir/lib64"
for name in clang lld clang-offload-bundler llvm-objdump llvm-readobj; do
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$lib:$bin/../lib" \
        "$(readlink -f "$bin/$name")"
done
for file in "$lib"/libLLVM.so.$llvm* "$lib"/libclang-cpp.so.$llvm*; do
    test -L "$file" || patchelf --force-rpath --set-rpath "$lib" "$file"
done

# -isystem of all of DIR/usr/include would hide the machine's own headers: only hip/ is shown.
mkdir -p "$dir/include"
ln -sfn ../usr/include/hip "$dir/include/hip"
hip=$(sed -n 's/^#define HIP_VERSION_\(MAJOR\|MINOR\|PATCH\) *//p' \
    "$dir/usr/include/hip/hip_version.h" | paste -sd.)
device=$(dirname "$(find "$dir/usr/lib" -name ocml.bc | head -n 1)")
cat > "$dir/hipcc" <<X
#!/bin/sh
exec "$bin/clang++" -x hip --rocm-path="$dir/usr" --rocm-device-lib-path="$device" \\
    --hip-version=$hip -isystem "$dir/include" -Wno-unused-command-line-argument "\$@" -x none \\
    -L"$lib" -Wl,--allow-shlib-undefined -Wl,--disable-new-dtags -Wl,-rpath,"$lib" \\
    -Wl,-dynamic-linker,"$loader" -lamdhip64
X
chmod +x "$dir/hipcc"
rm -rf "$apt"

compiles || die "$dir/hipcc does not compile: $(head -n 1 "$dir/try.log")"
say "$dir/hipcc: $("$dir/hipcc" --version | head -n 1), HIP $hip"

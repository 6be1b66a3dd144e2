# make            tests, examples and the vq tool; a C99 compiler, and jansson for the tool
# make test       every test, in about two minutes
# make demo       the main job on generated activations under every key; what each op would do; a
#                 quantized feed-forward block, fused and not
# make bench      the references' speed beside memcpy       BENCH_ARGS="fp8_group128"
# make fuzz       arguments, files, graphs, kernels         needs clang's libFuzzer
# make exhaustive every f32 through every encoder and through exp, erf, log1p; minutes
# make check      what CI runs: warnings in C and C++, builds that tempt the compiler, docs
# make sanitize   the tests under ASan and UBSan
# make oracle     numpy and ml_dtypes beside vq, on generated data and on a real model's weights
# make hip        build/libvq_hip.so  (hipcc)       make hip  GFX="gfx942 gfx950"
# make cuda       build/libvq_cuda.so (nvcc)        make cuda SM="90a"
# make device     on a machine with a GPU: its bytes beside the reference's; device-sanitize: with
#                 compute-sanitizer
# make gpu-bench  there too: every op beside a kernel that only moves its bytes
# make hip-report what the compiler made of the kernels for AMD; fails on a spill    (hipcc)
# make emulate    the AMD machine code in an emulator         VQ_TINYGRAD=a checkout
# make install    PREFIX=/usr/local
CC     ?= cc
CXX    ?= c++
CFLAGS ?= -O2 -g
HIPCC  ?= hipcc
NVCC   ?= nvcc
PYTHON ?= python3
PREFIX ?= /usr/local
GFX    ?= gfx90a gfx942 gfx950 gfx1100 gfx1201
SM     ?= 80 89 90a 100 120
WARN    = -Wall -Wextra

TESTS    = $(patsubst tests/%.c,build/%,$(wildcard tests/test_*.c))
EXAMPLES = $(patsubst examples/%.c,build/%,$(wildcard examples/*.c))
MOCKS    = $(addprefix build/mock/,libcuda.so.1 libamdhip64.so.7 missing/libcuda.so.1 missing/libamdhip64.so.7) \
           build/libfast.so build/libvq_mock.so build/mock_archive
STANDINS = $(addprefix build/,libvq_standin_64.so libvq_standin_32.so libstandin_faults_64.so libstandin_faults_32.so)
JANSSON := $(shell pkg-config --libs jansson 2>/dev/null)
TOOL     = $(if $(JANSSON),build/vq)

all: $(TESTS) $(MOCKS) $(STANDINS) $(EXAMPLES) $(TOOL)
	@[ -n "$(TOOL)" ] || echo "the vq tool was not built: pkg-config finds no jansson (Debian: libjansson-dev)"

test: all
	@sh tests/run.sh $(TESTS) build/mock_archive tests/test_demo.sh $(if $(TOOL),tests/test_tool.sh)

demo: build/02_activations build/03_feed_forward
	@build/02_activations
	@build/03_feed_forward

bench: build/bench
	@build/bench $(BENCH_ARGS)

fuzz: build/fuzz_kernels
	@sh tests/run.sh tests/fuzz.sh build/fuzz_kernels

exhaustive: build/test_formats build/test_numerics build/test_activations build/libfast.so
	@VQ_TEST_SECONDS=7200 sh tests/run.sh build/test_formats build/test_numerics build/test_activations -- --exhaustive

check: test build/docs
	@sh tests/run.sh tests/check_limits.sh
	@VQ_TEST_SECONDS=1600 sh tests/run.sh tests/check_builds.sh tests/check_markers.sh
	@sh tests/run.sh tests/docs.sh -- --check

sanitize:
	@$(MAKE) -s BUILD_NOTE= clean-tests
	@$(MAKE) -s test CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'; \
	 status=$$?; $(MAKE) -s clean-tests; exit $$status

oracle: all
	@sh tests/run.sh tests/oracle/run.sh

docs: build/docs
	@sh tests/docs.sh

build/%: tests/%.c tests/vq_test.h vq.h | build
	$(CC) $(WARN) $(CFLAGS) $< -o $@ -ldl -lm -lpthread
build/test_registry build/test_contract: tests/mock_kernels.c
build/test_graph: $(wildcard examples/vq/graph*)
build/%: examples/%.c vq.h | build
	$(CC) $(WARN) $(CFLAGS) $< -o $@ -ldl -lm
build/vq: $(wildcard examples/vq/*.c examples/vq/*.h) vq.h | build
	$(CC) $(WARN) $(CFLAGS) $(shell pkg-config --cflags jansson) examples/vq/*.c -o $@ $(JANSSON) -ldl -lm

build/mock/libcuda.so.1 build/mock/libamdhip64.so.7: tests/mock_driver.c | build/mock/missing
	$(CC) $(WARN) -fPIC -shared $(if $(findstring cuda,$@),-DMOCK_CUDA,-DMOCK_HIP) $< -o $@
build/mock/missing/libcuda.so.1 build/mock/missing/libamdhip64.so.7: tests/mock_driver.c | build/mock/missing
	$(CC) $(WARN) -fPIC -shared -DMOCK_MISSING $(if $(findstring cuda,$@),-DMOCK_CUDA,-DMOCK_HIP) $< -o $@
build/libfast.so: tests/fast_math.c | build
	$(CC) -Ofast -fPIC -shared $< -o $@
build/libvq_mock.so: tests/mock_kernels.c vq.h | build
	$(CC) $(WARN) -fPIC -shared -DMOCK_SHARED $< -o $@
build/mock_archive: tests/mock_kernels.c tests/mock_archive.c vq.h | build
	$(CC) $(WARN) -DMOCK_ARCHIVE -c tests/mock_kernels.c -o build/mock_kernels.o
	rm -f build/libmock.a && ar rcs build/libmock.a build/mock_kernels.o
	$(CC) $(WARN) -DVQ_WITH_HIP -DVQ_WITH_CUDA tests/mock_archive.c -o $@ -Lbuild -lmock -ldl

# The kernels on a CPU. The compiler only says where memory is accessed: tests/standin/standin.cc is
# what it calls, no sanitizer library is linked. These flags also stay under `make sanitize`.
STANDIN_FLAGS = -std=c++17 $(WARN) -g -fPIC -fvisibility=hidden
WATCHED = $(STANDIN_FLAGS) -Wno-unknown-pragmas -O1 $(shell $(CXX) --version | grep -q clang || echo -fno-thread-jumps) \
          -ffp-contract=off -fsanitize=thread,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
STANDIN = tests/standin/standin.cc tests/standin/standin.h tests/standin/hip/hip_runtime.h

build/standin_%.o: $(STANDIN) | build
	$(CXX) $(STANDIN_FLAGS) -O2 -DSTANDIN_WAVE=$* -c tests/standin/standin.cc -o $@
build/standin_kernels.o: vq_kernels.hip vq.h $(STANDIN) | build
	$(CXX) $(WATCHED) -I tests/standin -I . -x c++ -c vq_kernels.hip -o $@
build/standin_faults.o: tests/standin/faults.hip $(STANDIN) | build
	$(CXX) $(WATCHED) -I tests/standin -x c++ -c tests/standin/faults.hip -o $@
build/libvq_standin_%.so: build/standin_kernels.o build/standin_%.o
	$(CXX) -shared $^ -o $@ -ldl -lpthread
build/libstandin_faults_%.so: build/standin_faults.o build/standin_%.o
	$(CXX) -shared $^ -o $@ -ldl -lpthread
build/test_kernels build/fuzz_kernels: tests/standin/differ.h tests/standin/standin.h $(STANDINS)
build/test_gated build/test_norms: tests/refused.h
build/test_compare build/test_observe build/test_requant: tests/boxes.h tests/cpus.h
build/test_graph build/test_graph_gpu: $(wildcard examples/vq/graph*) | $(STANDINS)

# A kernel library exports its one symbol, and nothing that the compiler adds.
build/%.map: | build
	printf '{ global: vq_kernels_$*; local: *; };\n' > $@

hip: build/libvq_hip.so
cuda: build/libvq_cuda.so
build/libvq_hip.so: vq_kernels.hip vq.h build/hip.map
	$(HIPCC) -O3 -std=c++17 $(WARN) $(addprefix --offload-arch=,$(GFX)) -DVQ_KERNEL_ARCHS='"$(GFX)"' \
	  -ffp-contract=off -fPIC -fvisibility=hidden -shared -Wl,--version-script=build/hip.map vq_kernels.hip -o $@
build/libvq_cuda.so: vq_kernels.cu vq_kernels.hip vq.h build/cuda.map
	$(NVCC) -O3 -std=c++17 $(foreach a,$(SM),-gencode arch=compute_$(a),code=sm_$(a)) \
	  -DVQ_KERNEL_ARCHS='"$(patsubst %a,%,$(addprefix sm_,$(SM)))"' --fmad=false \
	  -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden -Xlinker --version-script=build/cuda.map \
	  -shared vq_kernels.cu -o $@

# on a machine with a GPU, after `make cuda` or `make hip`
device: build/device
	build/device $(DEVICE_ARGS)
device-sanitize: build/device
	@for t in memcheck racecheck initcheck synccheck; do echo $$t; \
	  compute-sanitizer --tool $$t --error-exitcode 9 build/device --sanitize $(DEVICE_ARGS) || exit 1; done
build/device: tests/device_cases.h tests/standin/differ.h tests/standin/standin.h

GPU_BENCH ?= build/gpu_bench
gpu-bench: $(GPU_BENCH)
	$(GPU_BENCH) $(GPU_BENCH_ARGS)
build/gpu_bench: tests/gpu_bench.cu vq.h | build
	$(NVCC) -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -diag-suppress 1675 \
	  -Xcompiler -Wall,-Wextra $< -o $@ -ldl
build/gpu_bench_hip: tests/gpu_bench.cu vq.h | build
	$(HIPCC) -x hip -O3 -std=c++17 $(WARN) $(addprefix --offload-arch=,$(GFX)) $< -o $@ -ldl

hip-report:
	@HIPCC='$(HIPCC)' $(PYTHON) tests/hip_report.py --archs '$(GFX)'
emulate:
	@HIPCC='$(HIPCC)' CXX='$(CXX)' $(PYTHON) tests/emulate.py --archs '$(filter-out gfx90a,$(GFX))' $(EMULATE_ARGS)

install:
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/vq $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 vq.h $(DESTDIR)$(PREFIX)/include/vq.h
	install -m 644 vq_kernels.hip vq_kernels.cu $(DESTDIR)$(PREFIX)/share/vq/
	printf 'prefix=%s\nName: vq\nDescription: LLM quantization in one C header\nVersion: %s\nCflags: -I$${prefix}/include\nLibs: -ldl\n' \
	  '$(PREFIX)' "$$(sed -n '1s/.*- v\([0-9.]*\) -.*/\1/p' vq.h)" > $(DESTDIR)$(PREFIX)/lib/pkgconfig/vq.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/vq.pc

build build/mock/missing: ; @mkdir -p $@
clean: ; rm -rf build
clean-tests: ; rm -rf $(TESTS) $(EXAMPLES) $(MOCKS) $(STANDINS) build/vq build/docs build/bench build/fuzz_kernels build/device
.PHONY: all test demo bench fuzz exhaustive check sanitize oracle docs hip cuda device device-sanitize gpu-bench \
        hip-report emulate install clean clean-tests

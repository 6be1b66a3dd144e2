/* standin.cc - a GPU on a CPU: runs the threads of kernels as fibers, and watches them

   Blocks run one after another, their threads in an order that can be turned round or shuffled;
   a thread runs until it waits. Lanes of a wave that wait at one place in the code go on together:
   those furthest behind first, as a diverged wave does. Built twice: -DSTANDIN_WAVE=64 is a
   gfx942, -DSTANDIN_WAVE=32 a gfx1100.

   A kernel that was compiled with -fsanitize=thread,undefined calls what is below before every
   access to memory. What it may not do ends the program, with one message that names kernel,
   block, thread and line:

     * an access beyond an allocation or a shared variable, by a byte, on either side; to freed
       memory, to memory of the host, to another thread's variables
     * two threads at one byte of which one writes, with nothing between them that orders them:
       of shared memory and of device memory, in whatever order the threads happened to run
     * shared memory read before it was written
     * a barrier that some threads do not reach, or that is not the same one for all of them
     * a lane read that is not there: waiting elsewhere, returned, or beyond the wave
     * a misaligned access, an index beyond an array, overflow, a shift too far

   A barrier orders the threads of a block; __syncwarp(), or AMD's wave barrier, those of a wave. A
   shuffle orders nothing. Two atomic accesses never collide. What a block does before it passes
   __threadfence() and then an atomic access is seen by blocks that come to an atomic access later:
   the last block of a grid may take what the others left.

   Without these options only what guard pages and waiting threads show is found. x86-64 switches
   fibers in a few instructions, other machines, and -DSTANDIN_UCONTEXT, with swapcontext(). A
   program that knows nothing of standin.h may have STANDIN_ORDER=reverse or shuffled:SEED in its
   environment. */
#include "hip/hip_runtime.h"
#include "standin.h"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <vector>

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__) && !defined(STANDIN_UCONTEXT)
#define STANDIN_SWITCH 1
#else
#include <ucontext.h>
#endif

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#ifndef STANDIN_WAVE
#define STANDIN_WAVE 64
#endif
extern const int warpSize = STANDIN_WAVE;

#define HIDDEN extern "C" __attribute__((visibility("hidden")))

namespace {

enum { WAVE = STANDIN_WAVE, THREADS = 1024, STACK = 64 << 10, SHARED = 64 << 10, PAGE = 4096,
       POISON = 0xcb };

static_assert(WAVE == 64 || WAVE == 32, "-DSTANDIN_WAVE=64 or 32");

/* Who was last at a byte. `serial` counts blocks, over all launches, from 1. */
struct Visit {
    uint32_t serial, barrier, fence;
    uint16_t thread;
    uint8_t  several;                 /* of a read, others too: 1 of this wave, 2 of this block,
                                         3 of other blocks */
    uint8_t  atomic;
};
struct Byte { Visit write, read; };

enum State { READY, IN_WAVE, AT_BARRIER, RETURNED };

struct Thread {
    void       *sp;
    char       *stack;                /* its lowest byte */
    uint3       at;
    State       state;
    const void *site;                 /* where it waits */
    uint32_t    barrier, fence;       /* how many it has passed */
    bool        fenced;               /* and a fence for the device */
    standin_wave_op op;
    uint64_t    value, mask;
    int         lane, vote;
#ifndef STANDIN_SWITCH
    ucontext_t  context;
#endif
};

struct Allocation { char *p; size_t n; char *map; size_t mapped; Byte *bytes; };

struct Variable { uintptr_t at; size_t n; std::string name; bool red; };

/* Everything of the launch at work. One at a time. */
struct Machine {
    const char *kernel;
    dim3        grid, size;
    uint3       block;
    int         count, returned;      /* threads of a block */
    uint32_t    first, serial;        /* of the launch, of the block */
    void      (*call)(void *);
    char       *args;
    size_t      args_bytes, shared_bytes;
    uintptr_t   shared_base;          /* of this thread's shared variables */
    char       *dynamic;              /* shared_bytes of it */
    Thread     *now;                  /* NULL: the host */
    pthread_t   host;
    void       *host_sp;
#ifndef STANDIN_SWITCH
    ucontext_t  host_context;
#endif
};

Machine             m;
Thread              threads[THREADS];
std::vector<Allocation> *allocations;
Allocation         *last_used;
std::vector<Variable> variables;      /* shared ones, offsets in the module's thread-local block */
uintptr_t           image_low, image_high, anchor_at;
Byte               *shared_bytes, *dynamic_bytes;
size_t              shared_span;
char               *dynamic_room;          /* ends at a page that may not be touched */
bool                watching;              /* a fiber runs code of the kernel */
std::vector<uint32_t> released;       /* by block of the launch: when it was, from 1; 0 not */
uint32_t            releases, acquired;
std::atomic<int>    running{0};
uint32_t            serials, forgotten;
standin_order       order = STANDIN_FORWARD;
uint32_t            order_seed;
unsigned            most_blocks;
int                 fail_next, watched;
hipError_t          last_error = hipSuccess;
standin_counts      counts;
void               *last_stream;
void              (*hear)(const char *);
std::vector<void *> streams;
pthread_mutex_t     lock = PTHREAD_MUTEX_INITIALIZER;
struct sigaction    was_segv, was_bus;

/* The first of the module's thread-local variables that is known by address. */
thread_local __attribute__((used)) char standin_red_anchor[128];

struct Locked {
    Locked()  { pthread_mutex_lock(&lock); }
    ~Locked() { pthread_mutex_unlock(&lock); }
};

bool in_kernel()
{
    return running.load(std::memory_order_relaxed) && pthread_equal(m.host, pthread_self());
}

/* --- faults ------------------------------------------------------------------------ */

std::string text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char *fmt, ...)
{
    char line[1024];
    va_list list;
    va_start(list, fmt);
    vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    return line;
}

std::string place(uint3 p) { return text("(%u, %u, %u)", p.x, p.y, p.z); }

uint3 index_of(int thread)
{
    const unsigned n = (unsigned)thread;
    return uint3{n % m.size.x, n / m.size.x % m.size.y, n / m.size.x / m.size.y};
}

std::string thread_name(int thread) { return "thread " + place(index_of(thread)); }

int number_of(const Thread *t) { return (int)(t - threads); }

/* The line of the code at pc, where the debugger's tool is there to say it. */
std::string line_of(const void *pc)
{
    Dl_info info;
    if (!pc || !dladdr(pc, &info) || !info.dli_fname) return "";
    const uintptr_t at = (uintptr_t)pc - (uintptr_t)info.dli_fbase - 1;
    std::string found = text("%s+0x%zx", info.dli_fname, (size_t)at), all;
    const std::string command = "addr2line -Cfpie '" + std::string(info.dli_fname)
                              + text("' 0x%zx 2> /dev/null", (size_t)at);
    if (FILE *f = popen(command.c_str(), "r")) {
        char line[512];
        while (fgets(line, sizeof line, f)) all += std::string("\n      ") + line;
        pclose(f);
        std::string clean;
        for (size_t i = 0; i < all.size(); i++)
            if (all[i] != '\n' || i + 1 < all.size()) {
                if (all[i] == '\n' && i + 1 < all.size() && all[i + 1] == '\n') continue;
                clean += all[i];
            }
        if (!clean.empty() && clean.find("??") == std::string::npos) return clean;
    }
    return "\n      " + found;
}

[[noreturn]] void fault(const std::string &what, const std::string &where)
{
    std::string all = "standin: ";
    if (m.kernel) all += text("%s, block ", m.kernel) + place(m.block);
    if (m.now) all += ", " + thread_name(number_of(m.now));
    all += ": " + what + where + "\n";
    running = 0;                                       /* what is called now is the host */
    if (hear) hear(all.c_str());
    else { fputs(all.c_str(), stderr); fflush(stderr); }
    abort();
}

[[noreturn]] void fault_at(const void *pc, const std::string &what) { fault(what, line_of(pc)); }

/* --- fibers ------------------------------------------------------------------------ */

#ifdef STANDIN_SWITCH
HIDDEN void standin_switch(void **from, void *to);
__asm__(
    ".text\n"
    ".hidden standin_switch\n"
    ".type standin_switch, @function\n"
    "standin_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
    "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n"
    "    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n"
    ".size standin_switch, . - standin_switch\n");
#endif

void to_host(void)
{
    Thread *t = m.now;
    watching = false;
    m.now = nullptr;
#ifdef STANDIN_SWITCH
    standin_switch(&t->sp, m.host_sp);
#else
    swapcontext(&t->context, &m.host_context);
#endif
}

void run_thread(Thread *t)
{
    m.now = t;
    watching = true;
#ifdef STANDIN_SWITCH
    standin_switch(&m.host_sp, t->sp);
#else
    swapcontext(&m.host_context, &t->context);
#endif
}

/* What a fiber begins with; it is not come back from. */
void fiber(void)
{
    m.call(m.args);
    m.now->state = RETURNED;
    m.returned++;
    to_host();
    abort();
}

void *map(size_t n, int access)
{
    void *p = mmap(nullptr, n, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) { perror("standin: mmap"); abort(); }
    return p;
}

void begin(Thread *t, int number)
{
    if (!t->stack) {
        char *p = (char *)map(STACK + PAGE, PROT_NONE);
        if (mprotect(p + PAGE, STACK, PROT_READ | PROT_WRITE)) abort();
        t->stack = p + PAGE;
    }
    t->at = index_of(number);
    t->state = READY;
    t->barrier = t->fence = 0;
    t->fenced = false;
    t->site = nullptr;
#ifdef STANDIN_SWITCH
    uint64_t *sp = (uint64_t *)(t->stack + STACK);
    *--sp = 0;                                         /* aligned as behind a call, from nowhere */
    *--sp = (uint64_t)(uintptr_t)fiber;
    for (int i = 0; i < 6; i++) *--sp = 0;
    t->sp = sp;
#else
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK;
    t->context.uc_link = nullptr;
    makecontext(&t->context, fiber, 0);
#endif
}

/* --- waiting, and going on --------------------------------------------------------- */

std::string how_it_waits(const Thread &t)
{
    const std::string it = thread_name(number_of(&t));
    switch (t.state) {
    case AT_BARRIER: return it + " waits at a barrier" + line_of(t.site);
    case IN_WAVE:    return it + " waits at another wave operation" + line_of(t.site);
    case RETURNED:   return it + " has returned";
    default:         return it + " runs";
    }
}

/* The lanes of a wave that wait at one place. */
struct Group { const void *site; uint64_t lanes; };

/* What is wrong if these go on together, and for whom; nothing: "". */
std::string trouble(const Thread *wave, int lanes, const Group &g, int *whom)
{
    for (int i = 0; i < lanes; i++) {
        const Thread &t = wave[i];
        if (!(g.lanes >> i & 1)) continue;
        *whom = i;
        for (int k = 0; t.mask && k < lanes; k++)
            if (t.mask >> k & 1 && !(g.lanes >> k & 1) && wave[k].state != RETURNED)
                return text("its mask names lane %d, which is not there: ", k)
                     + how_it_waits(wave[k]) + "\n   here:";
        if (t.op != STANDIN_SHUFFLE) continue;
        if (t.lane < 0 || t.lane >= lanes)
            return text("takes the value of lane %d, and the wave has %d", t.lane, lanes);
        if (!(g.lanes >> t.lane & 1))
            return text("takes the value of lane %d, which is not there: ", t.lane)
                 + how_it_waits(wave[t.lane]) + "\n   here:";
    }
    return "";
}

/* Lets lanes go on: those furthest behind in the code, or else the first who can. */
void release(Thread *wave, int lanes)
{
    std::vector<Group> groups;
    for (int i = 0; i < lanes; i++) {
        if (wave[i].state != IN_WAVE) continue;
        size_t k = 0;
        while (k < groups.size() && groups[k].site != wave[i].site) k++;
        if (k == groups.size()) groups.push_back(Group{wave[i].site, 0});
        groups[k].lanes |= 1ull << i;
    }
    std::sort(groups.begin(), groups.end(),
              [](const Group &a, const Group &b) { return a.site < b.site; });
    int whom = 0;
    size_t first = 0;
    while (first < groups.size() && !trouble(wave, lanes, groups[first], &whom).empty()) first++;
    if (first == groups.size()) {
        const std::string what = trouble(wave, lanes, groups[0], &whom);
        m.now = &wave[whom];
        fault_at(groups[0].site, what);
    }
    const uint64_t there = groups[first].lanes;
    uint64_t votes = 0, values[WAVE];
    for (int i = 0; i < lanes; i++) {
        values[i] = wave[i].value;
        if (there >> i & 1 && values[i]) votes |= 1ull << i;
    }
    for (int i = 0; i < lanes; i++) {
        if (!(there >> i & 1)) continue;
        wave[i].value = wave[i].op == STANDIN_BALLOT ? votes : values[wave[i].lane];
        wave[i].fence += wave[i].op == STANDIN_FENCE;
        wave[i].state = READY;
    }
}

/* Nobody runs: either all are at the barrier, or lanes of a wave wait for each other. */
void resolve(void)
{
    bool moved = false;
    for (int w = 0; w < m.count; w += WAVE) {
        const int lanes = std::min((int)WAVE, m.count - w);
        bool waits = false;
        for (int i = 0; i < lanes; i++) waits |= threads[w + i].state == IN_WAVE;
        if (!waits) continue;
        release(&threads[w], lanes);
        moved = true;
    }
    if (moved) return;
    int at = -1, votes = 0;
    for (int i = 0; i < m.count; i++) if (threads[i].state == AT_BARRIER) { at = i; break; }
    for (int i = 0; i < m.count; i++) {
        const Thread &t = threads[i];
        if (t.state == AT_BARRIER && t.site == threads[at].site) { votes += t.vote != 0; continue; }
        m.now = &threads[at];
        fault("waits at a barrier that not all threads reach: "
              + (t.state == AT_BARRIER ? thread_name(i) + " waits at another one" + line_of(t.site)
                                       : how_it_waits(t)) + "\n   here:",
              line_of(threads[at].site));
    }
    for (int i = 0; i < m.count; i++) {
        threads[i].vote = votes;
        threads[i].barrier++;
        threads[i].state = READY;
    }
}

uint32_t noise(uint32_t *state)                        /* splitmix32 */
{
    uint32_t z = *state += 0x9e3779b9u;
    z = (z ^ z >> 16) * 0x85ebca6bu;
    z = (z ^ z >> 13) * 0xc2b2ae35u;
    return z ^ z >> 16;
}

void arrange(std::vector<uint32_t> *list, size_t n, uint32_t seed)
{
    list->resize(n);
    for (size_t i = 0; i < n; i++)
        (*list)[i] = (uint32_t)(order == STANDIN_REVERSE ? n - 1 - i : i);
    for (size_t i = n; order == STANDIN_SHUFFLED && i > 1; i--)
        std::swap((*list)[i - 1], (*list)[noise(&seed) % i]);
}

void run_block(const std::vector<uint32_t> &turn)
{
    m.serial = ++serials;
    acquired = 0;
    m.returned = 0;
    for (const Variable &v : variables)
        if (!v.red) memset((void *)(m.shared_base + v.at), POISON, v.n);
    memset(m.dynamic, POISON, m.shared_bytes);
    for (int i = 0; i < m.count; i++) begin(&threads[i], i);
    while (m.returned < m.count) {
        bool ran = false;
        for (uint32_t i : turn)
            if (threads[i].state == READY) { ran = true; run_thread(&threads[i]); }
        if (!ran) resolve();
    }
}

/* --- accesses ---------------------------------------------------------------------- */

bool ordered(const Visit &v, const Thread *t)
{
    const int n = number_of(t);
    return v.barrier < t->barrier || (v.thread / WAVE == n / WAVE && v.fence < t->fence);
}

bool seen(uint32_t serial)
{
    const uint32_t i = serial - m.first;
    return i < released.size() && released[i] && released[i] <= acquired;
}

/* Did another thread write it, with nothing between? */
bool clashes_with_write(const Visit &w, const Thread *t, uint32_t first, bool atomic)
{
    if (w.serial < first || (w.atomic && atomic)) return false;
    if (w.serial != m.serial) return !seen(w.serial);
    return w.thread != number_of(t) && !ordered(w, t);
}

bool clashes_with_read(const Visit &r, const Thread *t, uint32_t first)
{
    if (r.serial < first) return false;
    if (r.several == 3) return true;
    if (r.serial != m.serial) return !seen(r.serial);
    if (r.several == 2) return r.barrier >= t->barrier;
    return (r.thread != number_of(t) || r.several) && !ordered(r, t);
}

std::string who(const Visit &v)
{
    return v.serial == m.serial ? thread_name(v.thread)
                                : text("thread %d of another block", (int)v.thread);
}

enum Way { READ, WRITE, ATOMIC };

std::string what_of(Way way, size_t n, const std::string &name)
{
    return text("%s %zu byte%s at ", way == READ ? "reads" : way == WRITE ? "writes"
                : "reads and writes", n, n == 1 ? "" : "s") + name;
}

void visit(Byte *b, size_t n, Way way, bool shared, const char *p, const void *pc,
           std::string (*name)(const char *p))
{
    const Thread *t = m.now;
    const uint32_t first = shared ? m.serial : m.first;
    const Visit me = { m.serial, t->barrier, t->fence, (uint16_t)number_of(t), 0,
                       way == ATOMIC };
    for (size_t i = 0; i < n; i++) {
        Visit &w = b[i].write, &r = b[i].read;
        if (clashes_with_write(w, t, first, way == ATOMIC))
            fault_at(pc, what_of(way, n, name(p)) + ", which " + who(w)
                     + " writes, and no barrier is between");
        if (way != READ) {
            if (clashes_with_read(r, t, first))
                fault_at(pc, what_of(way, n, name(p)) + ", which " + who(r)
                         + (r.several ? " and others read" : " reads")
                         + ", and no barrier is between");
            w = me;
            continue;
        }
        if (shared && w.serial != m.serial)
            fault_at(pc, what_of(way, n, name(p)) + ", which nobody has written");
        uint8_t several = 0;
        if (r.serial >= first) {
            if (r.several == 3 || (r.serial != m.serial && !seen(r.serial))) several = 3;
            else if (r.serial != m.serial) several = 0;
            else if (r.barrier == t->barrier) {
                several = r.several;
                if (r.thread != me.thread)
                    several = r.thread / WAVE != me.thread / WAVE ? 2
                            : std::max(several, (uint8_t)(r.fence == t->fence));
            }
        }
        r = me;
        r.several = several;
    }
}

std::string in_device(const char *p)
{
    const Allocation *near = nullptr;
    for (const Allocation &a : *allocations)
        if (!near || llabs(a.p - p) < llabs(near->p - p)) near = &a;
    if (!near) return text("%p, and no device memory is there", (const void *)p);
    const long long at = p - near->p, n = (long long)near->n;
    return text("%lld %s the %lld bytes of device memory at %p",
                at < 0 ? -at : at < n ? at : at - n, at < 0 ? "before" : at < n ? "in" : "behind",
                n, (void *)near->p);
}

const Variable *variable_at(uintptr_t at)
{
    auto v = std::upper_bound(variables.begin(), variables.end(), at,
                              [](uintptr_t a, const Variable &b) { return a < b.at; });
    return v == variables.begin() ? nullptr : &v[-1];
}

std::string in_shared(const char *p)
{
    const uintptr_t at = (uintptr_t)p - m.shared_base;
    const Variable *v = variable_at(at);
    if (v && v->red && v != &variables[0] && !v[-1].red) v--;
    if (!v || v->red) return text("shared memory that is no variable's");
    return text("%zu in the %zu bytes of shared %s", (size_t)(at - v->at), v->n, v->name.c_str());
}

std::string in_dynamic(const char *p)
{
    return text("%td in the %zu bytes of dynamic shared memory", p - m.dynamic, m.shared_bytes);
}

Allocation *find(const char *p)
{
    if (last_used && p >= last_used->p && p < last_used->p + last_used->n) return last_used;
    auto a = std::upper_bound(allocations->begin(), allocations->end(), p,
                              [](const char *q, const Allocation &b) { return q < b.p; });
    if (a == allocations->begin() || p >= a[-1].p + a[-1].n) return nullptr;
    return last_used = &a[-1];
}

void look(const void *address, size_t n, Way way, const void *pc)
{
    const char *p = (const char *)address;
    const Thread *t = m.now;
    watched = 1;
    if (p >= t->stack && p + n <= t->stack + STACK) return;
    const uintptr_t at = (uintptr_t)p - m.shared_base;
    if (at < shared_span) {
        const Variable *v = variable_at(at);
        if (!v || v->red || at + n > v->at + v->n)
            fault_at(pc, what_of(way, n, in_shared(p)));
        return visit(shared_bytes + at, n, way, true, p, pc, in_shared);
    }
    if (Allocation *a = find(p)) {
        if (p + n > a->p + a->n) fault_at(pc, what_of(way, n, in_device(p)));
        return visit(a->bytes + (p - a->p), n, way, false, p, pc, in_device);
    }
    if (p >= dynamic_room - SHARED && p < dynamic_room + 2 * SHARED) {   /* its walls too */
        if (p < m.dynamic || p + n > m.dynamic + m.shared_bytes)
            fault_at(pc, what_of(way, n, in_dynamic(p)));
        return visit(dynamic_bytes + (p - dynamic_room), n, way, true, p, pc, in_dynamic);
    }
    if (way == READ && p >= m.args && p + n <= m.args + m.args_bytes) return;
    if (way == READ && (uintptr_t)p >= image_low && (uintptr_t)p + n <= image_high) return;
    for (int i = 0; i < THREADS && threads[i].stack; i++)
        if (p >= threads[i].stack && p < threads[i].stack + STACK)
            fault_at(pc, what_of(way, n, "a variable of " + thread_name(i)));
    fault_at(pc, what_of(way, n, in_device(p)));
}

void access(const void *address, size_t n, Way way, const void *pc)
{
    if (!in_kernel() || !watching || !n) return;
    watching = false;                                  /* what this calls is not looked at */
    look(address, n, way, pc);
    watching = true;
}

void on_signal(int number, siginfo_t *info, void *)
{
    sigaction(SIGSEGV, &was_segv, nullptr);
    sigaction(SIGBUS, &was_bus, nullptr);
    if (!in_kernel() || !m.now) return;                /* comes again, to who was there before */
    watching = false;
    (void)number;
    const char *p = (const char *)info->si_addr, *stack = m.now->stack;
    if (p < stack && p >= stack - PAGE) fault("runs out of its stack", "");
    fault("touches " + in_device(p), "");
}

/* --- where shared variables are ---------------------------------------------------- */

struct Image { const char *path; uintptr_t base; };

int look_at_image(struct dl_phdr_info *info, size_t, void *user)
{
    Image *found = (Image *)user;
    const uintptr_t here = (uintptr_t)&look_at_image;
    uintptr_t low = ~(uintptr_t)0, high = 0;
    bool mine = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) &h = info->dlpi_phdr[i];
        if (h.p_type != PT_LOAD) continue;
        const uintptr_t at = info->dlpi_addr + h.p_vaddr;
        low = std::min(low, at);
        high = std::max(high, at + h.p_memsz);
        mine |= here >= at && here < at + h.p_memsz;
    }
    if (!mine) return 0;
    found->path = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
    found->base = info->dlpi_addr;
    image_low = low;
    image_high = high;
    return 1;
}

std::string plain_name(const char *mangled)
{
    int status = 0;
    char *whole = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    std::string name = whole ? whole : mangled;
    free(whole);
    const size_t at = name.rfind("::");
    return at == std::string::npos ? name : name.substr(at + 2);
}

/* The thread-local symbols of the file that this code is in are the shared variables. */
void find_variables(void)
{
    Image image = { nullptr, 0 };
    if (!dl_iterate_phdr(look_at_image, &image)) abort();
    const int fd = open(image.path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) fault(text("cannot read %s", image.path), "");
    const size_t size = (size_t)st.st_size;
    const char *file = (const char *)mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    const ElfW(Ehdr) *e = (const ElfW(Ehdr) *)file;
    const ElfW(Shdr) *s = (const ElfW(Shdr) *)(file + e->e_shoff);
    bool anchored = false;
    for (int i = 0; i < e->e_shnum; i++) {
        if (s[i].sh_type != SHT_SYMTAB) continue;
        const ElfW(Sym) *sym = (const ElfW(Sym) *)(file + s[i].sh_offset);
        const char *names = file + s[s[i].sh_link].sh_offset;
        for (size_t k = 0; k < s[i].sh_size / sizeof *sym; k++) {
            if ((sym[k].st_info & 15) != STT_TLS || !sym[k].st_size || !sym[k].st_shndx) continue;
            const std::string name = plain_name(names + sym[k].st_name);
            const bool red = name.find("standin_red_") != std::string::npos;
            if (name == "standin_red_anchor") { anchored = true; anchor_at = sym[k].st_value; }
            variables.push_back(Variable{sym[k].st_value, sym[k].st_size, name, red});
            shared_span = std::max(shared_span, (size_t)(sym[k].st_value + sym[k].st_size));
        }
    }
    munmap((void *)file, size);
    if (!anchored) fault(text("%s has no symbols", image.path), "");
    std::sort(variables.begin(), variables.end(),
              [](const Variable &a, const Variable &b) { return a.at < b.at; });
    shared_bytes = (Byte *)map((shared_span + 1) * sizeof(Byte), PROT_READ | PROT_WRITE);
}

void start_once(void)
{
    static bool started;
    if (started) return;
    started = true;
    allocations = new std::vector<Allocation>;
    find_variables();
    dynamic_room = (char *)map(3 * SHARED, PROT_NONE) + SHARED;
    if (mprotect(dynamic_room, SHARED, PROT_READ | PROT_WRITE)) abort();
    dynamic_bytes = (Byte *)map(SHARED * sizeof(Byte), PROT_READ | PROT_WRITE);
    if (const char *o = getenv("STANDIN_ORDER")) {
        order = *o == 'r' ? STANDIN_REVERSE : *o == 's' ? STANDIN_SHUFFLED : STANDIN_FORWARD;
        if (const char *seed = strchr(o, ':')) order_seed = (uint32_t)strtoul(seed + 1, nullptr, 0);
    }
}

} // namespace

/* --- what kernels call ------------------------------------------------------------- */

uint3 standin_thread(void)      { return m.now->at; }
uint3 standin_block(void)       { return m.block; }
dim3  standin_block_size(void)  { return m.size; }
dim3  standin_grid_size(void)   { return m.grid; }
void *standin_dynamic_shared(void) { return m.dynamic; }
unsigned __lane_id(void)        { return (unsigned)(number_of(m.now) % WAVE); }
void __threadfence(void)        { m.now->fenced = true; }
void __threadfence_system(void) { m.now->fenced = true; }
void __threadfence_block(void)  {}

int standin_wait(int vote)
{
    Thread *t = m.now;
    t->state = AT_BARRIER;
    t->site = __builtin_return_address(0);
    t->vote = vote;
    to_host();
    return t->vote;
}

uint64_t standin_meet(standin_wave_op op, uint64_t value, int lane, uint64_t mask)
{
    Thread *t = m.now;
    t->state = IN_WAVE;
    t->site = __builtin_return_address(0);
    t->op = op;
    t->value = value;
    t->lane = lane;
    t->mask = mask;
    to_host();
    return t->value;
}

void standin_atomic(void *p, size_t size)
{
    access(p, size, ATOMIC, __builtin_return_address(0));
    if (!in_kernel()) return;
    watching = false;
    if (m.now->fenced) {
        const size_t i = m.serial - m.first;
        if (released.size() <= i) released.resize(i + 1);
        if (!released[i]) released[i] = ++releases;
    }
    acquired = releases;
    watching = true;
}

/* --- the runtime ------------------------------------------------------------------- */

namespace {

hipError_t keep(hipError_t e)
{
    if (e) last_error = e;
    return e;
}

bool known(hipStream_t s)
{
    return !s || std::find(streams.begin(), streams.end(), (void *)s) != streams.end();
}

/* Of what lies in device memory, all of it must. */
bool whole(const void *p, size_t n)
{
    const Allocation *a = find((const char *)p);
    return !a || (const char *)p + n <= a->p + a->n;
}

/* The bytes between an allocation and its guard pages are as they were. */
void check_slack(const Allocation &a)
{
    const char *low = a.map + PAGE, *high = a.map + a.mapped - PAGE;
    for (const char *p = low; p < high; p++) {
        if (p == a.p) p += a.n;
        if (p < high && (unsigned char)*p != POISON)
            fault("something wrote to " + in_device(p), "");
    }
}

} // namespace

void standin_launch(const char *kernel, dim3 grid, dim3 block, size_t shared, hipStream_t stream,
                    void (*call)(void *), void *args, size_t bytes)
{
    Locked locked;
    start_once();
    const uint64_t threads_of = (uint64_t)block.x * block.y * block.z;
    counts.launches++;
    last_stream = stream;
    hipError_t error = hipSuccess;
    if (fail_next) error = (hipError_t)fail_next;
    else if (!known(stream)) error = hipErrorInvalidHandle;
    else if (!threads_of || threads_of > THREADS || !grid.x || !grid.y || !grid.z
             || (uint64_t)grid.x * block.x >> 32 || grid.y > 65535 || grid.z > 65535
             || shared > SHARED) error = hipErrorInvalidConfiguration;
    fail_next = 0;
    if (error) { keep(error); return; }

    static char *signal_stack = (char *)map(256 << 10, PROT_READ | PROT_WRITE);
    stack_t mine = {}, was = {};
    mine.ss_sp = signal_stack;
    mine.ss_size = 256 << 10;
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaltstack(&mine, &was);
    sigaction(SIGSEGV, &action, &was_segv);
    sigaction(SIGBUS, &action, &was_bus);

    if (most_blocks && grid.x > most_blocks) grid.x = most_blocks;
    m.kernel = kernel;
    m.grid = grid;
    m.size = block;
    m.count = (int)threads_of;
    m.first = serials + 1;
    released.clear();
    releases = 0;
    m.call = call;
    m.args = (char *)args;
    m.args_bytes = bytes;
    m.shared_bytes = shared;
    m.shared_base = (uintptr_t)standin_red_anchor - anchor_at;
    m.dynamic = dynamic_room + SHARED - ((shared + 15) & ~(size_t)15);
    m.host = pthread_self();
    std::vector<uint32_t> turn, blocks;
    arrange(&turn, threads_of, order_seed ^ serials);
    arrange(&blocks, grid.x, order_seed + serials);
#ifdef __x86_64__
    uint32_t control, plain = 0x1f80u;                 /* as a GPU: to nearest, subnormals kept */
    __asm__ volatile("stmxcsr %0" : "=m"(control));
    __asm__ volatile("ldmxcsr %0" : : "m"(plain));
#endif
    running = 1;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (uint32_t x : blocks) {
                m.block = uint3{x, y, z};
                run_block(turn);
            }
    running = 0;
#ifdef __x86_64__
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
#endif
    for (const Allocation &a : *allocations) check_slack(a);
    m.kernel = nullptr;
    sigaction(SIGSEGV, &was_segv, nullptr);
    sigaction(SIGBUS, &was_bus, nullptr);
    sigaltstack(&was, nullptr);
}

hipError_t hipMalloc(void **p, size_t n)
{
    Locked locked;
    start_once();
    counts.allocs++;
    if (!p) return keep(hipErrorInvalidValue);
    *p = nullptr;
    if (!n) return hipSuccess;
    if (n > (size_t)1 << 36) return keep(hipErrorOutOfMemory);
    Allocation a;
    const size_t room = (n + PAGE - 1) & ~(size_t)(PAGE - 1);
    a.n = n;
    a.mapped = room + 2 * PAGE;
    a.map = (char *)map(a.mapped, PROT_NONE);
    if (mprotect(a.map + PAGE, room, PROT_READ | PROT_WRITE)) return keep(hipErrorOutOfMemory);
    memset(a.map + PAGE, POISON, room);
    a.p = a.map + PAGE + ((room - n) & ~(size_t)15);
    a.bytes = (Byte *)map(n * sizeof(Byte), PROT_READ | PROT_WRITE);
    allocations->insert(std::upper_bound(allocations->begin(), allocations->end(), a,
                        [](const Allocation &b, const Allocation &c) { return b.p < c.p; }), a);
    last_used = nullptr;
    *p = a.p;
    return hipSuccess;
}

hipError_t hipFree(void *p)
{
    Locked locked;
    start_once();
    counts.frees++;
    if (!p) return hipSuccess;
    Allocation *a = find((char *)p);
    if (!a || a->p != p) return keep(hipErrorInvalidDevicePointer);
    check_slack(*a);
    munmap(a->map, a->mapped);
    munmap(a->bytes, a->n * sizeof(Byte));
    allocations->erase(allocations->begin() + (a - allocations->data()));
    last_used = nullptr;
    return hipSuccess;
}

hipError_t hipMemcpyAsync(void *to, const void *from, size_t n, hipMemcpyKind kind, hipStream_t s)
{
    Locked locked;
    start_once();
    counts.copies++;
    if (!n) return hipSuccess;
    if (!to || !from || (unsigned)kind > hipMemcpyDefault) return keep(hipErrorInvalidValue);
    if (!known(s)) return keep(hipErrorInvalidHandle);
    const bool to_device = find((char *)to), from_device = find((const char *)from);
    if (kind != hipMemcpyDefault
        && (to_device != (kind == hipMemcpyHostToDevice || kind == hipMemcpyDeviceToDevice)
            || from_device != (kind == hipMemcpyDeviceToHost || kind == hipMemcpyDeviceToDevice)))
        return keep(hipErrorInvalidValue);
    if (!whole(to, n) || !whole(from, n)) return keep(hipErrorInvalidValue);
    memmove(to, from, n);
    return hipSuccess;
}

hipError_t hipMemcpy(void *to, const void *from, size_t n, hipMemcpyKind kind)
{
    return hipMemcpyAsync(to, from, n, kind, nullptr);
}

hipError_t hipMemsetAsync(void *p, int value, size_t n, hipStream_t s)
{
    Locked locked;
    start_once();
    counts.copies++;
    if (!n) return hipSuccess;
    if (!known(s)) return keep(hipErrorInvalidHandle);
    if (!p || !find((char *)p) || !whole(p, n)) return keep(hipErrorInvalidValue);
    memset(p, value, n);
    return hipSuccess;
}

hipError_t hipMemset(void *p, int value, size_t n) { return hipMemsetAsync(p, value, n, nullptr); }

hipError_t hipGetDeviceCount(int *n) { *n = 1; return hipSuccess; }
hipError_t hipGetDevice(int *device) { *device = 0; return hipSuccess; }
hipError_t hipSetDevice(int device)  { return device ? keep(hipErrorInvalidDevice) : hipSuccess; }
hipError_t hipRuntimeGetVersion(int *version) { *version = 60443484; return hipSuccess; }

hipError_t hipGetDeviceProperties(hipDeviceProp_t *p, int device)
{
    if (device) return keep(hipErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "stand-in, %d lanes", WAVE);
    snprintf(p->gcnArchName, sizeof p->gcnArchName, "%s",
             WAVE == 64 ? "gfx942:sramecc+:xnack-" : "gfx1100");
    p->totalGlobalMem = (size_t)1 << 36;
    p->sharedMemPerBlock = SHARED;
    p->regsPerBlock = 65536;
    p->warpSize = WAVE;
    p->maxThreadsPerBlock = THREADS;
    for (int &n : p->maxThreadsDim) n = THREADS;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->clockRate = 1000000;
    p->major = WAVE == 64 ? 9 : 11;
    p->minor = WAVE == 64 ? 4 : 0;
    p->multiProcessorCount = 4;
    return hipSuccess;
}

hipError_t hipDeviceGetAttribute(int *value, hipDeviceAttribute_t a, int device)
{
    if (device) return keep(hipErrorInvalidDevice);
    *value = a == hipDeviceAttributeMultiprocessorCount ? 4 : a == hipDeviceAttributeWarpSize ? WAVE
           : a == hipDeviceAttributeMaxThreadsPerBlock ? THREADS
           : a == hipDeviceAttributeMaxSharedMemoryPerBlock ? SHARED : 0x7fffffff;
    return hipSuccess;
}

hipError_t hipStreamCreate(hipStream_t *stream)
{
    Locked locked;
    *stream = (hipStream_t)malloc(1);
    streams.push_back(*stream);
    return hipSuccess;
}

hipError_t hipStreamCreateWithFlags(hipStream_t *s, unsigned) { return hipStreamCreate(s); }

hipError_t hipStreamDestroy(hipStream_t stream)
{
    Locked locked;
    if (!stream || !known(stream)) return keep(hipErrorInvalidHandle);
    streams.erase(std::find(streams.begin(), streams.end(), (void *)stream));
    free(stream);
    return hipSuccess;
}

hipError_t hipStreamSynchronize(hipStream_t s)
{
    counts.waits++;
    return known(s) ? hipSuccess : keep(hipErrorInvalidHandle);
}

hipError_t hipStreamQuery(hipStream_t s)
{
    return known(s) ? hipSuccess : keep(hipErrorInvalidHandle);
}

hipError_t hipStreamWaitEvent(hipStream_t, hipEvent_t, unsigned) { return hipSuccess; }
hipError_t hipDeviceSynchronize(void)        { counts.waits++; return hipSuccess; }
hipError_t hipEventCreate(hipEvent_t *event) { *event = (hipEvent_t)malloc(1); return hipSuccess; }
hipError_t hipEventCreateWithFlags(hipEvent_t *event, unsigned) { return hipEventCreate(event); }
hipError_t hipEventDestroy(hipEvent_t event) { free(event); return hipSuccess; }
hipError_t hipEventRecord(hipEvent_t, hipStream_t) { return hipSuccess; }
hipError_t hipEventSynchronize(hipEvent_t)   { counts.waits++; return hipSuccess; }

hipError_t hipEventElapsedTime(float *ms, hipEvent_t, hipEvent_t) { *ms = 0.0f; return hipSuccess; }
hipError_t hipFuncSetAttribute(const void *, hipFuncAttribute, int) { return hipSuccess; }
hipError_t hipPeekAtLastError(void) { return last_error; }

hipError_t hipGetLastError(void)
{
    const hipError_t e = last_error;
    last_error = hipSuccess;
    return e;
}

const char *hipGetErrorString(hipError_t e)
{
    switch ((int)e) {
#define X(name, number, text) case number: return text;
    STANDIN_ERRORS(X)
#undef X
    default: return "unknown error";
    }
}

const char *hipGetErrorName(hipError_t e)
{
    switch ((int)e) {
#define X(name, number, text) case number: return #name;
    STANDIN_ERRORS(X)
#undef X
    default: return "hipErrorUnknown";
    }
}

/* --- what instrumented code calls -------------------------------------------------- */

#define PC __builtin_return_address(0)

/* An access of n bytes at once, by code that takes it to be aligned. */
static void access_aligned(void *p, size_t n, Way way, const void *pc)
{
    if ((uintptr_t)p % n && in_kernel() && watching) {
        watching = false;
        fault_at(pc, text("uses %p, which is not aligned to %zu bytes", p, n));
    }
    access(p, n, way, pc);
}

#define ACCESSES(n) \
    HIDDEN void __tsan_read##n(void *p)            { access_aligned(p, n, READ, PC); } \
    HIDDEN void __tsan_write##n(void *p)           { access_aligned(p, n, WRITE, PC); } \
    HIDDEN void __tsan_unaligned_read##n(void *p)  { access(p, n, READ, PC); } \
    HIDDEN void __tsan_unaligned_write##n(void *p) { access(p, n, WRITE, PC); } \
    HIDDEN void __tsan_volatile_read##n(void *p)   { access(p, n, READ, PC); } \
    HIDDEN void __tsan_volatile_write##n(void *p)  { access(p, n, WRITE, PC); } \
    HIDDEN void __tsan_read_write##n(void *p) \
    { access(p, n, READ, PC); access(p, n, WRITE, PC); } \
    HIDDEN void __tsan_unaligned_read_write##n(void *p) \
    { access(p, n, READ, PC); access(p, n, WRITE, PC); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
HIDDEN void __tsan_read_range(void *p, size_t n)  { access(p, n, READ, PC); }
HIDDEN void __tsan_write_range(void *p, size_t n) { access(p, n, WRITE, PC); }
HIDDEN void __tsan_init(void)             {}
HIDDEN void __tsan_func_entry(void *)     {}
HIDDEN void __tsan_func_exit(void)        {}
HIDDEN void __tsan_vptr_read(void **)     {}
HIDDEN void __tsan_vptr_update(void **, void *) {}

/* The builtins of GCC: their order of memory is not modelled. */
#define ATOMICS(bits, T) \
    HIDDEN T __tsan_atomic##bits##_load(const volatile T *p, int) \
    { access((const void *)p, sizeof *p, ATOMIC, PC); return *p; } \
    HIDDEN void __tsan_atomic##bits##_store(volatile T *p, T v, int) \
    { access((const void *)p, sizeof *p, ATOMIC, PC); *p = v; } \
    HIDDEN T __tsan_atomic##bits##_exchange(volatile T *p, T v, int) \
    { access((const void *)p, sizeof *p, ATOMIC, PC); T o = *p; *p = v; return o; } \
    HIDDEN T __tsan_atomic##bits##_fetch_add(volatile T *p, T v, int) \
    { access((const void *)p, sizeof *p, ATOMIC, PC); T o = *p; *p = (T)(o + v); return o; } \
    HIDDEN T __tsan_atomic##bits##_fetch_or(volatile T *p, T v, int) \
    { access((const void *)p, sizeof *p, ATOMIC, PC); T o = *p; *p = (T)(o | v); return o; } \
    HIDDEN int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *c, T v, int, int) \
    { \
        access((const void *)p, sizeof *p, ATOMIC, PC); \
        if (*p == *c) { *p = v; return 1; } \
        *c = *p; \
        return 0; \
    }
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

/* Copies that the compiler does not make in line. In plain steps, which it may not make a call
   of again. */
static void bytes_up(char *d, const char *s, size_t n)
{
    for (; n; n--) { *d++ = *s++; __asm__ volatile("" : : : "memory"); }
}

HIDDEN void *standin_memcpy(void *d, const void *s, size_t n) __asm__("memcpy");
void *standin_memcpy(void *d, const void *s, size_t n)
{
    access(s, n, READ, PC);
    access(d, n, WRITE, PC);
#ifdef __x86_64__
    void *to = d;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n) : : "memory");
#else
    bytes_up((char *)d, (const char *)s, n);
#endif
    return d;
}

HIDDEN void *standin_memmove(void *d, const void *s, size_t n) __asm__("memmove");
void *standin_memmove(void *d, const void *s, size_t n)
{
    access(s, n, READ, PC);
    access(d, n, WRITE, PC);
    char *to = (char *)d;
    const char *from = (const char *)s;
    if (to < from) bytes_up(to, from, n);
    else while (n--) { to[n] = from[n]; __asm__ volatile("" : : : "memory"); }
    return d;
}

HIDDEN void *standin_memset(void *d, int v, size_t n) __asm__("memset");
void *standin_memset(void *d, int v, size_t n)
{
    access(d, n, WRITE, PC);
#ifdef __x86_64__
    void *to = d;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
#else
    for (char *p = (char *)d; n; n--) { *p++ = (char)v; __asm__ volatile("" : : : "memory"); }
#endif
    return d;
}

/* Undefined behaviour: every handler's data begins with the place in the source. */
namespace {

struct Source { const char *file; uint32_t line, column; };

[[noreturn]] void undefined(const char *what, const void *data)
{
    const Source *s = (const Source *)data;
    watching = false;
    fault(what, s && s->file ? text("\n      %s:%u:%u", s->file, s->line, s->column) : "");
}

[[noreturn]] void mismatch(const void *data, uintptr_t p)
{
    struct { Source at; const void *type; uint8_t log_align, kind; } d;
    watching = false;
    memcpy(&d, data, sizeof d);
    const uintptr_t align = (uintptr_t)1 << d.log_align;
    if (!p) undefined("uses a null pointer", data);
    if (p % align) undefined(text("uses %p, which is not aligned to %zu bytes", (void *)p,
                                  (size_t)align).c_str(), data);
    undefined("uses an object that is too small", data);
}

} // namespace

HIDDEN void __ubsan_handle_type_mismatch_v1(void *d, uintptr_t p)       { mismatch(d, p); }
HIDDEN void __ubsan_handle_type_mismatch_v1_abort(void *d, uintptr_t p) { mismatch(d, p); }
#define UNDEFINED(name, what) \
    HIDDEN void __ubsan_handle_##name(void *d)         { undefined(what, d); } \
    HIDDEN void __ubsan_handle_##name##_abort(void *d) { undefined(what, d); }
UNDEFINED(out_of_bounds, "uses an index beyond an array")
UNDEFINED(add_overflow, "adds beyond the type")
UNDEFINED(sub_overflow, "subtracts beyond the type")
UNDEFINED(mul_overflow, "multiplies beyond the type")
UNDEFINED(negate_overflow, "negates beyond the type")
UNDEFINED(divrem_overflow, "divides by zero, or beyond the type")
UNDEFINED(shift_out_of_bounds, "shifts too far, or what may not be shifted")
UNDEFINED(float_cast_overflow, "converts a float beyond the type")
UNDEFINED(load_invalid_value, "reads a value that its type does not have")
UNDEFINED(vla_bound_not_positive, "has an array of no size")
UNDEFINED(pointer_overflow, "moves a pointer beyond the address space")
UNDEFINED(builtin_unreachable, "reaches what cannot be reached")
UNDEFINED(missing_return, "does not return a value")
UNDEFINED(nonnull_arg, "passes a null pointer")
UNDEFINED(nonnull_return_v1, "returns a null pointer")
UNDEFINED(invalid_builtin, "passes zero to a builtin that may not have it")
UNDEFINED(alignment_assumption, "assumes an alignment that is not there")
UNDEFINED(function_type_mismatch, "calls a function of another type")
UNDEFINED(function_type_mismatch_v1, "calls a function of another type")

/* --- what a test asks -------------------------------------------------------------- */

extern "C" __attribute__((visibility("default"))) const standin *standin_control(void)
{
    static standin control;
    control.wave = WAVE;
    if (!control.stream) hipStreamCreate((hipStream_t *)&control.stream);
    control.watched = []() { return watched; };
    control.order = [](standin_order o, uint32_t seed) { order = o; order_seed = seed; };
    control.most_blocks = [](unsigned n) { most_blocks = n; };
    control.fail_launch = [](int error) { fail_next = error; };
    control.hear = [](void (*fn)(const char *)) { hear = fn; };
    control.forget = []() { forgotten = serials; };
    control.touched = [](const void *p, size_t n, uint8_t *flags) {
        Locked locked;
        const Allocation *a = allocations ? find((const char *)p) : nullptr;
        for (size_t i = 0; i < n; i++) {
            const char *q = (const char *)p + i;
            flags[i] = 0;
            if (!a || q >= a->p + a->n) continue;
            const Byte &b = a->bytes[q - a->p];
            flags[i] = (uint8_t)((b.read.serial > forgotten ? STANDIN_READ : 0)
                               | (b.write.serial > forgotten ? STANDIN_WRITTEN : 0));
        }
    };
    control.counts = &counts;
    control.launched_on = &last_stream;
    return &control;
}

// What the CUDA compiler provides, on a host: enough of it to run the kernels of the .cu files one thread at a time.
//
// The threads of a block are fibers. A barrier hands on to the next fiber, so that all have reached it before one passes.

#include <cmath>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <utility>
#include <vector>

struct Index {
    unsigned x, y, z;
};

static Index threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__ static inline
#define __shared__ static
#define __launch_bounds__(threads)
#define __noinline__

using std::copysign;
using std::exp;
using std::expm1;
using std::fabs;
using std::log;
using std::log1p;

namespace fibers {

constexpr std::size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

static ucontext_t scheduler;
static std::vector<Fiber> all;
static unsigned current;
static std::function<void()> body;

static void enter() {
    body();
    all[current].done = true;
    // The fiber ends here; its link is the scheduler.
}

static Index index_of(unsigned thread) {
    return {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

// Runs one block. False when some threads wait at a barrier that others have ended without reaching.
static bool run_block() {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (all.size() < threads) all.resize(threads);
    for (unsigned t = 0; t < threads; ++t) {
        Fiber &fiber = all[t];
        fiber.stack.resize(STACK);
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned running = threads; running > 0;) {
        unsigned ended = 0;
        for (unsigned t = 0; t < threads; ++t) {
            if (all[t].done) continue;
            current = t;
            threadIdx = index_of(t);
            swapcontext(&scheduler, &all[t].context);
            ended += all[t].done;
        }
        if (ended != 0 && ended != running) return false;
        running -= ended;
    }
    return true;
}

} // namespace fibers

static void __syncthreads() {
    unsigned self = fibers::current;
    swapcontext(&fibers::all[self].context, &fibers::scheduler);
}

template <class... A, std::size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

// Runs a kernel on a grid, its arguments behind pointers as cuLaunchKernel takes them. 0, or 1 for a torn barrier.
template <class... A> static int launch(void (*kernel)(A...), const unsigned *geometry, void **arguments) {
    gridDim = {geometry[0], geometry[1], geometry[2]};
    blockDim = {geometry[3], geometry[4], geometry[5]};
    fibers::body = [=] { call(kernel, arguments, std::index_sequence_for<A...>{}); };
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                if (!fibers::run_block()) return 1;
            }
    return 0;
}

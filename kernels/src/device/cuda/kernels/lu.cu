// PA = LU of many matrices at a time, by panels of PANEL columns. A panel is factored by one thread block a matrix, since
// each pivot needs its whole column; the product that updates what is right of it and below is left to a library.

// Columns of a panel at most; PANEL of launch.rs.
#define PANEL 32

// Threads of a block of lu_panel; PANEL_THREADS of launch.rs.
#define PANEL_THREADS 512

// Entries of a row that are loaded before the first of them is stored, so that the loads overlap.
#define PANEL_LOADS 8

// The row of the largest |column[i]| from `top` on, the first of equals; every thread of the block must get here.
__device__ Size pivot_row(const Real *column, Size top, Size dim) {
    __shared__ Real largest[PANEL_THREADS];
    __shared__ Size place[PANEL_THREADS];
    unsigned self = threadIdx.x;
    Real best = Real(-1);
    Size at = top;
    for (Size i = top + self; i < dim; i += PANEL_THREADS) {
        Real magnitude = fabs(column[i]);
        if (magnitude > best) best = magnitude, at = i;
    }
    largest[self] = best;
    place[self] = at;
    __syncthreads();
    for (unsigned half = PANEL_THREADS / 2; half > 0; half /= 2) {
        if (self < half) {
            Real other = largest[self + half];
            if (other > largest[self] || (other == largest[self] && place[self + half] < place[self])) {
                largest[self] = other;
                place[self] = place[self + half];
            }
        }
        __syncthreads();
    }
    return place[0];
}

// Factors columns first..first+width of every matrix, from row `first` down; pivots[i,n] <- the one-based row that step i
// swapped with row i, as LAPACK counts. A column of zeros keeps its zero pivot. One thread block a matrix.
extern "C" __global__ void lu_panel(Size dim, Size first, Size width, Real *a, int *pivots) {
    __shared__ Real row[PANEL];
    Real *panel = a + Size(blockIdx.x) * dim * dim + first * dim;
    int *steps = pivots + Size(blockIdx.x) * dim;
    for (Size j = 0; j < width; ++j) {
        Size top = first + j;
        Real *column = panel + j * dim;
        Size pivot = pivot_row(column, top, dim);
        if (threadIdx.x < width) {
            Real *entries = panel + threadIdx.x * dim;
            Real chosen = entries[pivot];
            entries[pivot] = entries[top];
            entries[top] = chosen;
            row[threadIdx.x] = chosen;
        }
        if (threadIdx.x == 0) steps[top] = int(pivot) + 1;
        __syncthreads();
        Real divisor = row[j];
        if (divisor != Real(0)) {
            for (Size i = top + 1 + threadIdx.x; i < dim; i += PANEL_THREADS) {
                Real factor = column[i] / divisor;
                column[i] = factor;
                for (Size k = j + 1; k < width; k += PANEL_LOADS) {
                    Real entries[PANEL_LOADS];
                    for (unsigned q = 0; q < PANEL_LOADS; ++q)
                        entries[q] = k + q < width ? panel[(k + q) * dim + i] : Real(0);
                    for (unsigned q = 0; q < PANEL_LOADS; ++q)
                        if (k + q < width) panel[(k + q) * dim + i] = entries[q] - factor * row[k + q];
                }
            }
        }
        __syncthreads();
    }
}

// Most rows of a short panel, and threads of a block that factors one: what the registers of a multiprocessor hold.
// short_rows of launch.rs.
#define SHORT_ROWS (sizeof(Real) == 4 ? 1024 : 512)

// The row of the largest `magnitude` of a block's threads, the first of equals; every thread must get here.
__device__ __noinline__ unsigned pivot_thread(Real magnitude) {
    __shared__ Real largest[SHORT_ROWS];
    __shared__ unsigned place[SHORT_ROWS];
    unsigned self = threadIdx.x;
    largest[self] = magnitude;
    place[self] = self;
    __syncthreads();
    // A tree of four branches: its barriers are what takes the time.
    for (unsigned count = SHORT_ROWS; count > 1;) {
        unsigned quarter = (count + 3) / 4;
        if (self < quarter) {
            Real best = largest[self];
            unsigned at = place[self];
            for (unsigned other = self + quarter; other < count; other += quarter)
                if (largest[other] > best || (largest[other] == best && place[other] < at))
                    best = largest[other], at = place[other];
            largest[self] = best;
            place[self] = at;
        }
        count = quarter;
        __syncthreads();
    }
    return place[0];
}

// As lu_panel, for a panel of at most SHORT_ROWS rows: each thread keeps one of them in its registers.
extern "C" __global__ void __launch_bounds__(SHORT_ROWS)
    lu_short_panel(Size dim, Size first, Size width, Real *a, int *pivots) {
    __shared__ Real chosen[PANEL], displaced[PANEL];
    const unsigned self = threadIdx.x, rows = unsigned(dim - first);
    Real *own = a + (Size(blockIdx.x) * dim + first) * dim + first + self;
    int *steps = pivots + Size(blockIdx.x) * dim + first;
    Real x[PANEL];
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i) x[i] = self < rows && i < width ? own[i * dim] : Real(0);
#pragma unroll
    for (unsigned j = 0; j < PANEL; ++j) {
        if (j >= width) break;
        unsigned pivot = pivot_thread(self >= j && self < rows ? fabs(x[j]) : Real(-1));
        if (self == pivot) {
#pragma unroll
            for (unsigned i = 0; i < PANEL; ++i) chosen[i] = x[i];
        }
        if (self == j) {
#pragma unroll
            for (unsigned i = 0; i < PANEL; ++i) displaced[i] = x[i];
            steps[j] = int(first + pivot) + 1;
        }
        __syncthreads();
        if (self == pivot) {
#pragma unroll
            for (unsigned i = 0; i < PANEL; ++i) x[i] = displaced[i];
        }
        if (self == j) {
#pragma unroll
            for (unsigned i = 0; i < PANEL; ++i) x[i] = chosen[i];
        }
        if (self > j && chosen[j] != Real(0)) {
            x[j] /= chosen[j];
#pragma unroll
            for (unsigned i = j + 1; i < PANEL; ++i) x[i] -= x[j] * chosen[i];
        }
    }
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i)
        if (self < rows && i < width) own[i * dim] = x[i];
}

// What the swaps of a panel do to a column at the end, so that its loads need not wait for one another. Slots are the
// panel's own rows, then for each step the row that it swapped, where that is below the panel and for the first time.
struct Moves {
    Size row[2 * PANEL];  // of a slot
    Size from[2 * PANEL]; // the row whose entry a slot gets
    bool moved[2 * PANEL];
};

// Fills `moves`, which is in shared memory, from the one-based pivots `steps`; every thread of the block must get here.
__device__ void find_moves(Moves &moves, const int *steps, Size first, Size width) {
    __shared__ unsigned slot[PANEL], content[2 * PANEL];
    unsigned self = threadIdx.x;
    if (self < 2 * PANEL) {
        content[self] = self;
        moves.row[self] = first + self;
    }
    __syncthreads();
    if (self < width) {
        unsigned earliest = self;
        for (unsigned k = self; k-- > 0;)
            if (steps[k] == steps[self]) earliest = k;
        Size row = Size(steps[self]) - 1;
        slot[self] = row < first + width ? unsigned(row - first) : PANEL + earliest;
        if (row >= first + width) moves.row[PANEL + self] = row;
    }
    __syncthreads();
    if (self == 0) {
        for (unsigned i = 0; i < width; ++i) {
            unsigned moved = content[i];
            content[i] = content[slot[i]];
            content[slot[i]] = moved;
        }
    }
    __syncthreads();
    if (self < 2 * PANEL) {
        moves.from[self] = moves.row[content[self]];
        moves.moved[self] = content[self] != self;
    }
    __syncthreads();
}

// For every column outside the panel: the panel's swaps of rows, and right of the panel U12 <- L11^-1 A12. One thread a
// column, a row of thread blocks a matrix.
extern "C" __global__ void lu_rows(Size dim, Size first, Size width, Real *a, const int *pivots) {
    __shared__ Real lower[PANEL * PANEL];
    __shared__ Moves moves;
    Real *matrix = a + Size(blockIdx.y) * dim * dim;
    for (unsigned i = threadIdx.x; i < PANEL * PANEL; i += blockDim.x) {
        Size row = i % PANEL, col = i / PANEL;
        lower[i] = row < width && col < row ? matrix[(first + col) * dim + first + row] : Real(0);
    }
    find_moves(moves, pivots + Size(blockIdx.y) * dim + first, first, width);
    Size col = Size(blockIdx.x) * blockDim.x + threadIdx.x;
    if (col >= dim - width) return;
    bool right = col >= first;
    Real *column = matrix + (right ? col + width : col) * dim;
    Real x[PANEL], below[PANEL];
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i) {
        x[i] = i < width ? column[moves.from[i]] : Real(0);
        below[i] = moves.moved[PANEL + i] ? column[moves.from[PANEL + i]] : Real(0);
    }
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i)
        if (moves.moved[PANEL + i]) column[moves.row[PANEL + i]] = below[i];
    if (right) {
#pragma unroll
        for (unsigned i = 1; i < PANEL; ++i) {
#pragma unroll
            for (unsigned k = 0; k < i; ++k) x[i] -= lower[k * PANEL + i] * x[k];
        }
    }
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i)
        if (i < width) column[first + i] = x[i];
}

// Rows whose order fits into shared memory.
#define SHARED_ROWS 8192

// orders[:,n] <- the g with (P^T y)[r] = y[g[r]], from the pivots of an LU: the swaps, the last one first. `stride` is 1
// for 32-bit pivots, 2 for 64-bit ones, of which the low word comes first. What is no row is left out: a library that gave
// up on a matrix may leave pivots as they were. One thread block a matrix.
extern "C" __global__ void row_orders(Size dim, const int *pivots, Size stride, int *orders) {
    __shared__ int fast[SHARED_ROWS];
    int *order = orders + Size(blockIdx.x) * dim;
    const int *steps = pivots + Size(blockIdx.x) * dim * stride;
    int *work = dim <= SHARED_ROWS ? fast : order;
    for (Size i = threadIdx.x; i < dim; i += blockDim.x) work[i] = int(i);
    __syncthreads();
    if (threadIdx.x == 0) {
        for (Size i = dim; i-- > 0;) {
            Size other = Size(steps[i * stride]) - 1;
            if (other >= dim) continue;
            int moved = work[i];
            work[i] = work[other];
            work[other] = moved;
        }
    }
    __syncthreads();
    if (work == fast)
        for (Size i = threadIdx.x; i < dim; i += blockDim.x) order[i] = fast[i];
}

// out_n <- P_n^T y_n for D x D blocks; `out` is not `y`. Blocks of 32 rows by 8 columns of the panel.
extern "C" __global__ void permute_rows(Size dim, Size count, const int *orders, const Real *y, Real *out) {
    Size col = Size(blockIdx.x) * blockDim.y + threadIdx.y;
    if (col >= dim * count) return;
    const int *order = orders + col / dim * dim;
    for (Size row = Size(blockIdx.y) * blockDim.x + threadIdx.x; row < dim; row += Size(gridDim.y) * blockDim.x)
        out[col * dim + row] = y[col * dim + order[row]];
}

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

// For every column outside the panel: the panel's swaps of rows, and right of the panel U12 <- L11^-1 A12. One thread a
// column, a row of thread blocks a matrix.
extern "C" __global__ void lu_rows(Size dim, Size first, Size width, Real *a, const int *pivots) {
    __shared__ Real lower[PANEL * PANEL];
    __shared__ Size swaps[PANEL];
    Real *matrix = a + Size(blockIdx.y) * dim * dim;
    const int *steps = pivots + Size(blockIdx.y) * dim + first;
    for (unsigned i = threadIdx.x; i < PANEL * PANEL; i += blockDim.x) {
        Size row = i % PANEL, col = i / PANEL;
        lower[i] = row < width && col < row ? matrix[(first + col) * dim + first + row] : Real(0);
    }
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) swaps[i] = Size(steps[i]) - 1;
    __syncthreads();
    Size col = Size(blockIdx.x) * blockDim.x + threadIdx.x;
    if (col >= dim - width) return;
    bool right = col >= first;
    Real *column = matrix + (right ? col + width : col) * dim, *top = column + first;
    Real x[PANEL];
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i) {
        x[i] = Real(0);
        if (i < width) {
            x[i] = column[swaps[i]];
            column[swaps[i]] = top[i];
        }
    }
    if (right) {
#pragma unroll
        for (unsigned i = 1; i < PANEL; ++i) {
#pragma unroll
            for (unsigned k = 0; k < i; ++k) x[i] -= lower[k * PANEL + i] * x[k];
        }
    }
#pragma unroll
    for (unsigned i = 0; i < PANEL; ++i)
        if (i < width) top[i] = x[i];
}

// Rows whose order fits into shared memory.
#define SHARED_ROWS 8192

// orders[:,n] <- the g with (P^T y)[r] = y[g[r]], from the pivots of an LU: the swaps, the last one first. `stride` is 1
// for 32-bit pivots, 2 for 64-bit ones, of which the low word comes first. One thread block a matrix.
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

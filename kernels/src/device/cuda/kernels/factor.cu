// What stands around an LU factorisation by a library: its right-hand sides, its operands, and what it found out.

// out_n <- I, the right-hand sides of an inverse.
extern "C" __global__ void identities(Size dim, Size count, Real *out) {
    FOR_EACH(i, dim * dim * count) {
        Size within = i % (dim * dim);
        out[i] = within / dim == within % dim ? Real(1) : Real(0);
    }
}

// pointers[n] <- the address of block n, for the batched routines.
extern "C" __global__ void block_pointers(Size len, Size count, Real *blocks, Real **pointers) {
    FOR_EACH(n, count) pointers[n] = blocks + n * len;
}

// sums[:,n] <- |a_n| 1; one thread a row.
extern "C" __global__ void row_abs_sums(Size dim, Size count, const Real *a, double *sums) {
    FOR_EACH(i, dim * count) {
        Size sample = i / dim;
        const Real *row = a + sample * dim * dim + (i - sample * dim);
        double sum = 0;
        for (Size col = 0; col < dim; ++col) sum += fabs(double(row[col * dim]));
        sums[i] = sum;
    }
}

// terms[j,n] <- |column j of the inverse-transpose| . |a_n| 1, whose maximum is Skeel's condition number; one block a
// column of the panel.
extern "C" __global__ void skeel_terms(Size dim, const Real *inverse, const double *row_sums, double *terms) {
    const Real *column = inverse + Size(blockIdx.x) * dim;
    const double *sums = row_sums + blockIdx.x / dim * dim;
    double sum = 0;
    for (Size i = threadIdx.x; i < dim; i += blockDim.x) sum += fabs(double(column[i])) * sums[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) terms[blockIdx.x] = sum;
}

// The larger number, or a NaN if one is.
__device__ double larger(double a, double b) { return a != a || a >= b ? a : b; }

// report[2n] <- log|det| of the LU factors of block n; one thread block a block.
extern "C" __global__ void log_abs_dets(Size dim, const Real *lu, double *report) {
    const Real *factors = lu + Size(blockIdx.x) * dim * dim;
    double sum = 0;
    for (Size i = threadIdx.x; i < dim; i += blockDim.x) sum += log(fabs(double(factors[i * dim + i])));
    sum = block_sum(sum);
    if (threadIdx.x == 0) report[2 * Size(blockIdx.x)] = sum;
}

// report[2n+1] <- the largest of the terms of block n; one thread block a block.
extern "C" __global__ void condition_numbers(Size dim, const double *terms, double *report) {
    __shared__ double largest[BLOCK];
    const double *own_terms = terms + Size(blockIdx.x) * dim;
    double worst = 0;
    for (Size i = threadIdx.x; i < dim; i += blockDim.x) worst = larger(worst, own_terms[i]);
    largest[threadIdx.x] = worst;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned i = 1; i < BLOCK; ++i) worst = larger(worst, largest[i]);
    report[2 * Size(blockIdx.x) + 1] = worst;
}

// *total <- log|det| of LU factors in double, by one block.
extern "C" __global__ void log_abs_diagonal(Size dim, const double *lu, double *total) {
    double sum = 0;
    for (Size i = threadIdx.x; i < dim; i += blockDim.x) sum += log(fabs(lu[i * dim + i]));
    sum = block_sum(sum);
    if (threadIdx.x == 0) *total = sum;
}

// Sums, in double and in an order that does not depend on the run.

// *flag <- 1 when a number is NaN or infinite. Threads that write it write the same.
extern "C" __global__ void flag_not_finite(Size len, const Real *x, volatile unsigned *flag) {
    FOR_EACH(i, len) if (!(x[i] * Real(0) == Real(0))) *flag = 1;
}

// partial[block] <- the block's share of the sum of squares.
extern "C" __global__ void sum_of_squares(Size len, const Real *x, double *partial) {
    double sum = 0;
    FOR_EACH(i, len) sum += double(x[i]) * double(x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// *total <- the sum of `count` numbers, by one block.
extern "C" __global__ void sum_partials(Size count, const double *partial, double *total) {
    double sum = 0;
    for (Size i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *total = sum;
}

// sums[n] <- the sum of log sigma'(y) over column n, L1J of [M2]; one block a column.
extern "C" __global__ void log_slope_sums(Size rows, Sigma sigma, const Real *y, double *sums) {
    const Real *column = y + Size(blockIdx.x) * rows;
    double sum = 0;
    for (Size i = threadIdx.x; i < rows; i += blockDim.x) sum += double(sigma_log_slope(sigma, column[i]));
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// sums[n] <- the sum of log p(z) over column n, Lp of [M2]; one block a column.
extern "C" __global__ void log_density_sums(Size rows, Density density, const Real *z, double *sums) {
    const Real *column = z + Size(blockIdx.x) * rows;
    double sum = 0;
    for (Size i = threadIdx.x; i < rows; i += blockDim.x) sum += double(log_density(density, column[i]));
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

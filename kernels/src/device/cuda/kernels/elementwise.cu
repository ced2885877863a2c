// Elementwise work on D x N matrices, contiguous and column-major.

// x <- value.
extern "C" __global__ void fill(Size len, Real value, Real *x) {
    FOR_EACH(i, len) x[i] = value;
}

// y <- y + b 1^T; blocks of 32 rows by 8 columns.
extern "C" __global__ void add_bias(Size rows, Size cols, const Real *bias, Real *y) {
    Size col = Size(blockIdx.x) * blockDim.y + threadIdx.y;
    if (col >= cols) return;
    for (Size row = Size(blockIdx.y) * blockDim.x + threadIdx.x; row < rows; row += Size(gridDim.y) * blockDim.x)
        y[col * rows + row] += bias[row];
}

// y <- y + b 1^T, z <- sigma(y) [M1]; blocks of 32 rows by 8 columns.
extern "C" __global__ void bias_activate(Size rows, Size cols, Sigma sigma, const Real *bias, Real *y, Real *z) {
    Size col = Size(blockIdx.x) * blockDim.y + threadIdx.y;
    if (col >= cols) return;
    for (Size row = Size(blockIdx.y) * blockDim.x + threadIdx.x; row < rows; row += Size(gridDim.y) * blockDim.x) {
        Size i = col * rows + row;
        Real biased = y[i] + bias[row];
        y[i] = biased;
        z[i] = sigma_value(sigma, biased);
    }
}

// z <- sigma(y).
extern "C" __global__ void activate(Size len, Sigma sigma, const Real *y, Real *z) {
    FOR_EACH(i, len) z[i] = sigma_value(sigma, y[i]);
}

// delta <- v sigma'(y) + r(y) [M8].
extern "C" __global__ void backward_error(Size len, Sigma sigma, const Real *v, const Real *y, Real *delta) {
    FOR_EACH(i, len) delta[i] = sigma_backward_error(sigma, v[i], y[i]);
}

// delta <- psi(y), a linear last layer [M7].
extern "C" __global__ void output_score(Size len, Density density, const Real *y, Real *delta) {
    FOR_EACH(i, len) delta[i] = score(density, y[i]);
}

// delta <- psi(sigma(y)) sigma'(y) + r(y), a nonlinear last layer [M7].
extern "C" __global__ void output_error(Size len, Sigma sigma, Density density, const Real *y, Real *delta) {
    FOR_EACH(i, len) delta[i] = sigma_backward_error(sigma, score(density, sigma_value(sigma, y[i])), y[i]);
}

// slope <- sigma'(y), ratio <- r(y).
extern "C" __global__ void slope_and_ratio(Size len, Sigma sigma, const Real *y, Real *slope, Real *ratio) {
    FOR_EACH(i, len) sigma_slope_and_ratio(sigma, y[i], &slope[i], &ratio[i]);
}

// wide <- x in double.
extern "C" __global__ void widen(Size len, const Real *x, double *wide) {
    FOR_EACH(i, len) wide[i] = double(x[i]);
}

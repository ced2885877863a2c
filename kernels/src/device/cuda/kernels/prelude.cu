// What every kernel uses. `Real` is float or double, from the compiler's command line.

typedef unsigned long long Size;

// Threads of a block of the one-dimensional kernels; BLOCK of launch.rs.
#define BLOCK 256

// The elements i of 0..len that this thread handles, in a grid of any size.
#define FOR_EACH(i, len)                                                                                     \
    for (Size i = Size(blockIdx.x) * blockDim.x + threadIdx.x, step = Size(gridDim.x) * blockDim.x; i < (len); i += step)

// The sum of `value` over the threads of a block, in a fixed order; every thread of the block must get here.
__device__ double block_sum(double value) {
    __shared__ double partial[BLOCK];
    partial[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    double sum = partial[0];
    __syncthreads();
    return sum;
}

// Work on panels: D x D blocks side by side, one per sample [M20]-[M21]. A stride of 0 uses one block for all samples.

// out_n <- diag(s_n) a_n; `out` may be `a`. Blocks of 32 rows by 8 columns of the panel.
extern "C" __global__ void scale_rows(Size dim, Size count, const Real *scale, const Real *a, Size stride, Real *out) {
    Size col = Size(blockIdx.x) * blockDim.y + threadIdx.y;
    if (col >= dim * count) return;
    Size sample = col / dim;
    const Real *from = a + sample * stride + (col - sample * dim) * dim;
    for (Size row = Size(blockIdx.y) * blockDim.x + threadIdx.x; row < dim; row += Size(gridDim.y) * blockDim.x)
        out[col * dim + row] = from[row] * scale[sample * dim + row];
}

// out[:,n] <- slope[:,n] out[:,n] + weight[:,n] rowsum(a_n b_n), the adjoint of y in [M21]; one thread a row.
extern "C" __global__ void curvature_adjoint(Size dim, Size count, const Real *slope, const Real *weight, const Real *a,
                                             const Real *b, Size stride, Real *out) {
    FOR_EACH(i, dim * count) {
        Size sample = i / dim, row = i - sample * dim;
        const Real *a_row = a + sample * dim * dim + row, *b_row = b + sample * stride + row;
        Real sum = 0;
        for (Size col = 0; col < dim; ++col) sum += a_row[col * dim] * b_row[col * dim];
        out[i] = slope[i] * out[i] + weight[i] * sum;
    }
}

// out <- out + alpha sum_n a_n, for blocks of `len` numbers, summed in groups: the rounding of a long sum would show.
extern "C" __global__ void add_blocks(Size len, Size count, Real alpha, const Real *a, Real *out) {
    const Size group = 128;
    FOR_EACH(i, len) {
        Real total = 0;
        for (Size first = 0; first < count; first += group) {
            Size end = first + group < count ? first + group : count;
            Real sum = 0;
            for (Size n = first; n < end; ++n) sum += a[n * len + i];
            total += sum;
        }
        out[i] += alpha * total;
    }
}

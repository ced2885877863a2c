// The nonlinearities [M3], [M4] of one element; activation.rs, with the device's own exp, expm1, log1p and log.
//
// As there, a NaN or an infinity among the arguments makes every result NaN or infinite.

// SigmaParameters of parameters.rs.
struct Sigma {
    int kind; // 0: s_L, 1: s_T
    Real alpha;
    Real rest;                // 1 - alpha
    Real beta;
    Real two_alpha;
    Real four_alpha;
    Real eight_alpha_squared;
};

enum { SMOOTH_LEAKY = 0, TANH_LINEAR = 1 };

// `value`, or NaN where x is NaN or infinite. `value` must not be infinite.
__device__ Real unless_lost(Real x, Real value) { return x * Real(0) + value; }

// log(1 + e) of 0 <= e <= 1.
__device__ Real softplus_tail(Real e) { return log1p(e); }

// s_L, given e = exp(-|x|).
__device__ Real smooth_value(Sigma s, Real x, Real e) {
    Real positive = x > Real(0) ? x : Real(0);
    return s.alpha * x + s.rest * (positive + softplus_tail(e));
}

// q = (1 + e) s_L'(x).
__device__ Real smooth_numerator(Sigma s, Real x, Real e) {
    return x < Real(0) ? s.alpha + e : s.alpha * e + Real(1);
}

// e = exp(-2a|x|), d = 1 + e, tau = d tanh(ax) and p = d^2 s_T'(x).
struct TanhParts {
    Real e, d, tau, p;
};

__device__ TanhParts tanh_parts(Sigma s, Real x) {
    Real t = -(s.two_alpha * fabs(x));
    TanhParts parts;
    parts.e = unless_lost(x, exp(t));
    parts.d = Real(1) + parts.e;
    // 1 - e from expm1: no cancellation at small x.
    parts.tau = copysign(-expm1(t), x);
    parts.p = s.four_alpha * parts.e + s.beta * parts.d * parts.d;
    return parts;
}

// sigma(x).
__device__ Real sigma_value(Sigma s, Real x) {
    if (s.kind == SMOOTH_LEAKY) return smooth_value(s, x, exp(-fabs(x)));
    Real t = -(s.two_alpha * fabs(x));
    Real tanh_part = copysign(-expm1(t) / (Real(1) + exp(t)), x);
    return s.beta * x + tanh_part;
}

// slope = sigma'(x), ratio = sigma''(x) / sigma'(x).
__device__ void sigma_slope_and_ratio(Sigma s, Real x, Real *slope, Real *ratio) {
    if (s.kind == SMOOTH_LEAKY) {
        Real e = unless_lost(x, exp(-fabs(x)));
        Real q = smooth_numerator(s, x, e);
        Real d = Real(1) + e;
        *slope = q / d;
        *ratio = s.rest * e / (d * q);
        return;
    }
    TanhParts parts = tanh_parts(s, x);
    *slope = parts.p / (parts.d * parts.d);
    *ratio = -(s.eight_alpha_squared * parts.tau * parts.e / (parts.d * parts.p));
}

// v sigma'(y) + sigma''(y) / sigma'(y) [M8].
__device__ Real sigma_backward_error(Sigma s, Real v, Real y) {
    Real slope, ratio;
    sigma_slope_and_ratio(s, y, &slope, &ratio);
    return v * slope + ratio;
}

// log sigma'(x).
__device__ Real sigma_log_slope(Sigma s, Real x) {
    if (s.kind == SMOOTH_LEAKY) {
        Real e = unless_lost(x, exp(-fabs(x)));
        Real first = x < Real(0) ? log(s.alpha + e) : log1p(s.alpha * e);
        return first - log1p(e);
    }
    Real e = unless_lost(x, exp(-(s.two_alpha * fabs(x))));
    Real d = Real(1) + e;
    return log(s.four_alpha * e / (d * d) + s.beta);
}

// The base densities [M5] of one element; density.rs.

// DensityParameters of parameters.rs.
struct Density {
    int kind; // 0: normal, 1: sech, 2: logistic, 3: Laplace
    Real c;
    Real log_scale; // log(2c/pi)
};

enum { NORMAL = 0, SECH = 1, LOGISTIC = 2, LAPLACE = 3 };

// -tanh(a/2) with the sign of s, for a >= 0; NaN unless s is finite.
__device__ Real minus_tanh_half(Real a, Real s) {
    return unless_lost(s, copysign(expm1(-a) / (Real(1) + exp(-a)), -s));
}

// log p(s).
__device__ Real log_density(Density p, Real s) {
    const Real half_log_2_pi = Real(0.91893853320467274178);
    const Real log_2 = Real(0.69314718055994530942);
    if (p.kind == NORMAL) return -(s * Real(0.5)) * s - half_log_2_pi;
    if (p.kind == SECH) {
        Real a = p.c * fabs(s);
        return (p.log_scale - a) - log1p(exp(-(a + a)));
    }
    if (p.kind == LOGISTIC) return -fabs(s) - Real(2) * log1p(exp(-fabs(s)));
    return -fabs(s) - log_2;
}

// psi(s) = (log p)'(s).
__device__ Real score(Density p, Real s) {
    if (p.kind == NORMAL) return -s;
    if (p.kind == SECH) {
        Real a = p.c * fabs(s);
        return p.c * minus_tanh_half(a + a, s);
    }
    if (p.kind == LOGISTIC) return minus_tanh_half(fabs(s), s);
    Real upper = s > Real(0) ? Real(-1) : Real(0);
    return unless_lost(s, s < Real(0) ? Real(1) : upper);
}

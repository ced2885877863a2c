//! The sharpness of steps where it is known, and against all eigenvalues of a dense difference quotient.

use nalgebra::DMatrix;
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::{Bound, bind};
use relgrad_kernels::device::Matrix;
use relgrad_kernels::optimizer::{Adam, Correction, Moments, Preconditioner, Sharpness, equivariant, plain_step};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Architecture, Cpu, Dense, Init, Method, Scalar, init};

/// A network, its batch and its direction.
struct Problem<T: Scalar> {
    device: Cpu,
    parameters: Parameters<Cpu, T>,
    x: Matrix<Cpu, T>,
    backend: Bound<Cpu, T>,
    scratch: Gradient<Cpu, T>,
}

impl<T: Scalar> Problem<T> {
    fn of(parameters: Parameters<Cpu, T>, x: Matrix<Cpu, T>, method: Method) -> Self {
        let (device, architecture) = (Cpu::new(1), *parameters.architecture());
        let backend = bind(&device, method, BiasMode::Exact, &architecture, x.cols()).unwrap();
        let scratch = Gradient::zeros(&device, &architecture, "direction").unwrap();
        Self { device, parameters, x, backend, scratch }
    }

    /// One linear layer with normal latents at its optimum: x = √D W⁻¹(±e_i), so that WΣWᵀ = I.
    fn optimum(dim: usize, method: Method) -> Self {
        let device = Cpu::new(1);
        let architecture = Architecture::new(dim, 1);
        let drawn = init::network::<_, f64, Dense>(&device, &architecture, Init::Conditioned, 7).unwrap();
        let weight = DMatrix::from_column_slice(dim, dim, &drawn.arrays().weights[0].to_column_major(&device).unwrap());
        let inverse = weight.clone().try_inverse().unwrap() * (dim as f64).sqrt();
        let rounded = |values: &[f64]| values.iter().map(|&x| T::of(x)).collect::<Vec<T>>();
        let both: Vec<f64> = inverse.iter().copied().chain(inverse.iter().map(|x| -x)).collect();
        let x = Matrix::from_column_major(&device, &rounded(&both), dim, 2 * dim, "batch").unwrap();
        let mut arrays = Arrays::zeros(&device, &architecture, "parameters").unwrap();
        arrays.weights[0] =
            Matrix::from_column_major(&device, &rounded(weight.as_slice()), dim, dim, "weight").unwrap();
        Self::of(Parameters::new(architecture, arrays).unwrap(), x, method)
    }

    /// A deep network with biases, away from any optimum.
    fn deep(method: Method) -> Self {
        let device = Cpu::new(1);
        let architecture = Architecture { bias: true, ..Architecture::new(3, 3) };
        let parameters = init::network(&device, &architecture, Init::Orthogonal, 3).unwrap();
        Self::of(parameters, init::batch(&device, 3, 40, 2).unwrap(), method)
    }

    fn sharpness(&mut self, preconditioner: &Preconditioner<'_, Cpu, T>, iterations: usize) -> Option<f64> {
        let Self { device, parameters, x, backend, scratch } = self;
        let mut sharpness = Sharpness::new(device, parameters).unwrap();
        let mut direction =
            |at: &Parameters<Cpu, T>, out: &mut Gradient<Cpu, T>| backend.gradient(device, at, x.view(), out);
        sharpness.estimate(device, parameters, preconditioner, scratch, &mut direction, iterations).unwrap()
    }

    fn direction(&mut self) -> Vec<f64> {
        let Self { device, parameters, x, backend, scratch } = self;
        backend.gradient(device, parameters, x.view(), scratch).unwrap();
        flat(device, scratch)
    }

    /// −DΔ, column by column.
    fn dense(&mut self) -> DMatrix<f64> {
        let h = 1e-5;
        let count = flat(&self.device, self.parameters.arrays()).len();
        let column = |i: usize| {
            self.shift(i, h);
            let ahead = self.direction();
            self.shift(i, -2.0 * h);
            let behind = self.direction();
            self.shift(i, h);
            ahead.iter().zip(&behind).map(|(a, b)| (b - a) / (2.0 * h)).collect::<Vec<f64>>()
        };
        let columns: Vec<f64> = (0..count).flat_map(column).collect();
        DMatrix::from_vec(count, count, columns)
    }

    fn shift(&mut self, mut i: usize, by: f64) {
        for array in self.parameters.arrays_mut().iter_mut() {
            let mut values = array.to_column_major(&self.device).unwrap();
            if let Some(value) = values.get_mut(i) {
                *value += T::of(by);
                *array = Matrix::from_column_major(&self.device, &values, array.rows(), array.cols(), "").unwrap();
                return;
            }
            i -= values.len();
        }
    }
}

fn flat<T: Scalar>(device: &Cpu, arrays: &Arrays<Cpu, T>) -> Vec<f64> {
    arrays.iter().flat_map(|array| array.to_column_major(device).unwrap()).map(Scalar::widen).collect()
}

fn largest(matrix: &DMatrix<f64>) -> f64 {
    matrix.complex_eigenvalues().iter().map(|value| value.re).fold(f64::NEG_INFINITY, f64::max)
}

fn close(found: Option<f64>, expected: f64, tolerance: f64) {
    let error = (found.unwrap() - expected).abs() / expected;
    assert!(error < tolerance, "{found:?} is not {expected}");
}

/// λ = 2 at the optimum of a linear layer, for symmetric E; 0 for antisymmetric ones [M87]. One iteration finds it, to
/// what a difference of f32 and f64 gradients leaves.
#[test]
fn relative_steps_at_a_linear_optimum_have_sharpness_two() {
    for dim in [2, 5, 40] {
        close(Problem::<f64>::optimum(dim, Method::Relative).sharpness(&Preconditioner::Identity, 2), 2.0, 1e-7);
        close(Problem::<f32>::optimum(dim, Method::Relative).sharpness(&Preconditioner::Identity, 2), 2.0, 1e-2);
    }
    let mut eigenvalues: Vec<f64> = Problem::<f64>::optimum(3, Method::Relative)
        .dense()
        .complex_eigenvalues()
        .iter()
        .map(|value| value.re)
        .collect();
    eigenvalues.sort_by(f64::total_cmp);
    for (found, expected) in eigenvalues.iter().zip([0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]) {
        assert!((found - expected).abs() < 1e-6, "{eigenvalues:?}");
    }
}

#[test]
fn sharpness_is_the_largest_eigenvalue_of_the_dense_operator() {
    for method in [Method::Ordinary, Method::Transposed] {
        let mut problem = Problem::<f64>::optimum(4, method);
        let expected = largest(&problem.dense());
        close(problem.sharpness(&Preconditioner::Identity, 20), expected, 1e-6);
        close(Problem::<f32>::optimum(4, method).sharpness(&Preconditioner::Identity, 20), expected, 2e-2);
    }
    // Away from an optimum a relative direction has no symmetric derivative in any metric.
    for method in [Method::Relative, Method::Transposed, Method::Ordinary] {
        let mut problem = Problem::<f64>::deep(method);
        let expected = largest(&problem.dense());
        close(problem.sharpness(&Preconditioner::Identity, 60), expected, 1e-4);
        close(Problem::<f32>::deep(method).sharpness(&Preconditioner::Identity, 60), expected, 3e-2);
    }
}

#[test]
fn adam_has_the_sharpness_of_its_own_metric() {
    let mut problem = Problem::<f64>::deep(Method::Ordinary);
    let architecture = *problem.parameters.architecture();
    let mut moments = Moments::zeros(&problem.device, &architecture).unwrap();
    let adam = Adam::default();
    assert_eq!(problem.sharpness(&Preconditioner::Adam(adam, &moments), 1), None);
    moments.steps = 5;
    for (i, array) in moments.second.iter_mut().enumerate() {
        let values = init::uniforms(i as u64, array.rows() * array.cols());
        *array = Matrix::from_column_major(&problem.device, &values, array.rows(), array.cols(), "").unwrap();
    }
    // The fifth step is t = 5, and with three steps an epoch in the second one, t = 3.
    for (correction, t) in [(Correction::Steps, 5), (Correction::Epochs { steps: 3 }, 3)] {
        let adam = Adam { correction, ..adam };
        let [first, second] = [adam.beta1, adam.beta2].map(|beta| 1.0 / (1.0 - beta.powi(t)));
        let mut dense = problem.dense();
        for (mut row, v) in dense.row_iter_mut().zip(flat(&problem.device, &moments.second)) {
            row *= first / ((v * second).sqrt() + adam.epsilon);
        }
        let preconditioner = Preconditioner::Adam(adam, &moments);
        close(problem.sharpness(&preconditioner, 60), largest(&dense), 1e-4);
        assert!((preconditioner.limit() - 38.0).abs() < 1e-12);
    }
    assert_eq!(Preconditioner::<Cpu, f64>::Identity.limit(), 2.0);
}

/// Moments whose P is (√v̂ + ε)⁻¹ for v drawn from the seed, or v̂ = 1: so many steps leave nothing to correct.
fn settled_moments(device: &Cpu, architecture: &Architecture, is_drawn: bool) -> Moments<Cpu, f64> {
    let mut moments = Moments::zeros(device, architecture).unwrap();
    moments.steps = 1_000_000;
    for (i, array) in moments.second.iter_mut().enumerate() {
        let count = array.rows() * array.cols();
        let values = if is_drawn { init::uniforms(i as u64, count) } else { vec![1.0; count] };
        *array = Matrix::from_column_major(device, &values, array.rows(), array.cols(), "").unwrap();
    }
    moments
}

/// λ of the coordinates of relative steps \[M96\] after so many iterations, and P by entries.
fn sharpness_of_coordinates(problem: &Problem<f64>, is_drawn: bool, iterations: usize) -> (Option<f64>, Vec<f64>) {
    let Problem { device, parameters, x, .. } = problem;
    let architecture = parameters.architecture();
    let moments = settled_moments(device, architecture, is_drawn);
    let mut steps = equivariant(device, architecture, x.cols()).unwrap();
    let mut direction =
        |at: &Parameters<Cpu, f64>, out: &mut Gradient<Cpu, f64>| steps.coordinates(device, at, x.view().into(), out);
    let mut scratch = Gradient::zeros(device, architecture, "direction").unwrap();
    let mut sharpness = Sharpness::new(device, parameters).unwrap();
    let adam = Adam::default();
    let preconditioner = Preconditioner::Coordinates(adam, &moments);
    assert!((preconditioner.limit() - 38.0).abs() < 1e-12);
    let found = sharpness.estimate(device, parameters, &preconditioner, &mut scratch, &mut direction, iterations);
    let scales = flat(device, &moments.second).into_iter().map(|v| 1.0 / (v.sqrt() + adam.epsilon)).collect();
    (found.unwrap(), scales)
}

/// −dE/dt along every coordinate in turn, by moving W to (I + hV)W and b to b + h(Vb + v) as they are written.
fn dense_in_coordinates(problem: &Problem<f64>) -> DMatrix<f64> {
    let Problem { device, parameters, x, .. } = problem;
    let architecture = *parameters.architecture();
    let Architecture { dim, layers, .. } = architecture;
    let square =
        |m: &Matrix<Cpu, f64>| DMatrix::from_column_slice(m.rows(), m.cols(), &m.to_column_major(device).unwrap());
    let mut steps = equivariant(device, &architecture, x.cols()).unwrap();
    let mut at = |k: usize, by: &DMatrix<f64>, of_bias: &DMatrix<f64>| {
        let mut moved = Parameters::new(architecture, Arrays::zeros(device, &architecture, "moved").unwrap()).unwrap();
        for (i, (from, to)) in parameters.arrays().iter().zip(moved.arrays_mut().iter_mut()).enumerate() {
            let mut values = square(from);
            if i % layers == k {
                values += by * &values;
                if values.ncols() == 1 {
                    values += of_bias;
                }
            }
            *to = Matrix::from_column_major(device, values.as_slice(), values.nrows(), values.ncols(), "").unwrap();
        }
        let mut out = Gradient::zeros(device, &architecture, "direction").unwrap();
        steps.coordinates(device, &moved, x.view().into(), &mut out).unwrap();
        flat(device, &out)
    };
    let h = 1e-5;
    let (none, no_bias) = (DMatrix::zeros(dim, dim), DMatrix::zeros(dim, 1));
    let mut columns = Vec::new();
    let mut column = |k: usize, v: DMatrix<f64>, of_bias: DMatrix<f64>| {
        let (ahead, behind) = (at(k, &(&v * h), &(&of_bias * h)), at(k, &(&v * -h), &(&of_bias * -h)));
        columns.extend(ahead.iter().zip(&behind).map(|(a, b)| (b - a) / (2.0 * h)));
    };
    let unit = |zeros: &DMatrix<f64>, i: usize| {
        let mut unit = zeros.clone();
        unit[i] = 1.0;
        unit
    };
    for (k, i) in (0..layers).flat_map(|k| (0..dim * dim).map(move |i| (k, i))) {
        column(k, unit(&none, i), no_bias.clone());
    }
    if architecture.bias {
        for (k, i) in (0..layers).flat_map(|k| (0..dim).map(move |i| (k, i))) {
            column(k, none.clone(), unit(&no_bias, i));
        }
    }
    let count = dim * layers * (dim + usize::from(architecture.bias));
    DMatrix::from_vec(count, count, columns)
}

#[test]
fn coordinates_have_the_sharpness_of_steps_of_the_group() {
    // At a linear optimum it is that of the plain relative step.
    for dim in [2, 5, 40] {
        let (found, _) = sharpness_of_coordinates(&Problem::optimum(dim, Method::Relative), false, 2);
        close(found, 2.0, 1e-6);
    }
    let mut problem = Problem::<f64>::deep(Method::Relative);
    for (i, bias) in problem.parameters.arrays_mut().biases.iter_mut().enumerate() {
        let values = init::normals(i as u64, bias.rows());
        *bias = Matrix::from_column_major(&problem.device, &values, bias.rows(), 1, "").unwrap();
    }
    let (found, scales) = sharpness_of_coordinates(&problem, true, 80);
    let mut dense = dense_in_coordinates(&problem);
    for (mut row, scale) in dense.row_iter_mut().zip(scales) {
        row *= scale;
    }
    close(found, largest(&dense), 1e-3);
}

/// Steps below 2/λ contract towards the optimum, steps above it leave it.
#[test]
fn steps_contract_below_the_limit_and_grow_above_it() {
    let lambda = Problem::<f64>::optimum(4, Method::Relative).sharpness(&Preconditioner::Identity, 2).unwrap();
    let ratio = |share: f64| {
        let mut problem = Problem::<f64>::optimum(4, Method::Relative);
        for i in 0..16 {
            problem.shift(i, 1e-6 * (1.0 + i as f64));
        }
        let size = |problem: &mut Problem<f64>| problem.direction().iter().map(|x| x * x).sum::<f64>().sqrt();
        let before = size(&mut problem);
        for _ in 0..30 {
            problem.direction();
            let Problem { device, parameters, scratch, .. } = &mut problem;
            plain_step(device, parameters, scratch, share * 2.0 / lambda).unwrap();
        }
        size(&mut problem) / before
    };
    assert!(ratio(0.9) < 0.01, "{}", ratio(0.9));
    assert!(ratio(1.1) > 10.0, "{}", ratio(1.1));
}

/// A vector that is kept makes an estimate of one iteration as good as one of many.
#[test]
fn an_estimate_goes_on_from_the_last_one() {
    let mut problem = Problem::<f64>::deep(Method::Relative);
    let expected = problem.sharpness(&Preconditioner::Identity, 60);
    let Problem { device, parameters, x, backend, scratch } = &mut problem;
    let mut direction =
        |at: &Parameters<Cpu, f64>, out: &mut Gradient<Cpu, f64>| backend.gradient(device, at, x.view(), out);
    let mut first = Sharpness::new(device, parameters).unwrap();
    assert!(first.state().is_none());
    for _ in 0..60 {
        first.estimate(device, parameters, &Preconditioner::Identity, scratch, &mut direction, 1).unwrap();
    }
    let (kept, value) = first.state().unwrap();
    assert_eq!(Some(value), expected);
    // In another process.
    let kept: Vec<Vec<f64>> = kept.iter().map(|array| array.to_column_major(device).unwrap()).collect();
    let mut second = Sharpness::new(device, parameters).unwrap();
    let fill = |arrays: &mut Arrays<Cpu, f64>| -> relgrad_kernels::Result<()> {
        arrays.iter_mut().zip(&kept).try_for_each(|(array, kept)| {
            *array = Matrix::from_column_major(device, kept, array.rows(), array.cols(), "kept")?;
            Ok(())
        })
    };
    second.resume(value, fill).unwrap();
    let mut next = |of: &mut Sharpness<Cpu, f64, Dense>| {
        of.estimate(device, parameters, &Preconditioner::Identity, scratch, &mut direction, 1).unwrap()
    };
    assert_eq!(next(&mut first), next(&mut second));
}

//! Every quantity of a golden file, computed by every backend in one precision, next to the file's.

use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::backend::{Autodiff, BiasMode, GradientBackend};
use relgrad_kernels::bound::bind;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::layer::{Coupling, CouplingKind, MaybeGroup, Spectral, Visitor};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Arrays, Batch, Gradient, LocationScale, Parameters};
use relgrad_kernels::{Architecture, Cpu, Cuda, Dense, Dtype, Error, Method, Result, Scalar};

use crate::array::{Array, Direction};
use crate::case::{Golden, Outputs};
use crate::tolerance::{Conditioning, Tolerances};

/// How one group of quantities compares.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// Name of the case.
    pub id: String,
    /// Precision of the computation.
    pub dtype: &'static str,
    /// What computed it: a method, `likelihood` or `inversion`.
    pub backend: &'static str,
    /// Group of the file's tolerances.
    pub group: &'static str,
    /// Largest norm-wise error, max|a − b| / max|b|; absent when there is no finite result.
    pub error: Option<f64>,
    /// The file's tolerance; absent where this precision cannot be expected to work.
    pub tol: Option<f64>,
    /// Whether the error is within the tolerance; absent without a tolerance.
    pub pass: Option<bool>,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Compares everything on the CPU in a precision. Not generic, so that this crate compiles it once.
///
/// # Errors
/// When the network itself cannot be set up; a backend that fails is a row.
pub fn compare(device: &Cpu, dtype: Dtype, golden: &Golden) -> Result<Vec<Row>> {
    let coupling = golden.architecture.coupling;
    match dtype {
        Dtype::F32 => coupling.visit::<f32, _>(OnCpu { device, golden }),
        Dtype::F64 => coupling.visit::<f64, _>(OnCpu { device, golden }),
    }
}

struct OnCpu<'a> {
    device: &'a Cpu,
    golden: &'a Golden,
}

impl<T: Spectral> Visitor<T> for OnCpu<'_> {
    type Out = Vec<Row>;

    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> Result<Vec<Row>> {
        Comparison::<Cpu, T, C>::new(self.device, coupling, self.golden)?.rows()
    }
}

/// Compares a network of dense layers on a GPU.
///
/// # Errors
/// As [`compare`]; [`Error::ShapeMismatch`] for other layers.
pub fn compare_on_gpu(device: &Cuda, dtype: Dtype, golden: &Golden) -> Result<Vec<Row>> {
    if golden.architecture.coupling != CouplingKind::Dense {
        let (expected, found) = ("dense ones".to_string(), "convolutions, which run on the CPU".to_string());
        return Err(Error::ShapeMismatch { operation: "layers on this device", expected, found });
    }
    match dtype {
        Dtype::F32 => Comparison::<_, f32, Dense>::new(device, Dense, golden)?.rows(),
        Dtype::F64 => Comparison::<_, f64, Dense>::new(device, Dense, golden)?.rows(),
    }
}

/// A network of a file on a device, and the rows about it.
pub(crate) struct Comparison<'a, D: Device<T>, T: Scalar, C: MaybeGroup<D, T>> {
    pub(crate) golden: &'a Golden,
    pub(crate) device: &'a D,
    pub(crate) parameters: Parameters<D, T, C>,
    x: Matrix<D, T>,
    u: Option<Matrix<D, T>>,
    rows: Vec<Row>,
}

impl<'a, D: Device<T> + 'static, T: Scalar, C: MaybeGroup<D, T>> Comparison<'a, D, T, C> {
    fn new(device: &'a D, coupling: C, golden: &'a Golden) -> Result<Self> {
        let parameters = parameters(device, golden.architecture.with(coupling), golden)?;
        let x = upload(device, &golden.x)?;
        let u = golden.conditional.as_ref().map(|conditional| upload(device, &conditional.u)).transpose()?;
        Ok(Self { golden, device, parameters, x, u, rows: Vec::new() })
    }

    fn rows(mut self) -> Result<Vec<Row>> {
        self.likelihood();
        self.inversion();
        self.relative();
        self.stored("transposed", Method::Transposed, &self.golden.outputs.transposed);
        self.stored("ordinary", Method::Ordinary, &Some(self.golden.outputs.ordinary.clone()));
        self.refreshed();
        self.autodiff();
        self.conditional();
        Ok(self.rows)
    }

    /// The samples from `first` on.
    fn samples(&self, first: usize, count: usize) -> Batch<'_, D, T> {
        let u = self.u.as_ref().map(|u| u.view().columns(first, count));
        Batch { x: self.x.view().columns(first, count), u }
    }

    pub(crate) fn batch(&self) -> Batch<'_, D, T> {
        self.samples(0, self.x.cols())
    }

    /// Adds a row; the error of several arrays is that of the worst.
    fn row(
        &mut self,
        backend: &'static str,
        group: &'static str,
        conditioning: Conditioning,
        errors: Result<Vec<f64>>,
    ) {
        let case = (self.golden.id.as_str(), &self.golden.tolerances);
        self.rows.push(row::<T>(case, backend, group, conditioning, errors));
    }

    fn per_layer(&mut self, backend: &'static str, group: &'static str, errors: Result<Vec<f64>>) {
        self.row(backend, group, Conditioning::PerLayer, errors);
    }

    fn evaluator(&self) -> Result<Evaluator<D, T, C>> {
        Evaluator::new(self.device, self.parameters.architecture(), self.x.cols())
    }

    /// ℓ, its parts, the forward pass, and δ.
    fn likelihood(&mut self) {
        let outputs = &self.golden.outputs;
        let evaluate = || {
            let likelihood = self.evaluator()?.log_likelihood(self.device, &self.parameters, self.batch())?;
            let loglik = vec![distance(&likelihood.per_sample(), &outputs.per_sample)];
            let parts = vec![
                distance(&likelihood.lp, &outputs.lp),
                distance(&likelihood.l1j, &outputs.l1j),
                distance(&likelihood.l2j_per_layer, &outputs.l2j_per_layer),
            ];
            Ok((loglik, parts))
        };
        let (loglik, parts) = split(evaluate());
        let (forward, delta) = (self.forward(), self.delta());
        self.per_layer("likelihood", "loglik", loglik);
        self.per_layer("likelihood", "parts", parts);
        self.per_layer("likelihood", "forward", forward);
        self.per_layer("likelihood", "delta", delta);
    }

    /// Y and Z. The log-determinants are not needed, so a singular weight is no obstacle.
    fn forward(&self) -> Result<Vec<f64>> {
        let Outputs { y, z, .. } = &self.golden.outputs;
        let mut evaluator = self.evaluator()?;
        evaluator.data_terms(self.device, &self.parameters, self.batch())?;
        let blocks = (0..y.len()).map(|k| evaluator.pre_activation(k)).chain([evaluator.latents()]);
        blocks.zip(y.iter().chain([z])).map(|(ours, theirs)| Ok(distance(&wide(self.device, ours)?, theirs))).collect()
    }

    fn delta(&self) -> Result<Vec<f64>> {
        let errors = self.evaluator()?.backward_errors(self.device, &self.parameters, self.batch())?;
        let widened = errors.into_iter().map(|of| of.into_iter().map(Scalar::widen).collect::<Vec<_>>());
        Ok(widened.zip(&self.golden.outputs.delta).map(|(ours, theirs)| distance(&ours, theirs)).collect())
    }

    /// g⁻¹(S), and g⁻¹(g(X)) with g(X) as computed here.
    fn inversion(&mut self) {
        let golden = self.golden;
        let inverter = Inverter::new(self.device, &self.parameters);
        let inverter = inverter.as_ref().map_err(Clone::clone);
        let invert = |latents: Vec<f64>, expected: &Array| {
            let mut x: Vec<T> = latents.into_iter().map(T::of).collect();
            inverter.clone()?.invert(&mut x)?;
            let x: Vec<f64> = x.into_iter().map(Scalar::widen).collect();
            Ok(vec![distance(&x, expected)])
        };
        if let Some([s, x]) = &golden.outputs.inverse {
            self.per_layer("inversion", "inverse", invert(s.data.clone(), x));
        }
        let latents = || {
            let mut evaluator = self.evaluator()?;
            evaluator.data_terms(self.device, &self.parameters, self.batch())?;
            wide(self.device, evaluator.latents())
        };
        let roundtrip = latents().and_then(|latents| invert(latents, &golden.x));
        self.per_layer("inversion", "roundtrip", roundtrip);
    }

    /// The relative gradient in its bias modes, its δ, and the step along it.
    fn relative(&mut self) {
        let Some(expected) = &self.golden.outputs.relative else { return };
        let errors = |bias_mode, expected: &Direction| self.gradient_errors(Method::Relative, bias_mode, expected);
        let exact = errors(BiasMode::Exact, expected);
        let delta = self.delta_errors(Method::Relative);
        // Without biases the modes are one and the same.
        let modes = self.golden.architecture.bias && C::IS_DENSE;
        let modes = modes.then(|| {
            let paper = errors(BiasMode::Paper, &self.expected_paper(expected));
            (paper, errors(BiasMode::Plain, &self.expected_plain(expected)))
        });
        let in_place = self.in_place_errors(expected);
        self.per_layer("relative", "relative", exact);
        if C::IS_DENSE {
            self.per_layer("relative", "delta", delta);
        }
        if let Some((paper, plain)) = modes {
            self.per_layer("relative-paper", "relative", paper);
            self.per_layer("relative-plain", "relative", plain);
        }
        self.per_layer("relative-inplace", "relative", in_place);
    }

    /// Mode `paper`: Δb without the log-determinant's share b (MATH.md §9).
    fn expected_paper(&self, exact: &Direction) -> Direction {
        let Direction { weights, mut biases } = exact.clone();
        for (db, b) in biases.iter_mut().zip(&self.golden.biases) {
            db.data.iter_mut().zip(&b.data).for_each(|(db, b)| *db -= b);
        }
        Direction { weights, biases }
    }

    /// Mode `plain`: ΔW = G WᵀW, Δb = g. G WᵀW is taken as the file's `exact` ΔW less g bᵀW: the product itself would
    /// lose cond(W)² (MATH.md §16).
    fn expected_plain(&self, exact: &Direction) -> Direction {
        let Golden { architecture, weights: w, biases: b, outputs, .. } = self.golden;
        let (dim, g) = (architecture.dim, &outputs.ordinary.biases);
        let mut weights = exact.weights.clone();
        for (k, dw) in weights.iter_mut().enumerate() {
            for col in 0..dim {
                let column = &w[k].data[col * dim..][..dim];
                let pulled: f64 = column.iter().zip(&b[k].data).map(|(w, b)| w * b).sum();
                let target = &mut dw.data[col * dim..][..dim];
                target.iter_mut().zip(&g[k].data).for_each(|(dw, g)| *dw -= g * pulled);
            }
        }
        Direction { weights, biases: g.clone() }
    }

    /// A method with one direction, if the file has it.
    fn stored(&mut self, name: &'static str, method: Method, expected: &Option<Direction>) {
        if let Some(expected) = expected {
            let errors = self.gradient_errors(method, BiasMode::Exact, expected);
            self.per_layer(name, name, errors);
        }
    }

    /// The inverses of dense layers, refreshed.
    fn refreshed(&mut self) {
        if C::IS_DENSE {
            let errors = self.refreshed_errors(&self.golden.outputs.ordinary);
            self.per_layer("newton-schulz", "ordinary", errors);
        }
    }

    fn autodiff(&mut self) {
        let expected = &self.golden.outputs.ordinary;
        let batched = self.gradient_errors(Method::Autodiff, BiasMode::Exact, expected);
        let streamed = self.gradient_errors(Method::AutodiffStreamed, BiasMode::Exact, expected);
        let delta = self.delta_errors(Method::Autodiff);
        let loglik = self.autodiff_loglik();
        self.row("autodiff", "loglik", Conditioning::Product, loglik);
        self.row("autodiff", "ordinary", Conditioning::Product, batched);
        if C::IS_DENSE {
            self.row("autodiff", "delta", Conditioning::Product, delta);
        }
        self.row("autodiff-streamed", "ordinary", Conditioning::Product, streamed);
    }

    /// ℓ = Lp + log|det J|, the determinant from the full Jacobian of each sample.
    fn autodiff_loglik(&self) -> Result<Vec<f64>> {
        let (device, architecture) = (self.device, self.parameters.architecture());
        let lp = self.evaluator()?.data_terms(device, &self.parameters, self.batch())?.lp;
        let backend = Autodiff { jacobians: Jacobians::Batched, ..Autodiff::default() };
        let mut workspace = GradientBackend::<D, T, C>::workspace(&backend, device, architecture, self.x.cols())?;
        let mut out = Gradient::zeros(device, architecture, "gradient")?;
        backend.gradient(device, &self.parameters, self.batch(), &mut workspace, &mut out)?;
        device.synchronize()?;
        let log_dets = workspace.log_abs_det_jacobian();
        let per_sample: Vec<f64> = lp.iter().zip(log_dets).map(|(lp, log_det)| lp + log_det).collect();
        Ok(vec![distance(&per_sample, &self.golden.outputs.per_sample)])
    }

    /// The errors of a method's gradient, array by array.
    fn gradient_errors(&self, method: Method, bias_mode: BiasMode, expected: &Direction) -> Result<Vec<f64>> {
        self.errors(&self.direction(method, bias_mode, &self.parameters, self.batch())?, expected)
    }

    /// The errors of a direction, array by array.
    pub(crate) fn errors(&self, out: &Gradient<D, T>, expected: &Direction) -> Result<Vec<f64>> {
        let pairs = out.iter().zip(expected.weights.iter().chain(&expected.biases));
        pairs.map(|(ours, theirs)| Ok(distance(&wide(self.device, ours.view())?, theirs))).collect()
    }

    fn direction(
        &self,
        method: Method,
        bias_mode: BiasMode,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
    ) -> Result<Gradient<D, T>> {
        let (device, architecture) = (self.device, parameters.architecture());
        let mut out = Gradient::zeros(device, architecture, "gradient")?;
        bind(device, method, bias_mode, architecture, batch.x.cols())?.gradient(device, parameters, batch, &mut out)?;
        device.synchronize()?;
        Ok(out)
    }

    /// The derivatives in A, a, B and c \[M6\], which every backend starts from.
    fn conditional(&mut self) {
        if self.golden.conditional.is_none() {
            return;
        }
        for (method, conditioning) in [
            (Method::Relative, Conditioning::PerLayer),
            (Method::Transposed, Conditioning::PerLayer),
            (Method::Ordinary, Conditioning::PerLayer),
            (Method::NewtonSchulz, Conditioning::PerLayer),
            (Method::Autodiff, Conditioning::Product),
            (Method::AutodiffStreamed, Conditioning::Product),
        ] {
            let errors = self.density_errors(method);
            self.row(method.name(), "conditional", conditioning, errors);
        }
    }

    fn density_errors(&self, method: Method) -> Result<Vec<f64>> {
        let expected = self.golden.conditional.iter().flat_map(|conditional| &conditional.gradient);
        let out = self.direction(method, BiasMode::Exact, &self.parameters, self.batch())?;
        let ours = out.head.iter().flat_map(LocationScale::matrices);
        ours.zip(expected).map(|(ours, theirs)| Ok(distance(&wide(self.device, ours.view())?, theirs))).collect()
    }

    /// The errors of δ_k. A backend does not give δ away, but the bias gradient of a batch of one sample is that
    /// sample's δ \[M9\]; a network without biases is given zeros.
    fn delta_errors(&self, method: Method) -> Result<Vec<f64>> {
        let architecture = Architecture { bias: true, ..*self.parameters.architecture() };
        let parameters = parameters(self.device, architecture, self.golden)?;
        let mut delta: Vec<Vec<f64>> = vec![Vec::new(); architecture.layers];
        for sample in 0..self.x.cols() {
            let out = self.direction(method, BiasMode::Plain, &parameters, self.samples(sample, 1))?;
            for (delta, bias) in delta.iter_mut().zip(&out.biases) {
                delta.extend(wide(self.device, bias.view())?);
            }
        }
        Ok(delta.iter().zip(&self.golden.outputs.delta).map(|(ours, theirs)| distance(ours, theirs)).collect())
    }
}

/// A row; the error of several arrays is that of the worst.
fn row<T: Scalar>(
    (id, tolerances): (&str, &Tolerances),
    backend: &'static str,
    group: &'static str,
    conditioning: Conditioning,
    errors: Result<Vec<f64>>,
) -> Row {
    Row::judged::<T>(id, (backend, group), tolerances.of(T::DTYPE, conditioning, group), errors)
}

impl Row {
    /// The error of several arrays is that of the worst.
    pub(crate) fn judged<T: Scalar>(
        id: &str,
        (backend, group): (&'static str, &'static str),
        tol: Option<f64>,
        errors: Result<Vec<f64>>,
    ) -> Self {
        let (worst, reason) = match errors {
            // f64::max would drop a NaN.
            Ok(errors) => (errors.into_iter().reduce(|a, b| if a.is_nan() || a > b { a } else { b }), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let error = worst.filter(|error| error.is_finite());
        let reason = reason.or_else(|| error.is_none().then(|| "the result is not finite".to_string()));
        let pass = tol.map(|tol| error.is_some_and(|error| error <= tol));
        Self { id: id.to_string(), dtype: T::DTYPE.name(), backend, group, error, tol, pass, reason }
    }
}

/// Both halves of a pair, with the same error.
fn split<A, B>(pair: Result<(A, B)>) -> (Result<A>, Result<B>) {
    match pair {
        Ok((a, b)) => (Ok(a), Ok(b)),
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

/// The file's parameters in precision `T`; zero biases where `architecture` has biases and the file has none.
pub(crate) fn parameters<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    architecture: Architecture<C>,
    golden: &Golden,
) -> Result<Parameters<D, T, C>> {
    let mut arrays = Arrays::zeros(device, &architecture, "parameters")?;
    let all = |from: &[Array]| from.iter().map(|array| upload(device, array)).collect::<Result<Vec<_>>>();
    arrays.weights = all(&golden.weights)?;
    if !golden.biases.is_empty() {
        arrays.biases = all(&golden.biases)?;
    }
    if let (Some(head), Some(conditional)) = (&mut arrays.head, &golden.conditional) {
        for (to, from) in head.matrices_mut().into_iter().zip(&conditional.density) {
            *to = upload(device, from)?;
        }
    }
    Parameters::new(architecture, arrays)
}

pub(crate) fn upload<D: Device<T>, T: Scalar>(device: &D, array: &Array) -> Result<Matrix<D, T>> {
    let data: Vec<T> = array.data.iter().map(|value| T::of(*value)).collect();
    Matrix::from_column_major(device, &data, array.rows, array.cols, "golden array")
}

pub(crate) fn wide<D: Device<T>, T: Scalar>(device: &D, view: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
    Ok(device.to_host(view)?.into_iter().map(Scalar::widen).collect())
}

/// max|a − b| / max|b|; absolute where b is all zero.
pub(crate) fn distance(ours: &[f64], theirs: &Array) -> f64 {
    if ours.len() == theirs.data.len() {
        relative_error(ours.iter().copied(), theirs.data.iter().copied())
    } else {
        f64::NAN
    }
}

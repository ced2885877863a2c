//! Every quantity of a golden file, computed by every backend in one precision, beside the file's.

use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::backend::{Autodiff, BiasMode, GradientBackend, Ordinary, Relative, Transposed};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::conditional::{ConditionalBackend, LocationScale};
use relgrad_kernels::device::{Device, Matrix, MatrixRef};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Architecture, Result, Scalar};

use crate::array::{Array, Direction};
use crate::condition::Condition;
use crate::dense::Golden;
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

/// Step length of the in-place sweep. A power of two, so that (W_new − W)/μ scales without rounding, and large, so that
/// the difference loses nothing where ΔW is small beside W.
const STEP: f64 = 64.0;

/// Compares everything on `device` in precision `T`.
///
/// # Errors
/// When the network itself cannot be set up; a backend that fails is a row.
pub fn compare<D: Device<T>, T: Scalar>(device: &D, golden: &Golden) -> Result<Vec<Row>> {
    let mut comparison = Comparison::<D, T>::new(device, golden)?;
    comparison.likelihood();
    comparison.inversion();
    comparison.relative();
    comparison.in_place();
    comparison.transposed();
    comparison.ordinary();
    comparison.autodiff();
    comparison.conditional();
    Ok(comparison.rows)
}

/// A direction of the network's parameters and, where there is a conditional density, one of its own.
type Directions<D, T> = (Gradient<D, T>, Option<LocationScale<D, T>>);

struct Comparison<'a, D: Device<T>, T: Scalar> {
    golden: &'a Golden,
    device: &'a D,
    parameters: Parameters<D, T>,
    x: Matrix<D, T>,
    condition: Option<Condition<D, T>>,
    rows: Vec<Row>,
}

impl<'a, D: Device<T>, T: Scalar> Comparison<'a, D, T> {
    fn new(device: &'a D, golden: &'a Golden) -> Result<Self> {
        let parameters = parameters(device, golden.architecture, golden)?;
        let x = upload(device, &golden.x)?;
        let condition = golden.conditional.as_ref().map(|c| Condition::new(device, c)).transpose()?;
        Ok(Self { golden, device, parameters, x, condition, rows: Vec::new() })
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

    /// ℓ, its parts, and the forward pass.
    fn likelihood(&mut self) {
        let outputs = &self.golden.outputs;
        let evaluate = || {
            let likelihood = self.log_likelihood()?;
            let loglik = vec![distance(&likelihood.per_sample(), &outputs.per_sample)];
            let parts = vec![
                distance(&likelihood.lp, &outputs.lp),
                distance(&likelihood.l1j, &outputs.l1j),
                distance(&likelihood.l2j_per_layer, &outputs.l2j_per_layer),
            ];
            Ok((loglik, parts))
        };
        let (loglik, parts) = split(evaluate());
        let forward = self.forward();
        self.per_layer("likelihood", "loglik", loglik);
        self.per_layer("likelihood", "parts", parts);
        self.per_layer("likelihood", "forward", forward);
    }

    fn log_likelihood(&self) -> Result<LogLikelihood> {
        let (device, x) = (self.device, self.x.view());
        let mut evaluator = Evaluator::new(device, &self.golden.architecture, self.x.cols())?;
        match &self.condition {
            Some(condition) => condition.log_likelihood(device, &mut evaluator, &self.parameters, x),
            None => evaluator.log_likelihood(device, &self.parameters, x),
        }
    }

    /// Y and Z. The log-determinants are not needed, so a singular weight is no obstacle.
    fn forward(&self) -> Result<Vec<f64>> {
        let mut evaluator = Evaluator::new(self.device, &self.golden.architecture, self.x.cols())?;
        evaluator.data_terms(self.device, &self.parameters, self.x.view())?;
        let mut errors = Vec::new();
        for (k, expected) in self.golden.outputs.y.iter().enumerate() {
            errors.push(distance(&download(self.device, evaluator.pre_activation(k))?, expected));
        }
        errors.push(distance(&download(self.device, evaluator.latents())?, &self.golden.outputs.z));
        Ok(errors)
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
        let inverse = invert(golden.outputs.inverse_s.data.clone(), &golden.outputs.inverse_x);
        let roundtrip = self.latents().and_then(|latents| invert(latents, &golden.x));
        self.per_layer("inversion", "inverse", inverse);
        self.per_layer("inversion", "roundtrip", roundtrip);
    }

    fn latents(&self) -> Result<Vec<f64>> {
        let mut evaluator = Evaluator::new(self.device, &self.golden.architecture, self.x.cols())?;
        evaluator.data_terms(self.device, &self.parameters, self.x.view())?;
        download(self.device, evaluator.latents())
    }

    /// The relative gradient in its bias modes, and its δ.
    fn relative(&mut self) {
        let expected = &self.golden.outputs.relative;
        let exact = self.gradient_errors(&Relative { bias_mode: BiasMode::Exact }, expected);
        let delta = self.delta_errors(&Relative { bias_mode: BiasMode::Plain });
        self.per_layer("relative", "relative", exact);
        self.per_layer("relative", "delta", delta);
        // Without biases the modes are one and the same.
        if self.golden.architecture.bias {
            let paper = self.gradient_errors(&Relative { bias_mode: BiasMode::Paper }, &self.expected_paper());
            let plain = self.gradient_errors(&Relative { bias_mode: BiasMode::Plain }, &self.expected_plain());
            self.per_layer("relative-paper", "relative", paper);
            self.per_layer("relative-plain", "relative", plain);
        }
    }

    /// Mode `paper`: Δb without the log-determinant's share b (MATH.md §9).
    fn expected_paper(&self) -> Direction {
        let Direction { weights, mut biases } = self.golden.outputs.relative.clone();
        for (db, b) in biases.iter_mut().zip(&self.golden.biases) {
            db.data.iter_mut().zip(&b.data).for_each(|(db, b)| *db -= b);
        }
        Direction { weights, biases }
    }

    /// Mode `plain`: ΔW = G WᵀW, Δb = g. G WᵀW is taken as the file's `exact` ΔW less g bᵀW: the product itself would
    /// lose cond(W)² (MATH.md §16).
    fn expected_plain(&self) -> Direction {
        let Golden { architecture, weights: w, biases: b, outputs, .. } = self.golden;
        let (dim, g) = (architecture.dim, &outputs.ordinary.biases);
        let mut weights = outputs.relative.weights.clone();
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

    /// (W_new − W)/μ of one in-place step, which knows the architecture's own density only.
    fn in_place(&mut self) {
        if self.condition.is_some() {
            return;
        }
        let errors = self.in_place_errors();
        self.per_layer("relative-inplace", "relative", errors);
    }

    fn in_place_errors(&self) -> Result<Vec<f64>> {
        let (golden, device) = (self.golden, self.device);
        let mut parameters = parameters::<D, T>(device, golden.architecture, golden)?;
        let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
        let mut workspace = step.workspace(device, &golden.architecture, self.x.cols())?;
        step.step(device, &mut parameters, self.x.view(), STEP, &mut workspace, None)?;
        device.synchronize()?;
        let moved = |after: &Matrix<D, T>, before: &Matrix<D, T>, expected: &Array| {
            let (after, before) = (download(device, after.view())?, download(device, before.view())?);
            let direction: Vec<f64> = after.iter().zip(before).map(|(after, before)| (after - before) / STEP).collect();
            Ok(distance(&direction, expected))
        };
        let (after, before, expected) = (parameters.arrays(), self.parameters.arrays(), &golden.outputs.relative);
        let weights = after.weights.iter().zip(&before.weights).zip(&expected.weights);
        let biases = after.biases.iter().zip(&before.biases).zip(&expected.biases);
        weights.chain(biases).map(|((after, before), expected)| moved(after, before, expected)).collect()
    }

    fn transposed(&mut self) {
        let errors = self.gradient_errors(&Transposed, &self.golden.outputs.transposed);
        self.per_layer("transposed", "transposed", errors);
    }

    /// Its δ is not compared: it comes from the same code as that of `relative`, which needs no inverse to give it
    /// away.
    fn ordinary(&mut self) {
        let errors = self.gradient_errors(&Ordinary, &self.golden.outputs.ordinary);
        self.per_layer("ordinary", "ordinary", errors);
    }

    fn autodiff(&mut self) {
        let backend = |jacobians| Autodiff { jacobians };
        let expected = &self.golden.outputs.ordinary;
        let batched = self.gradient_errors(&backend(Jacobians::Batched), expected);
        let streamed = self.gradient_errors(&backend(Jacobians::Streamed), expected);
        let delta = self.delta_errors(&backend(Jacobians::Batched));
        let loglik = self.autodiff_loglik();
        self.row("autodiff", "loglik", Conditioning::Product, loglik);
        self.row("autodiff", "ordinary", Conditioning::Product, batched);
        self.row("autodiff", "delta", Conditioning::Product, delta);
        self.row("autodiff-streamed", "ordinary", Conditioning::Product, streamed);
    }

    /// ℓ = Lp + log|det J|, the determinant from the full Jacobian of each sample.
    fn autodiff_loglik(&self) -> Result<Vec<f64>> {
        let (device, architecture) = (self.device, &self.golden.architecture);
        let lp = match &self.condition {
            Some(_) => self.log_likelihood()?.lp,
            None => {
                let mut evaluator = Evaluator::new(device, architecture, self.x.cols())?;
                evaluator.data_terms(device, &self.parameters, self.x.view())?.lp
            }
        };
        let backend = Autodiff { jacobians: Jacobians::Batched };
        let mut workspace = GradientBackend::<D, T>::workspace(&backend, device, architecture, self.x.cols())?;
        let mut out = Gradient::zeros(device, architecture, "gradient")?;
        backend.gradient(device, &self.parameters, self.x.view(), &mut workspace, &mut out)?;
        device.synchronize()?;
        let log_dets = workspace.log_abs_det_jacobian();
        let per_sample: Vec<f64> = lp.iter().zip(log_dets).map(|(lp, log_det)| lp + log_det).collect();
        Ok(vec![distance(&per_sample, &self.golden.outputs.per_sample)])
    }

    /// The errors of a backend's gradient, array by array.
    fn gradient_errors<B: ConditionalBackend<D, T> + Copy>(
        &self,
        backend: &B,
        expected: &Direction,
    ) -> Result<Vec<f64>> {
        let (out, _) = self.direction(backend, &self.parameters, self.x.view(), 0)?;
        let weights = out.weights.iter().zip(&expected.weights);
        let biases = out.biases.iter().zip(&expected.biases);
        weights.chain(biases).map(|(ours, theirs)| Ok(distance(&download(self.device, ours.view())?, theirs))).collect()
    }

    /// A backend's direction for the samples `x`, those of the batch from `first` on; with that of the density where
    /// the file has a conditional one.
    fn direction<B: ConditionalBackend<D, T> + Copy>(
        &self,
        backend: &B,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        first: usize,
    ) -> Result<Directions<D, T>> {
        let device = self.device;
        if let Some(condition) = &self.condition {
            let out = condition.gradient(device, backend, parameters, x, first)?;
            device.synchronize()?;
            return Ok((out.network, Some(out.density)));
        }
        let mut out = Gradient::zeros(device, parameters.architecture(), "gradient")?;
        let mut workspace = backend.workspace(device, parameters.architecture(), x.cols())?;
        backend.gradient(device, parameters, x, &mut workspace, &mut out)?;
        device.synchronize()?;
        Ok((out, None))
    }

    /// The derivatives in A, a, B and c \[M6\], which every backend starts from.
    fn conditional(&mut self) {
        let relative = self.density_errors(&Relative::default());
        let transposed = self.density_errors(&Transposed);
        let ordinary = self.density_errors(&Ordinary);
        let autodiff = self.density_errors(&Autodiff { jacobians: Jacobians::Batched });
        if self.condition.is_some() {
            self.per_layer("relative", "conditional", relative);
            self.per_layer("transposed", "conditional", transposed);
            self.per_layer("ordinary", "conditional", ordinary);
            self.row("autodiff", "conditional", Conditioning::Product, autodiff);
        }
    }

    fn density_errors<B: ConditionalBackend<D, T> + Copy>(&self, backend: &B) -> Result<Vec<f64>> {
        let Some(expected) = &self.golden.conditional else { return Ok(Vec::new()) };
        let (_, density) = self.direction(backend, &self.parameters, self.x.view(), 0)?;
        let Some(density) = density else { return Ok(Vec::new()) };
        let LocationScale { location, location_offset, log_scale, log_scale_offset } = &density;
        let ours = [location, location_offset, log_scale, log_scale_offset];
        ours.into_iter()
            .zip(&expected.gradient)
            .map(|(ours, theirs)| Ok(distance(&download(self.device, ours.view())?, theirs)))
            .collect()
    }

    /// The errors of δ_k. A backend does not give δ away, but the bias gradient of a batch of one sample is that
    /// sample's δ \[M9\]; a network without biases is given zeros.
    fn delta_errors<B: ConditionalBackend<D, T> + Copy>(&self, backend: &B) -> Result<Vec<f64>> {
        let (golden, device) = (self.golden, self.device);
        let architecture = Architecture { bias: true, ..golden.architecture };
        let parameters = parameters::<D, T>(device, architecture, golden)?;
        let mut delta: Vec<Vec<f64>> = vec![Vec::new(); architecture.layers];
        for sample in 0..self.x.cols() {
            let (out, _) = self.direction(backend, &parameters, self.x.view().columns(sample, 1), sample)?;
            for (delta, bias) in delta.iter_mut().zip(&out.biases) {
                delta.extend(download(device, bias.view())?);
            }
        }
        Ok(delta.iter().zip(&golden.outputs.delta).map(|(ours, theirs)| distance(ours, theirs)).collect())
    }
}

/// A row; the error of several arrays is that of the worst.
pub(crate) fn row<T: Scalar>(
    (id, tolerances): (&str, &Tolerances),
    backend: &'static str,
    group: &'static str,
    conditioning: Conditioning,
    errors: Result<Vec<f64>>,
) -> Row {
    let tol = tolerances.of(T::DTYPE, conditioning, group);
    let (worst, reason) = match errors {
        // f64::max would drop a NaN.
        Ok(errors) => (errors.into_iter().reduce(|a, b| if a.is_nan() || a > b { a } else { b }), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let error = worst.filter(|error| error.is_finite());
    let reason = reason.or_else(|| error.is_none().then(|| "the result is not finite".to_string()));
    let pass = tol.map(|tol| error.is_some_and(|error| error <= tol));
    Row { id: id.to_string(), dtype: T::DTYPE.name(), backend, group, error, tol, pass, reason }
}

/// Both halves of a pair, with the same error.
pub(crate) fn split<A, B>(pair: Result<(A, B)>) -> (Result<A>, Result<B>) {
    match pair {
        Ok((a, b)) => (Ok(a), Ok(b)),
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

/// The file's parameters in precision `T`; zero biases where `architecture` has biases and the file has none.
fn parameters<D: Device<T>, T: Scalar>(
    device: &D,
    architecture: Architecture,
    golden: &Golden,
) -> Result<Parameters<D, T>> {
    let mut arrays = Arrays::zeros(device, &architecture, "parameters")?;
    arrays.weights = golden.weights.iter().map(|array| upload(device, array)).collect::<Result<_>>()?;
    if !golden.biases.is_empty() {
        arrays.biases = golden.biases.iter().map(|array| upload(device, array)).collect::<Result<_>>()?;
    }
    Parameters::new(architecture, arrays)
}

pub(crate) fn upload<D: Device<T>, T: Scalar>(device: &D, array: &Array) -> Result<Matrix<D, T>> {
    let data: Vec<T> = array.data.iter().map(|value| T::of(*value)).collect();
    Matrix::from_column_major(device, &data, array.rows, array.cols, "golden array")
}

fn download<D: Device<T>, T: Scalar>(device: &D, view: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
    let mut copy = Matrix::zeros(device, view.rows(), view.cols(), "copy for comparison")?;
    device.copy(view, copy.view_mut())?;
    Ok(copy.to_column_major(device)?.into_iter().map(Scalar::widen).collect())
}

/// max|a − b| / max|b|; absolute where b is all zero.
pub(crate) fn distance(ours: &[f64], theirs: &Array) -> f64 {
    if ours.len() == theirs.data.len() {
        relative_error(ours.iter().copied(), theirs.data.iter().copied())
    } else {
        f64::NAN
    }
}

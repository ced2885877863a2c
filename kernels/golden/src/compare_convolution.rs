//! Every quantity of a golden file of convolutions, computed by every backend in one precision, beside the file's.

use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::convolution::{
    Arrays, Autodiff, ConvolutionBackend, Evaluator, Gradient, Inverter, Ordinary, Parameters, Relative, Spectral,
};
use relgrad_kernels::device::Matrix;
use relgrad_kernels::{Cpu, Result};

use crate::array::{Array, Direction};
use crate::compare::{Row, distance, row, split, upload};
use crate::convolution::ConvolutionGolden;
use crate::tolerance::Conditioning;

/// Compares everything in precision `T`.
///
/// # Errors
/// When the network itself cannot be set up; a backend that fails is a row.
pub(crate) fn compare<T: Spectral>(device: &Cpu, golden: &ConvolutionGolden) -> Result<Vec<Row>> {
    let all = |arrays: &[Array]| arrays.iter().map(|array| upload(device, array)).collect::<Result<_>>();
    let arrays = Arrays { kernels: all(&golden.kernels)?, biases: all(&golden.biases)? };
    let parameters = Parameters::new(golden.architecture, arrays)?;
    let x = upload(device, &golden.x)?;
    let comparison = Comparison::<T> { golden, device, parameters, x };
    Ok(comparison.rows())
}

struct Comparison<'a, T: Spectral> {
    golden: &'a ConvolutionGolden,
    device: &'a Cpu,
    parameters: Parameters<T>,
    x: Matrix<Cpu, T>,
}

impl<T: Spectral> Comparison<'_, T> {
    fn rows(&self) -> Vec<Row> {
        use Conditioning::{PerLayer, Product};
        let golden = self.golden;
        let (loglik, parts) = split(self.likelihood());
        let batched = Autodiff { jacobians: Jacobians::Batched };
        let streamed = Autodiff { jacobians: Jacobians::Streamed };
        let mut compared = vec![
            ("likelihood", "loglik", PerLayer, loglik),
            ("likelihood", "parts", PerLayer, parts),
            ("likelihood", "forward", PerLayer, self.forward()),
            ("likelihood", "delta", PerLayer, self.delta()),
            ("inversion", "roundtrip", PerLayer, self.roundtrip()),
        ];
        if let Some(relative) = &golden.relative {
            compared.push(("relative", "relative", PerLayer, self.gradient_errors(&Relative, relative)));
        }
        let ordinary = &golden.ordinary;
        compared.extend([
            ("ordinary", "ordinary", PerLayer, self.gradient_errors(&Ordinary, ordinary)),
            ("autodiff", "loglik", Product, self.autodiff_loglik()),
            ("autodiff", "ordinary", Product, self.gradient_errors(&batched, ordinary)),
            ("autodiff-streamed", "ordinary", Product, self.gradient_errors(&streamed, ordinary)),
        ]);
        compared
            .into_iter()
            .map(|(backend, group, conditioning, errors)| {
                row::<T>((&golden.id, &golden.tolerances), backend, group, conditioning, errors)
            })
            .collect()
    }

    fn evaluator(&self) -> Result<Evaluator<T>> {
        Evaluator::new(self.device, &self.golden.architecture, self.x.cols())
    }

    /// ℓ and its parts.
    fn likelihood(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let golden = self.golden;
        let likelihood = self.evaluator()?.log_likelihood(self.device, &self.parameters, self.x.view())?;
        let loglik = vec![distance(&likelihood.per_sample(), &golden.per_sample)];
        let parts = vec![
            distance(&likelihood.lp, &golden.lp),
            distance(&likelihood.l1j, &golden.l1j),
            distance(&likelihood.l2j_per_layer, &golden.l2j_per_layer),
        ];
        Ok((loglik, parts))
    }

    /// Y and Z.
    fn forward(&self) -> Result<Vec<f64>> {
        let mut evaluator = self.evaluator()?;
        evaluator.data_terms(self.device, &self.parameters, self.x.view())?;
        let mut errors: Vec<f64> = self
            .golden
            .y
            .iter()
            .enumerate()
            .map(|(k, expected)| distance(&wide(evaluator.pre_activation(k).slice()), expected))
            .collect();
        errors.push(distance(&wide(evaluator.latents().slice()), &self.golden.z));
        Ok(errors)
    }

    fn delta(&self) -> Result<Vec<f64>> {
        let errors = self.evaluator()?.backward_errors(self.device, &self.parameters, self.x.view())?;
        Ok(errors.iter().zip(&self.golden.delta).map(|(ours, theirs)| distance(&wide(ours), theirs)).collect())
    }

    /// g⁻¹(g(X)) with g(X) as computed here.
    fn roundtrip(&self) -> Result<Vec<f64>> {
        let mut evaluator = self.evaluator()?;
        evaluator.data_terms(self.device, &self.parameters, self.x.view())?;
        let mut x = evaluator.latents().slice().to_vec();
        Inverter::new(self.device, &self.parameters)?.invert(&mut x)?;
        Ok(vec![distance(&wide(&x), &self.golden.x)])
    }

    /// ℓ = Lp + log|det J|, the determinant from the full Jacobian of each sample.
    fn autodiff_loglik(&self) -> Result<Vec<f64>> {
        let (device, architecture, x) = (self.device, &self.golden.architecture, self.x.view());
        let lp = self.evaluator()?.data_terms(device, &self.parameters, x)?.lp;
        let backend = Autodiff { jacobians: Jacobians::Batched };
        let mut workspace = ConvolutionBackend::<T>::workspace(&backend, device, architecture, self.x.cols())?;
        let mut out = Gradient::zeros(device, architecture, "gradient")?;
        backend.gradient(device, &self.parameters, x, &mut workspace, &mut out)?;
        let log_dets = workspace.log_abs_det_jacobian();
        let per_sample: Vec<f64> = lp.iter().zip(log_dets).map(|(lp, log_det)| lp + log_det).collect();
        Ok(vec![distance(&per_sample, &self.golden.per_sample)])
    }

    /// The errors of a backend's gradient, array by array.
    fn gradient_errors<B: ConvolutionBackend<T>>(&self, backend: &B, expected: &Direction) -> Result<Vec<f64>> {
        let (device, architecture) = (self.device, &self.golden.architecture);
        let mut out = Gradient::zeros(device, architecture, "gradient")?;
        let mut workspace = backend.workspace(device, architecture, self.x.cols())?;
        backend.gradient(device, &self.parameters, self.x.view(), &mut workspace, &mut out)?;
        let ours = out.kernels.iter().chain(&out.biases);
        let theirs = expected.weights.iter().chain(&expected.biases);
        Ok(ours.zip(theirs).map(|(ours, theirs)| distance(&wide(ours.view().slice()), theirs)).collect())
    }
}

fn wide<T: Spectral>(numbers: &[T]) -> Vec<f64> {
    numbers.iter().map(|x| x.widen()).collect()
}

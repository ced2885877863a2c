//! Gradients and steps over ranks against one rank, at sizes that no number of ranks divides.

use relgrad_kernels::backend::{BiasMode, GradientBackend, Relative};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::ranks::{
    ColumnBlock, ColumnWorkspace, SampleShare, Threads, Traffic, Transport, bytes_of_columns, on_threads,
};
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Activation, Architecture, Cpu, Error, Init, Result, Scalar, init};

const RANKS: [usize; 5] = [1, 2, 3, 4, 7];
/// The dimension, and a batch below, at and above the number of ranks.
const SIZES: [(usize, usize); 5] = [(13, 2), (37, 5), (64, 4), (129, 100), (13, 30)];
const STEPS: usize = 10;

fn network(dim: usize, layers: usize, bias: bool) -> Architecture {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    Architecture { bias, activation, ..Architecture::new(dim, layers) }
}

fn drawn<T: Scalar>(architecture: &Architecture) -> Parameters<Cpu, T> {
    init::network(&Cpu::new(1), architecture, Init::Conditioned, 5).unwrap()
}

fn batch<T: Scalar>(dim: usize, samples: usize) -> Matrix<Cpu, T> {
    init::batch(&Cpu::new(1), dim, samples, 7).unwrap()
}

/// What a sum of so many terms in another order may differ by, relative to the whole.
fn tolerance<T: Scalar>(dim: usize) -> f64 {
    40.0 * T::EPS * (dim as f64).sqrt()
}

fn host<T: Scalar>(matrix: &Matrix<Cpu, T>) -> Vec<f64> {
    matrix.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(Scalar::widen).collect()
}

/// The arrays of a network on the host: the columns of each rank's weights one after the other, biases of each rank.
type OnHost = (Vec<Vec<f64>>, Vec<Vec<f64>>);

fn on_host<T: Scalar>(arrays: &Arrays<Cpu, T>) -> OnHost {
    (arrays.weights.iter().map(host).collect(), arrays.biases.iter().map(host).collect())
}

/// Fails unless the ranks' columns, one after the other, are the expected weights, and the biases of every rank are
/// those expected.
fn compare(found: &[OnHost], expected: &OnHost, tolerance: f64, what: &str) {
    for (k, weight) in expected.0.iter().enumerate() {
        let columns = found.iter().flat_map(|rank| rank.0[k].iter().copied());
        let error = relative_error(columns, weight.iter().copied());
        assert!(error <= tolerance, "{what}, weight {k}: {error:e} exceeds {tolerance:e}");
    }
    for (k, bias) in expected.1.iter().enumerate() {
        for rank in found {
            let error = relative_error(rank.1[k].iter().copied(), bias.iter().copied());
            assert!(error <= tolerance, "{what}, bias {k}: {error:e} exceeds {tolerance:e}");
        }
    }
}

/// Every size with every number of ranks, with and without biases.
fn everywhere(work: impl Fn(Architecture, usize, usize)) {
    for (place, (dim, samples)) in SIZES.into_iter().enumerate() {
        for ranks in RANKS {
            work(network(dim, 1 + (place + ranks) % 3, (place + ranks) % 2 == 0), samples, ranks);
        }
    }
}

fn gradients<T: Scalar>() {
    everywhere(|architecture, samples, ranks| {
        let (device, dim) = (Cpu::new(1), architecture.dim);
        let (parameters, x) = (drawn::<T>(&architecture), batch(dim, samples));
        for bias_mode in BiasMode::ALL {
            let backend = Relative { bias_mode };
            let mut expected = Gradient::zeros(&device, &architecture, "expected").unwrap();
            let mut work = backend.workspace(&device, &architecture, samples).unwrap();
            backend.gradient(&device, &parameters, x.view(), &mut work, &mut expected).unwrap();
            let found = on_threads(ranks, |transport: &mut Threads<'_, T>| {
                let block = ColumnBlock::of(&device, &parameters, (ranks, transport.rank()))?;
                let mut work = ColumnWorkspace::new(&device, &block, samples)?;
                let mut out = block.zero_gradient(&device)?;
                let rows = block.rows_of(&device, x.view())?;
                work.gradient(&device, &block, rows.view(), bias_mode, transport, &mut out)?;
                Ok(on_host(&out))
            });
            let what = format!("D = {dim}, N = {samples}, {ranks} ranks, {bias_mode}");
            compare(&found.unwrap(), &on_host(&expected), tolerance::<T>(dim), &what);
        }
    });
}

#[test]
fn a_gradient_by_columns_is_that_of_one_rank() {
    gradients::<f64>();
    gradients::<f32>();
}

/// The parameters, log-determinants, steps and traffic of a rank after some steps.
type Stepped = (OnHost, Vec<f64>, Vec<f64>, Traffic);

fn stepped<T: Scalar>(
    (parameters, x): (&Parameters<Cpu, T>, &Matrix<Cpu, T>),
    (rule, mu): (&InPlaceStep, f64),
    transport: &mut Threads<'_, T>,
) -> Result<Stepped> {
    let (device, samples) = (Cpu::new(1), x.cols());
    let architecture = *parameters.architecture();
    let mut block = ColumnBlock::of(&device, parameters, (transport.ranks(), transport.rank()))?;
    let mut work = ColumnWorkspace::new(&device, &block, samples)?;
    let mut log_dets = LogDets::known(vec![0.0; architecture.layers], architecture.dim, samples);
    let rows = block.rows_of(&device, x.view())?;
    let mut sizes = Vec::new();
    for _ in 0..STEPS {
        let report = work.step(&device, &mut block, rows.view(), (rule, mu), transport, Some(&mut log_dets))?;
        sizes.extend_from_slice(&report.step_sizes);
    }
    Ok((on_host(block.arrays()), log_dets.per_layer().to_vec(), sizes, transport.traffic()))
}

fn steps<T: Scalar>() {
    everywhere(|architecture, samples, ranks| {
        let (device, dim) = (Cpu::new(1), architecture.dim);
        // The second step size is one that the guard shortens.
        for mu in [0.02, 0.9] {
            let (mut parameters, x) = (drawn::<T>(&architecture), batch(dim, samples));
            let rule = InPlaceStep::default();
            let found = on_threads(ranks, |transport| stepped((&parameters, &x), (&rule, mu), transport)).unwrap();
            let mut log_dets = LogDets::new(&device, &parameters, samples).unwrap();
            let before = log_dets.per_layer().to_vec();
            let mut work = rule.workspace(&device, &architecture, samples).unwrap();
            let mut sizes = Vec::new();
            for _ in 0..STEPS {
                let x = x.view();
                let report = rule.step(&device, &mut parameters, x, mu, &mut work, Some(&mut log_dets)).unwrap();
                sizes.extend_from_slice(&report.step_sizes);
            }
            let tolerance = 10.0 * tolerance::<T>(dim);
            let what = format!("D = {dim}, N = {samples}, {ranks} ranks, step {mu}");
            let arrays: Vec<OnHost> = found.iter().map(|rank| rank.0.clone()).collect();
            compare(&arrays, &on_host(parameters.arrays()), tolerance, &what);
            let moved = log_dets.per_layer().iter().zip(&before).map(|(after, before)| after - before);
            let error = relative_error(found[0].1.iter().copied(), moved);
            assert!(error <= 100.0 * tolerance, "{what}: log-determinants {error:e}");
            let error = relative_error(found[0].2.iter().copied(), sizes.iter().copied());
            assert!(error <= tolerance, "{what}: step sizes {error:e}");
            for rank in &found {
                assert_eq!((&rank.1, &rank.2), (&found[0].1, &found[0].2), "{what}: ranks agree to the bit");
            }
            let bytes: u64 = found.iter().map(|rank| rank.3.received_bytes).sum();
            let expected = STEPS as f64 * bytes_of_columns(&architecture, (samples, ranks), T::DTYPE);
            assert_eq!(bytes as f64, expected, "{what}: bytes");
            assert_eq!(found[0].3.collectives, (2 * architecture.layers * STEPS) as u64, "{what}: operations");
        }
    });
}

#[test]
fn ten_steps_by_columns_are_those_of_one_rank_and_move_what_the_formula_says() {
    steps::<f64>();
    steps::<f32>();
}

/// Weights that no rank has whole are drawn as the whole ones are, bit for bit.
#[test]
fn columns_are_drawn_as_those_of_the_whole_network() {
    let device = Cpu::new(1);
    let architecture = network(37, 2, true);
    for init in Init::ALL {
        let whole: Parameters<Cpu, f32> = init::network(&device, &architecture, init, 3).unwrap();
        for rank in 0..4 {
            let drawn = ColumnBlock::<Cpu, f32>::draw(&device, &architecture, (init, 3), (4, rank)).unwrap();
            let taken = ColumnBlock::of(&device, &whole, (4, rank)).unwrap();
            assert_eq!(on_host(drawn.arrays()), on_host(taken.arrays()), "{init}, rank {rank}");
        }
    }
}

#[test]
fn samples_over_ranks_have_the_gradient_of_the_whole_batch() {
    everywhere(|architecture, samples, ranks| {
        if samples < ranks {
            return;
        }
        let (device, dim) = (Cpu::new(1), architecture.dim);
        let (parameters, x) = (drawn::<f64>(&architecture), batch(dim, samples));
        let backend = Relative::default();
        let mut expected = Gradient::zeros(&device, &architecture, "expected").unwrap();
        let mut work = backend.workspace(&device, &architecture, samples).unwrap();
        backend.gradient(&device, &parameters, x.view(), &mut work, &mut expected).unwrap();
        let found = on_threads(ranks, |transport: &mut Threads<'_, f64>| {
            let place = (ranks, transport.rank());
            let (mut work, split) = SampleShare::new(&device, &architecture, samples, place)?;
            let own = x.view().columns(split.start(place.1), split.count(place.1));
            let mut out = Gradient::zeros(&device, &architecture, "gradient")?;
            work.gradient(&device, &parameters, own, BiasMode::Exact, transport, &mut out)?;
            Ok((on_host(&out), transport.traffic().received_bytes))
        });
        let found = found.unwrap();
        for (gradient, _) in &found {
            let what = format!("D = {dim}, N = {samples}, {ranks} ranks");
            compare(std::slice::from_ref(gradient), &on_host(&expected), tolerance::<f64>(dim), &what);
        }
        let columns = 2 * dim + usize::from(architecture.bias);
        let numbers = architecture.layers * samples * columns * (ranks - 1);
        assert_eq!(found.iter().map(|rank| rank.1).sum::<u64>(), 8 * numbers as u64);
    });
}

/// Without the failing rank the others would wait for ever.
#[test]
fn a_rank_that_fails_ends_the_others_with_its_error() {
    let architecture = network(37, 2, false);
    let (parameters, x) = (drawn::<f32>(&architecture), batch::<f32>(37, 5));
    let failed = on_threads(4, |transport: &mut Threads<'_, f32>| {
        let device = Cpu::new(1);
        let rank = transport.rank();
        let mut block = ColumnBlock::of(&device, &parameters, (4, rank))?;
        let mut work = ColumnWorkspace::new(&device, &block, 5)?;
        let mut rows = block.rows_of(&device, x.view())?;
        let rule = InPlaceStep::default();
        for step in 0..1000 {
            if (step, rank) == (3, 2) {
                rows = Matrix::zeros(&device, 1, 1, "rows of nobody")?;
            }
            work.step(&device, &mut block, rows.view(), (&rule, 0.01), transport, None)?;
        }
        Ok(())
    });
    let told = failed.unwrap_err();
    assert!(matches!(&told, Error::Rank { rank: 2, ranks: 4, .. }), "{told}");
    let text = "rank 2 of 4 failed, the others stopped: pass over ranks: expected the 9×5 numbers";
    assert!(told.to_string().starts_with(text), "{told}");
}

#[test]
fn ranks_that_end_too_early_are_named() {
    let told = on_threads(
        3,
        |transport: &mut Threads<'_, f64>| {
            if transport.rank() == 1 { Ok(()) } else { transport.barrier() }
        },
    );
    let text = told.unwrap_err().to_string();
    assert!(text.contains("barrier between ranks: rank 1 has ended"), "{text}");
    assert!(on_threads(0, |_: &mut Threads<'_, f64>| Ok(())).is_err());
}

#[test]
fn sums_over_ranks_are_the_same_on_every_rank() {
    let sums = on_threads(3, |transport: &mut Threads<'_, f64>| {
        let mut numbers = [0.1 * transport.rank() as f64, 1.0];
        transport.all_reduce(&mut numbers)?;
        transport.all_reduce(&mut numbers)?;
        Ok(numbers)
    });
    let sums = sums.unwrap();
    assert!(sums.iter().all(|numbers| *numbers == sums[0]) && sums[0][1] == 9.0, "{sums:?}");
}

#[test]
fn what_has_no_form_over_ranks_is_refused() {
    let device = Cpu::new(1);
    let conditional = Architecture { conditions: 2, ..network(8, 2, false) };
    let refused = |architecture, place| {
        ColumnBlock::<Cpu, f32>::draw(&device, &architecture, (Init::Orthogonal, 0), place).err().unwrap().to_string()
    };
    assert!(refused(conditional, (2, 0)).contains("without a condition"));
    assert!(refused(network(8, 2, false), (9, 0)).contains("ranks = 9"));
    let block = ColumnBlock::<Cpu, f32>::draw(&device, &network(8, 1, false), (Init::Orthogonal, 0), (1, 0)).unwrap();
    for rule in
        [InPlaceStep { transposed: true, ..InPlaceStep::default() }, InPlaceStep { delay: 2, ..InPlaceStep::default() }]
    {
        let told = on_threads(1, |transport: &mut Threads<'_, f32>| {
            let mut block = ColumnBlock::draw(&device, block.architecture(), (Init::Orthogonal, 0), (1, 0))?;
            let mut work = ColumnWorkspace::new(&device, &block, 2)?;
            let rows = block.rows_of(&device, batch(8, 2).view())?;
            work.step(&device, &mut block, rows.view(), (&rule, 0.1), transport, None).map(|_| ())
        });
        assert!(told.unwrap_err().to_string().contains("each written at once"));
    }
}

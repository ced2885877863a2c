//! Layers that keep the factors of W, through everything that is written once for all couplings.

use relgrad_kernels::agreement::coupling_agrees;
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::check::{self, Kind, relative_error};
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::layer::{Coupling, CouplingKind, MaybeGroup, Plu, Qr};
use relgrad_kernels::likelihood::log_abs_dets;
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Architecture, Cpu, Error, Init, Method, Scalar, init};

fn network<T: Scalar, C: Coupling<Cpu, T>>(coupling: C, dim: usize, init: Init) -> Parameters<Cpu, T, C> {
    let architecture = Architecture { bias: true, ..Architecture::new(dim, 2).with(coupling) };
    init::network(&Cpu::new(2), &architecture, init, 5).unwrap()
}

fn gradient<T: Scalar, C: MaybeGroup<Cpu, T>>(
    parameters: &Parameters<Cpu, T, C>,
    x: &Matrix<Cpu, T>,
) -> Gradient<Cpu, T> {
    let (device, architecture) = (Cpu::new(2), parameters.architecture());
    let method = architecture.coupling.own_method().unwrap();
    let mut bound = bind(&device, method, BiasMode::Exact, architecture, x.cols()).unwrap();
    let mut gradient = Gradient::zeros(&device, architecture, "gradient").unwrap();
    bound.gradient(&device, parameters, x.view(), &mut gradient).unwrap();
    gradient
}

fn dense<T: Scalar, C: Coupling<Cpu, T>>(parameters: &Parameters<Cpu, T, C>, k: usize) -> Vec<f64> {
    let (device, dim) = (Cpu::new(2), parameters.architecture().dim);
    let mut dense = Matrix::zeros(&device, dim, dim, "test").unwrap();
    parameters.architecture().coupling.to_dense(&device, parameters.weight(k), dense.view_mut()).unwrap();
    device.to_host(dense.view()).unwrap().into_iter().map(Scalar::widen).collect()
}

fn agree<C: MaybeGroup<Cpu, f32> + MaybeGroup<Cpu, f64>>(coupling: C) {
    let network = |dim, layers| Architecture::new(dim, layers).with(coupling);
    assert_eq!(coupling_agrees::<_, f64, _>(&Cpu::new(2), &network), Ok(Vec::new()));
    assert_eq!(coupling_agrees::<_, f32, _>(&Cpu::new(2), &network), Ok(Vec::new()));
}

/// Every seed starts from the same function, whatever the layers.
fn draws_agree<C: MaybeGroup<Cpu, f64>>(coupling: C) {
    for init in [Init::Orthogonal, Init::Conditioned, Init::ScaledGaussian] {
        for dim in [1, 2, 31, 33, 65, 130] {
            let factors = network::<f64, _>(coupling, dim, init);
            let whole = network::<f64, _>(relgrad_kernels::Dense, dim, init);
            for k in 0..2 {
                let error = relative_error(dense(&factors, k), dense(&whole, k));
                assert!(error < 1e-12, "{init} at D = {dim}: {error}");
            }
            let dets = |found: Vec<f64>| found.into_iter();
            let ours = dets(log_abs_dets(&Cpu::new(2), &factors).unwrap());
            let theirs = log_abs_dets(&Cpu::new(2), &whole).unwrap();
            assert!(ours.zip(theirs).all(|(a, b)| (a - b).abs() < 1e-10 * dim as f64), "{init} at D = {dim}");
        }
    }
}

/// The name of a part of an array, and whether a row and a column of dimension D are in it.
type Part = (&'static str, fn(usize, usize, usize) -> bool);

/// A check of a gradient of which one part is left out, or has another sign, must fail at sizes of both kinds.
fn faults_are_found<C: MaybeGroup<Cpu, f64>>(coupling: C, parts: &[Part]) {
    let device = Cpu::new(2);
    for dim in [9, 150] {
        let parameters = network(coupling, dim, Init::Conditioned);
        let x = init::batch(&device, dim, 20, 3).unwrap();
        let right = gradient(&parameters, &x);
        let check = check::gradient(&device, Kind::Ordinary, &parameters, &x, &right).unwrap();
        assert!(check.passed(), "{check:?}");
        for (what, part) in parts {
            for factor in [0.0, -1.0] {
                let mut wrong = gradient(&parameters, &x);
                for (at, number) in wrong.weights[1].view_mut().into_slice().iter_mut().enumerate() {
                    if part(dim, at % dim, at / dim) {
                        *number *= factor;
                    }
                }
                let check = check::gradient(&device, Kind::Ordinary, &parameters, &x, &wrong).unwrap();
                assert!(!check.passed(), "{what} times {factor} at D = {dim}: {check:?}");
            }
        }
    }
}

/// Fixed numbers stay where they are, and all others move.
fn the_rest_moves<C: MaybeGroup<Cpu, f64>>(coupling: C, is_fixed: fn(usize, usize, usize) -> bool) {
    let (device, dim) = (Cpu::new(2), 66);
    let parameters = network(coupling, dim, Init::Conditioned);
    let x = init::batch(&device, dim, 7, 3).unwrap();
    for array in &gradient(&parameters, &x).weights {
        let array = device.to_host(array.view()).unwrap();
        for (at, number) in array.into_iter().enumerate() {
            assert_eq!(number == 0.0, is_fixed(dim, at % dim, at / dim), "{} {}", at % dim, at / dim);
        }
    }
}

#[test]
fn plu_agrees_with_the_dense_network_of_the_same_function() {
    agree(Plu);
    draws_agree::<Plu>(Plu);
}

#[test]
fn a_wrong_gradient_of_plu_is_found() {
    faults_are_found(
        Plu,
        &[("L", |dim, i, j| j < dim && i > j), ("U", |dim, i, j| j < dim && i < j), ("d", |_, i, j| i == j)],
    );
    the_rest_moves(Plu, |dim, _, j| j >= dim);
}

#[test]
fn qr_agrees_with_the_dense_network_of_the_same_function() {
    [1, 5, 32].into_iter().for_each(|block| agree(Qr { block }));
    draws_agree(Qr::default());
}

#[test]
fn a_wrong_gradient_of_qr_is_found() {
    faults_are_found(
        Qr::default(),
        &[("H", |dim, i, j| j < dim && i >= j), ("U", |dim, i, j| j < dim && i < j), ("d", |dim, _, j| j == dim)],
    );
    the_rest_moves(Qr::default(), |dim, i, j| j > dim || (i, j) == (dim - 1, dim - 1));
}

/// Sizes around every edge of a block, of all sizes of blocks.
#[test]
fn blocks_of_any_size_have_the_same_gradient() {
    let device = Cpu::new(2);
    for dim in [1, 2, 3, 31, 32, 33, 34, 63, 64, 65, 66] {
        let x = init::batch(&device, dim, 9, 3).unwrap();
        let of = |block: usize| -> Vec<f64> {
            let parameters: Parameters<_, f64, _> = network(Qr::default(), dim, Init::ScaledGaussian);
            let arrays = parameters.arrays().iter().map(|array| array.to_column_major(&device).unwrap());
            let mut same: Parameters<_, f64, _> = network(Qr { block }, dim, Init::ScaledGaussian);
            for (array, values) in same.arrays_mut().iter_mut().zip(arrays) {
                device.upload(&values, array.view_mut().into_slice()).unwrap();
            }
            gradient(&same, &x).iter().flat_map(|array| array.to_column_major(&device).unwrap()).collect()
        };
        let expected = of(1);
        for block in [2, 3, 32, 33, 64, 1000] {
            let error = relative_error(of(block), expected.iter().copied());
            assert!(error < 1e-11, "D = {dim}, n = {block}: {error}");
        }
    }
}

/// h_i · (gH)_i = 0 \[M56\], and scaling h_i scales its gradient the other way and moves nothing else.
#[test]
fn only_the_direction_of_a_reflection_matters() {
    let (device, dim) = (Cpu::new(2), 70);
    let mut parameters: Parameters<_, f64, _> = network(Qr::default(), dim, Init::Conditioned);
    let x = init::batch(&device, dim, 9, 3).unwrap();
    let column = |of: &[f64], i: usize| of[i * dim + i..(i + 1) * dim].to_vec();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let before = device.to_host(gradient(&parameters, &x).weights[0].view()).unwrap();
    let array = device.to_host(parameters.weight(0)).unwrap();
    for i in 0..dim - 1 {
        let (h, g) = (column(&array, i), column(&before, i));
        assert!((dot(&h, &h) - 2.0).abs() < 1e-12);
        assert!(dot(&h, &g).abs() <= 1e-12 * dot(&g, &g).sqrt(), "{i}");
    }
    let whole = dense(&parameters, 0);
    let mut moments =
        [1.0, 1.0].map(|x| Matrix::from_column_major(&device, &vec![x; dim * (dim + 2)], dim, dim + 2, "m"));
    let mut recondition = |parameters: &mut Parameters<Cpu, f64, Qr>| {
        let moments = moments.each_mut().map(|moment| moment.as_mut().unwrap().view_mut());
        Qr::default().recondition(&device, 0, parameters.arrays_mut().weights[0].view_mut(), Some(moments)).unwrap()
    };
    assert!(!recondition(&mut parameters));
    let scaled = parameters.arrays_mut().weights[0].view_mut().into_slice();
    scaled[3 * dim + 3..4 * dim].iter_mut().for_each(|h| *h *= 5.0);
    let after = device.to_host(gradient(&parameters, &x).weights[0].view()).unwrap();
    let expected =
        before.iter().enumerate().map(|(at, g)| if (3 * dim + 3..4 * dim).contains(&at) { g / 5.0 } else { *g });
    assert!(relative_error(after, expected) < 1e-12);
    assert!(recondition(&mut parameters));
    assert!(!recondition(&mut parameters), "once is enough");
    assert!(relative_error(dense(&parameters, 0), whole) < 1e-13);
    assert!(relative_error(device.to_host(parameters.weight(0)).unwrap(), array) < 1e-13);
    let moments = moments.map(|moment| device.to_host(moment.unwrap().view()).unwrap());
    for (moment, factor) in moments.iter().zip([5.0, 25.0]) {
        let at = |i: usize, j: usize| moment[i + j * dim];
        assert!((at(3, 3) - factor).abs() < 1e-12 && (at(69, 3) - factor).abs() < 1e-12);
        assert_eq!((at(2, 3), at(5, 4)), (1.0, 1.0));
    }
}

/// W and its determinant stay, and L is small again.
#[test]
fn a_grown_l_is_factored_anew() {
    let (device, dim) = (Cpu::new(2), 40);
    let mut parameters: Parameters<_, f64, _> = network(Plu, dim, Init::Conditioned);
    let mut gradient = gradient(&parameters, &init::batch(&device, dim, 5, 3).unwrap());
    let mut recondition = |parameters: &mut Parameters<Cpu, f64, Plu>| {
        let moments = [&mut gradient.weights].into_iter().flatten().map(Matrix::view_mut);
        let moments: [_; 2] = moments.collect::<Vec<_>>().try_into().ok().unwrap();
        let weight = parameters.arrays_mut().weights[0].view_mut();
        Plu.recondition(&device, 0, weight, Some(moments)).unwrap()
    };
    assert!(!recondition(&mut parameters));
    let array = parameters.arrays_mut().weights[0].view_mut().into_slice();
    array[1] = 12.0;
    let (before, dets) = (dense(&parameters, 0), log_abs_dets(&device, &parameters).unwrap());
    assert!(recondition(&mut parameters));
    let array = device.to_host(parameters.weight(0)).unwrap();
    let largest = (0..dim * dim).filter(|at| at % dim > at / dim).map(|at| array[at].abs()).fold(0.0, f64::max);
    assert!(largest <= 1.0, "{largest}");
    assert!(relative_error(dense(&parameters, 0), before) < 1e-9);
    assert!((log_abs_dets(&device, &parameters).unwrap()[0] - dets[0]).abs() < 1e-9);
    assert!(!recondition(&mut parameters), "once is enough");
    let left = gradient.weights.iter().flat_map(|moments| device.to_host(moments.view()).unwrap());
    assert!(left.into_iter().all(|moment| moment == 0.0), "moments of other numbers");
}

#[test]
fn numbers_that_are_no_factors_are_refused_in_one_line() {
    let (device, dim) = (Cpu::new(2), 4);
    let x = init::batch(&device, dim, 5, 3).unwrap();
    for (place, number, told) in [
        (dim * dim + 1, 0.5, "sign of a pivot = 0.5 must be 1 or -1"),
        (dim * (dim + 1), 7.0, "row of a permutation = 7 must be that of no other row"),
        (dim * (dim + 1), 0.5, "row of a permutation = 0.5"),
        (dim * (dim + 1), f64::NAN, "row of a permutation = NaN"),
    ] {
        let mut parameters = network(Plu, dim, Init::Conditioned);
        parameters.arrays_mut().weights[0].view_mut().into_slice()[place] = number;
        let architecture = parameters.architecture();
        let mut bound = bind(&device, Method::Plu, BiasMode::Exact, architecture, 5).unwrap();
        let mut out = Gradient::zeros(&device, architecture, "gradient").unwrap();
        let cause = bound.gradient(&device, &parameters, x.view(), &mut out).unwrap_err().to_string();
        assert!(cause.contains(told), "{cause}");
    }
    let dense = Architecture::new(dim, 2);
    let refused = bind::<_, f64, _>(&device, Method::Plu, BiasMode::Exact, &dense, 5).err();
    assert!(matches!(refused, Some(Error::ShapeMismatch { .. })), "{refused:?}");
    let mut parameters = network(Qr::default(), dim, Init::Conditioned);
    parameters.arrays_mut().weights[0].view_mut().into_slice()[..dim].fill(0.0);
    let mut bound = bind(&device, Method::Qr, BiasMode::Exact, parameters.architecture(), 5).unwrap();
    let mut out = Gradient::zeros(&device, parameters.architecture(), "gradient").unwrap();
    let cause = bound.gradient(&device, &parameters, x.view(), &mut out).unwrap_err().to_string();
    assert!(cause.contains("square of a reflection's norm = 0 must be positive"), "{cause}");
    let (plu, conv) = (CouplingKind::Dense.moved_by(Method::Plu), CouplingKind::Dense.moved_by(Method::Relative));
    assert_eq!((plu, conv), (CouplingKind::Plu, CouplingKind::Dense));
    let zero = Matrix::<Cpu, f64>::zeros(&device, dim, dim, "test").unwrap();
    let mut out = Matrix::zeros(&device, dim, dim + 2, "test").unwrap();
    let singular = Plu.take_dense(&device, 1, zero.view(), out.view_mut()).unwrap_err().to_string();
    assert!(singular.contains("weight of layer 2 is singular"), "{singular}");
}

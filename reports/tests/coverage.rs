//! Do 95 % intervals cover what was planted? Over seeded synthetic studies with noise on both levels.

use relgrad_reports::fixture::{PowerLaw, power_law};
use relgrad_reports::stats::{Processes, median_estimate, ratio_estimate};
use relgrad_reports::summary::Summary;

#[test]
fn explore() {
    for (rounds, between, within, samples) in [
        (2, 0.03, 0.01, 9),
        (3, 0.03, 0.01, 9),
        (3, 0.01, 0.03, 9),
        (4, 0.03, 0.01, 9),
        (5, 0.03, 0.01, 9),
        (5, 0.01, 0.03, 9),
        (10, 0.03, 0.01, 9),
        (10, 0.01, 0.03, 9),
        (1, 0.0, 0.03, 9),
        (1, 0.0, 0.03, 30),
    ] {
        let (mut m, mut r, mut e, mut w) = (0, 0, 0, 0.0);
        const N: u64 = 400;
        for seed in 0..N {
            let plan = PowerLaw {
                dims: vec![100, 200, 500, 1000, 2000],
                exponent: 2.5,
                scale: 1e-6,
                rounds,
                samples,
                between_processes: between,
                within_process: within,
                seed,
            };
            let study = power_law(&plan);
            let at = |dim| {
                Processes::new(
                    study
                        .records
                        .iter()
                        .filter(|x| x.cell.dim == dim)
                        .map(|x| (x.cell.round, x.seconds.as_slice())),
                )
            };
            let est = median_estimate(&at(1000)).unwrap();
            let truth = 1e-6 * 1000f64.powf(2.5);
            w += (est.high / est.low).ln() / 2.0 / N as f64;
            m += u32::from(est.low <= truth && truth <= est.high);
            let est = ratio_estimate(&at(2000), &at(1000)).unwrap();
            let truth = 2f64.powf(2.5);
            r += u32::from(est.low <= truth && truth <= est.high);
            let fit = Summary::of(&study).series[0].fit.unwrap();
            e += u32::from(fit.exponent.low <= 2.5 && 2.5 <= fit.exponent.high);
        }
        println!(
            "R {rounds} b {between} w {within} n {samples}: median {:.3} (half width {w:.4}) ratio {:.3} exponent {:.3}",
            f64::from(m) / N as f64,
            f64::from(r) / N as f64,
            f64::from(e) / N as f64
        );
    }
}

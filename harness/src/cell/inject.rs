//! Faults planted on purpose, to prove that the gate finds and names them. Only a build with the feature `inject` has
//! them.

use relgrad_kernels::Error;
use relgrad_kernels::evaluation::{Evaluation, Workload};
use relgrad_vocabulary::Subject;

#[cfg(feature = "inject")]
pub(crate) use planted::{Fault, Injection, prepare};

/// Nothing can be planted in this build.
#[cfg(not(feature = "inject"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {}

#[cfg(not(feature = "inject"))]
pub(crate) struct Injection;

#[cfg(not(feature = "inject"))]
impl Injection {
    /// Always an error: a build without the feature must not pass for one that measured the fault.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Err(format!("cannot inject `{text}`: this relgrad was built without the feature `inject`"))
    }

    /// The fault to plant in `method`.
    pub(crate) fn of(&self, _method: Subject) -> Option<&Fault> {
        None
    }
}

/// The evaluation of a workload.
///
/// # Errors
/// Those of [`relgrad_kernels::evaluation::prepare`].
#[cfg(not(feature = "inject"))]
pub(crate) fn prepare(workload: &Workload, _fault: Option<&Fault>) -> Result<Box<dyn Evaluation>, Error> {
    relgrad_kernels::evaluation::prepare(workload)
}

#[cfg(feature = "inject")]
mod planted {
    use std::time::{Duration, Instant};

    use relgrad_kernels::check::Check;
    use relgrad_kernels::{Method, evaluation};

    use super::{Error, Evaluation, Subject, Workload};

    /// What to plant.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(crate) enum Fault {
        /// Every evaluation takes so many times as long.
        Factor(f64),
        /// Every evaluation takes so many seconds more.
        Constant(f64),
        /// Every evaluation takes D to this power times as long.
        Slope(f64),
        /// The gradient is wrong.
        WrongGradient,
        /// Every evaluation loses a D×N matrix.
        Leak,
    }

    /// A fault and the method it is planted in.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Injection {
        method: Method,
        fault: Fault,
    }

    impl Injection {
        /// Reads `relative:factor=1.1`, `constant=20us`, `slope=0.1`, `wrong-gradient` or `leak` after the method.
        pub(crate) fn parse(text: &str) -> Result<Self, String> {
            let complain = || {
                format!(
                    "cannot inject `{text}`: write METHOD:factor=1.1, :constant=20us, :slope=0.1, :wrong-gradient or \
                     :leak"
                )
            };
            let (method, fault) = text.split_once(':').ok_or_else(complain)?;
            let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(complain);
            let fault = match fault.split_once('=') {
                Some(("factor", value)) => Fault::Factor(number(value)?),
                Some(("constant", value)) => {
                    Fault::Constant(1e-6 * number(value.strip_suffix("us").ok_or_else(complain)?)?)
                }
                Some(("slope", value)) => Fault::Slope(number(value)?),
                None if fault == "wrong-gradient" => Fault::WrongGradient,
                None if fault == "leak" => Fault::Leak,
                _ => return Err(complain()),
            };
            Ok(Self { method: method.parse().map_err(|cause| format!("{}: {cause}", complain()))?, fault })
        }

        /// The fault to plant in `method`.
        pub(crate) fn of(&self, method: Subject) -> Option<&Fault> {
            (method == self.method).then_some(&self.fault)
        }
    }

    /// The evaluation of a workload with a fault in it.
    ///
    /// # Errors
    /// Those of [`evaluation::prepare`].
    pub(crate) fn prepare(workload: &Workload, fault: Option<&Fault>) -> Result<Box<dyn Evaluation>, Error> {
        let Some(&fault) = fault else { return evaluation::prepare(workload) };
        let sound = if fault == Fault::WrongGradient {
            evaluation::prepare_wrong(workload)?
        } else {
            evaluation::prepare(workload)?
        };
        let dim = workload.architecture.dim;
        let lost_bytes = dim * workload.batch * workload.dtype.bytes();
        Ok(Box::new(Faulty { sound, fault, dim: dim as f64, lost_bytes }))
    }

    struct Faulty {
        sound: Box<dyn Evaluation>,
        fault: Fault,
        dim: f64,
        lost_bytes: usize,
    }

    impl Evaluation for Faulty {
        fn evaluate(&mut self) -> Result<(), Error> {
            let start = Instant::now();
            self.sound.evaluate()?;
            let took = start.elapsed().as_secs_f64();
            let until = match self.fault {
                Fault::Factor(factor) => took * factor,
                Fault::Constant(seconds) => took + seconds,
                Fault::Slope(slope) => took * self.dim.powf(slope),
                Fault::WrongGradient => took,
                Fault::Leak => {
                    std::mem::forget(vec![1_u8; self.lost_bytes]);
                    took
                }
            };
            let until = start + Duration::from_secs_f64(until.max(0.0));
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            Ok(())
        }

        fn check(&mut self) -> Result<Check, Error> {
            self.sound.check()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_read_as_they_are_written() {
            let read = |text: &str| Injection::parse(text).map(|i| i.fault);
            assert_eq!(read("relative:factor=1.1"), Ok(Fault::Factor(1.1)));
            assert_eq!(read("relative:constant=20us"), Ok(Fault::Constant(20.0 * 1e-6)));
            assert_eq!(read("relative:slope=0.1"), Ok(Fault::Slope(0.1)));
            assert_eq!(read("ordinary:wrong-gradient"), Ok(Fault::WrongGradient));
            assert_eq!(read("relative:leak"), Ok(Fault::Leak));
            for text in [
                "relativ:leak",
                "relative",
                "relative:",
                "relative:factor",
                "relative:factor=x",
                "relative:constant=20",
            ] {
                assert!(read(text).is_err(), "{text}");
            }
        }

        #[test]
        fn a_fault_is_planted_in_its_method_alone() {
            let injection = Injection::parse("relative:leak").expect("a fault");
            assert_eq!(
                (injection.of(Method::Relative.into()), injection.of(Method::Ordinary.into())),
                (Some(&Fault::Leak), None)
            );
        }
    }
}

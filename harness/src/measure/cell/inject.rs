//! Faults planted on purpose, to prove that the gate finds and names them. Only a build with the feature `inject` has
//! them.

use relgrad_kernels::evaluation::{Evaluation, Workload};
use relgrad_reports::record::Reason;
use relgrad_vocabulary::Subject;

#[cfg(feature = "inject")]
pub(super) use planted::plant;

use super::Failed;

/// Always an error: a build without the feature must not pass for one that measured the fault.
#[cfg(not(feature = "inject"))]
pub(super) fn plant(text: &str, _method: Subject, _workload: &Workload) -> Result<Box<dyn Evaluation>, Failed> {
    Err(Reason::from(format!("cannot inject `{text}`: this relgrad was built without the feature `inject`")).into())
}

#[cfg(feature = "inject")]
mod planted {
    use std::time::{Duration, Instant};

    use relgrad_kernels::check::Check;
    use relgrad_kernels::{Error, evaluation};

    use super::{Evaluation, Failed, Reason, Subject, Workload};

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
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

    /// Reads `relative:factor=1.1`, `constant=20us`, `slope=0.1`, `wrong-gradient` or `leak` after the method.
    fn parse(text: &str) -> Option<(&str, Fault)> {
        let (method, fault) = text.split_once(':')?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite());
        let fault = match fault.split_once('=') {
            Some(("factor", value)) => Fault::Factor(number(value)?),
            Some(("constant", value)) => Fault::Constant(1e-6 * number(value.strip_suffix("us")?)?),
            Some(("slope", value)) => Fault::Slope(number(value)?),
            None if fault == "wrong-gradient" => Fault::WrongGradient,
            None if fault == "leak" => Fault::Leak,
            _ => return None,
        };
        Some((method, fault))
    }

    /// The evaluation of a workload of `method` on the CPU, with the fault in it where it is meant for that method.
    pub(in super::super) fn plant(
        text: &str,
        method: Subject,
        workload: &Workload,
    ) -> Result<Box<dyn Evaluation>, Failed> {
        let complaint = || {
            let forms = "METHOD:factor=1.1, :constant=20us, :slope=0.1, :wrong-gradient or :leak";
            Reason::from(format!("cannot inject `{text}`: write {forms}"))
        };
        let (faulty, fault) = parse(text).ok_or_else(complaint)?;
        if faulty != method.name() {
            return Ok(evaluation::prepare(workload)?);
        }
        let sound = match fault {
            Fault::WrongGradient => evaluation::prepare_wrong(workload)?,
            _ => evaluation::prepare(workload)?,
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
            for (text, read) in [
                ("relative:factor=1.1", Some(("relative", Fault::Factor(1.1)))),
                ("relative:constant=20us", Some(("relative", Fault::Constant(20.0 * 1e-6)))),
                ("relative:slope=0.1", Some(("relative", Fault::Slope(0.1)))),
                ("ordinary:wrong-gradient", Some(("ordinary", Fault::WrongGradient))),
                ("relative:leak", Some(("relative", Fault::Leak))),
                ("relative", None),
                ("relative:", None),
                ("relative:factor", None),
                ("relative:factor=x", None),
                ("relative:constant=20", None),
            ] {
                assert_eq!(parse(text), read, "{text}");
            }
        }
    }
}

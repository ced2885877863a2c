//! The names that the command line, the records and the kernels share: methods, number types, arithmetics, devices,
//! activations and base densities. Each is spelt, parsed and displayed in one place. The only dependency is serde,
//! behind a feature.

mod activation;
mod base;
mod device;
mod dtype;
mod excerpt;
pub mod math;
pub mod method;
mod spelt;
mod tuning;
mod unknown;
mod update;

pub use activation::Activation;
pub use base::Base;
pub use device::DeviceKind;
pub use dtype::Dtype;
pub use excerpt::{cut, excerpt, quoted, visible};
pub use math::Math;
pub use method::{Kernel, Method, Subject};
pub use tuning::{Tuned, Tuning};
pub use unknown::Unknown;
pub use update::UpdateRule;

/// A parameter outside the set where the mathematics holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfRange {
    /// Name of the parameter.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// What it must be.
    pub requirement: &'static str,
}

impl std::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {} {}", self.name, self.value, self.requirement)
    }
}

impl std::error::Error for OutOfRange {}

fn positive(name: &'static str, value: f64) -> Result<(), OutOfRange> {
    let holds = value > 0.0 && value.is_finite();
    if holds { Ok(()) } else { Err(OutOfRange { name, value, requirement: "must be positive and finite" }) }
}

/// `name:number:number…`
fn words(text: &str) -> Option<(&str, Vec<f64>)> {
    let mut parts = text.split(':');
    let name = parts.next()?;
    Some((name, parts.map(|part| part.parse().ok()).collect::<Option<_>>()?))
}

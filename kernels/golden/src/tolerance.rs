//! How close a result must come: the one rule, for every backend, precision and kind of file.

use std::collections::BTreeMap;

use relgrad_kernels::Dtype;

use crate::node::{Node, Read};

/// Tolerances by group, as the file gives them; `None` where that precision cannot be expected to work.
#[derive(Debug, Clone)]
pub struct Tolerances {
    pub(crate) f64: Groups,
    pub(crate) f64_autodiff: Groups,
    pub(crate) f32: Groups,
    /// Measured error of full-Jacobian automatic differentiation in f64, by group, where the file has it.
    pub(crate) autodiff_error: Groups,
}

pub(crate) type Groups = BTreeMap<String, Option<f64>>;

/// Whether a quantity suffers from the conditioning of one layer or, like autodiff, of the product of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditioning {
    /// Closed forms, layer by layer.
    PerLayer,
    /// The full Jacobian.
    Product,
}

impl Tolerances {
    /// The tolerance of a group.
    ///
    /// The file has none for autodiff in f32. It follows from the file in two ways, of which the larger counts: the
    /// tolerance of f32 times what the conditioning of the product costs in f64, and the rule by which all tolerances
    /// were made (20 times a measured error) with the error in f64 scaled to the precision of f32. The first alone says
    /// nothing where both of its f64 tolerances stand at their floor. From 1 on, nothing can be expected.
    pub fn of(&self, dtype: Dtype, conditioning: Conditioning, group: &str) -> Option<f64> {
        let of = |groups: &Groups| groups.get(group).copied().flatten();
        match (dtype, conditioning) {
            (Dtype::F64, Conditioning::PerLayer) => of(&self.f64),
            (Dtype::F64, Conditioning::Product) => of(&self.f64_autodiff),
            (Dtype::F32, Conditioning::PerLayer) => of(&self.f32),
            (Dtype::F32, Conditioning::Product) => {
                let loss = (of(&self.f64_autodiff)? / of(&self.f64)?).max(1.0);
                let precision = f64::from(f32::EPSILON) / f64::EPSILON;
                let measured = of(&self.autodiff_error).map_or(0.0, |error| 20.0 * error * precision);
                Some((of(&self.f32)? * loss).max(measured)).filter(|tolerance| *tolerance < 1.0)
            }
        }
    }
}

/// The groups that a dense file must have a tolerance (or `null`) for; autodiff has no inverse.
pub(crate) const GROUPS: [&str; 9] =
    ["loglik", "parts", "forward", "delta", "ordinary", "relative", "transposed", "inverse", "roundtrip"];
const AUTODIFF_GROUPS: [&str; 3] = ["loglik", "delta", "ordinary"];

pub(crate) fn tolerances(root: &Node<'_>, conditional: bool) -> Read<Tolerances> {
    let tol = root.field("tol")?;
    if conditional {
        for name in ["f64", "f64_autodiff", "f32"] {
            tol.field(name)?.field("conditional")?;
        }
    }
    let autodiff_error = measured_errors(root, "jax_f64_vs_hp")?;
    Ok(Tolerances {
        f64: groups(&tol.field("f64")?, &GROUPS)?,
        f64_autodiff: groups(&tol.field("f64_autodiff")?, &AUTODIFF_GROUPS)?,
        f32: groups(&tol.field("f32")?, &GROUPS)?,
        autodiff_error,
    })
}

/// The errors that the file says were measured, by group; none where it does not say.
pub(crate) fn measured_errors(root: &Node<'_>, name: &str) -> Read<Groups> {
    let mut measured = Groups::new();
    let node = root.child("check").and_then(|check| check.child(name)).filter(|errors| !errors.is_null());
    for (group, error) in node.map_or(Ok(Vec::new()), |errors| errors.entries())? {
        let size = if error.is_null() { None } else { Some(error.number()?) };
        if size.is_some_and(|size| size < 0.0) {
            return Err(error.wrong("must not be negative"));
        }
        measured.insert(group.to_string(), size);
    }
    Ok(measured)
}

/// Tolerances by group, of which some must be there.
pub(crate) fn groups(node: &Node<'_>, required: &[&str]) -> Read<Groups> {
    for group in required {
        node.field(group)?;
    }
    let mut groups = Groups::new();
    for (group, entry) in node.entries()? {
        let tolerance = if entry.is_null() { None } else { Some(entry.number()?) };
        // A relative error of 1 is no agreement at all.
        if tolerance.is_some_and(|tolerance| !(tolerance > 0.0 && tolerance < 1.0)) {
            return Err(entry.wrong("must be above 0 and below 1, or null"));
        }
        groups.insert(group.to_string(), tolerance);
    }
    Ok(groups)
}

//! What a direction becomes: the rules of an update.

use crate::names;
use crate::spelt::spelt;

names! {
    /// A rule by which parameters follow a direction, where a whole update is measured.
    UpdateRule, "update", {
        /// θ ← θ + μΔθ.
        Plain = "plain",
        /// Adam (Kingma and Ba, 2015).
        Adam = "adam",
        /// Muon (Jordan and others, 2024): momentum, then the nearest orthogonal matrix by products, 30D³ a layer.
        Muon = "muon",
    }
}

spelt!(UpdateRule);

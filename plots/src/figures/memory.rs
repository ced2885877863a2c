//! Peak memory against D, with the model's lower bound.

use relgrad_reports::record::{Outcome, Record};
use relgrad_vocabulary::DeviceKind;

use super::{Content, Spec};
use crate::axis::Unit;
use crate::chart::{self, Plot};
use crate::data::{self, Along, Shown};
use crate::style::Look;

pub(super) const SPEC: Spec =
    Spec { name: "memory", device: None, along: Along::Dim, needs, content: CONTENT, caption };

const CONTENT: Content = Content::Panels(|shown| vec![plot(shown)]);

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no record has a peak memory: run `relgrad sweep` on a system that reports resident memory";
    super::require(shown.has(data::peak_bytes), missing)
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let of_process = |r: &Record| r.peak_bytes.map(|bytes| bytes as f64);
    let mut curves = shown.stopped(data::peak_bytes, of_process, |s| s.predicted_bytes.map(data::exactly));
    for curve in &mut curves {
        let models = curve.name.parse().map_or(Vec::new(), |method| shown.models(method));
        curve.model = models.into_iter().map(|(dim, m)| (dim, m.min_bytes)).collect();
        // Dashes mean the model here; markers and colours tell the methods apart.
        curve.look = Look { dash: &[], ..curve.look };
    }
    Plot { model: "model’s lower bound", ..Plot::log("peak memory", Unit::Bytes, curves) }
}

fn caption(shown: &Shown<'_>) -> String {
    let skipped = shown.study.records.iter().any(|r| r.outcome != Outcome::Measured);
    let predicted = if skipped { " Hollow markers are predictions." } else { "" };
    let is_cpu = shown.device == DeviceKind::Cpu;
    let memory = if is_cpu { "resident memory above that of the bare process" } else { "memory in buffers of the GPU" };
    format!(
        "Peak {memory} against the data dimension D ({}), the largest of the processes.{} Dashed: the lower bound of \
         the memory model.{predicted}",
        shown.conditions_of_machine(),
        chart::explained(&[plot(shown)])
    )
}

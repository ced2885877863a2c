//! Parts of a plan, for several machines.

use std::collections::{BTreeMap, BTreeSet};

use relgrad_reports::record::{Held, Point};
use relgrad_reports::run::Shard;

use super::Planned;
use super::forecast::Calibration;
use crate::measure::workload::DeviceKind;

/// The points of one part. Parts are alike in the seconds that the cost model predicts without any measurement, so that
/// every machine finds the same parts. All methods of a point and all its rounds are in one part: speed-ups and
/// crossovers are of one machine.
pub(crate) fn part(points: Vec<Planned>, shard: Shard) -> Result<Vec<Planned>, String> {
    let mut seconds: BTreeMap<Together, f64> = BTreeMap::new();
    for planned in &points {
        *seconds.entry(place(&planned.cell.point)).or_default() += need(planned);
    }
    if seconds.len() < shard.of {
        return Err(format!(
            "the plan has {} places (D, N, L, threads, device), too few for {} shards",
            seconds.len(),
            shard.of
        ));
    }
    let weights: Vec<f64> = seconds.values().copied().collect();
    let chosen: BTreeMap<Together, usize> = seconds.into_keys().zip(deal(&weights, shard.of)).collect();
    Ok(points.into_iter().filter(|planned| chosen[&place(&planned.cell.point)] + 1 == shard.index).collect())
}

/// The part, from 0, of each of some things: the heaviest first, each to the part that has the least, so that the
/// heaviest part is at most 4/3 of the best (Graham 1969).
pub(crate) fn deal(weights: &[f64], parts: usize) -> Vec<usize> {
    let mut heaviest: Vec<usize> = (0..weights.len()).collect();
    heaviest.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(b.cmp(a)));
    let (mut loads, mut chosen) = (vec![0.0; parts], vec![0; weights.len()]);
    for i in heaviest {
        let least = (0..parts).min_by(|a, b| f64::total_cmp(&loads[*a], &loads[*b])).unwrap_or(0);
        loads[least] += weights[i];
        chosen[i] = least;
    }
    chosen
}

/// The most parts that a plan of these points can have.
pub(crate) fn places(points: &[Planned]) -> usize {
    points.iter().map(|planned| place(&planned.cell.point)).collect::<BTreeSet<_>>().len()
}

/// What stays in one part.
type Together = (usize, DeviceKind, Held);

fn place(point: &Point) -> Together {
    (point.dim, point.device, point.held())
}

/// Seconds of one process of a cell under the default limits, whatever the limits are: `--resume` may change those, and
/// machines may differ in them. Next to none for a cell that the default limit skips.
fn need(planned: &Planned) -> f64 {
    const EVALUATIONS: f64 = 6.0;
    const LIMIT_SECONDS: f64 = 60.0;
    const SKIPPED: f64 = 1e-3;
    let forecast = Calibration::default().forecast(planned);
    if forecast.evaluation_seconds > LIMIT_SECONDS {
        return SKIPPED;
    }
    forecast.overhead_seconds + (EVALUATIONS * forecast.evaluation_seconds).min(LIMIT_SECONDS)
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;
    use relgrad_reports::run::Settings;

    use super::*;
    use crate::measure::default_settings;
    use crate::measure::plan::plan;

    fn settings() -> Settings {
        let methods = vec![Method::Relative, Method::Ordinary];
        Settings { dims: vec![10, 100, 1000, 2000, 3000, 5000], other_batches: vec![10], methods, ..default_settings() }
    }

    /// Every cell is in one part, methods of a place together, and no part takes more than 4/3 of the mean and the
    /// longest place.
    #[test]
    fn parts_are_the_plan_and_alike() {
        let settings = settings();
        let whole = plan(&settings).unwrap();
        for of in [1, 2, 3, 5] {
            let parts: Vec<Vec<Planned>> =
                (1..=of).map(|index| part(whole.clone(), Shard { index, of }).unwrap()).collect();
            assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), whole.len());
            let mut cells: Vec<_> = parts.iter().flatten().map(|planned| planned.cell).collect();
            cells.sort();
            cells.dedup();
            assert_eq!(cells.len(), whole.len());
            let all = |part: &[Planned]| part.iter().map(need).sum::<f64>();
            for part in &parts {
                let of_method = |method: Method| part.iter().filter(|p| p.cell.method == method).count();
                assert_eq!(of_method(Method::Relative), of_method(Method::Ordinary));
            }
            let most = parts.iter().map(|part| all(part)).fold(0.0, f64::max);
            let mut places: BTreeMap<Together, f64> = BTreeMap::new();
            whole.iter().for_each(|p| *places.entry(place(&p.cell.point)).or_default() += need(p));
            let longest = places.values().copied().fold(0.0, f64::max);
            let best = longest.max(all(&whole) / of as f64);
            assert!(most <= 4.0 / 3.0 * best + 1e-9, "{of}: {most} {best}");
        }
    }

    /// A part that goes on with other limits has the same cells.
    #[test]
    fn limits_do_not_change_a_part() {
        let of = |settings: &Settings| {
            let part = plan(&Settings { shard: Some(Shard { index: 2, of: 3 }), ..settings.clone() }).unwrap();
            part.into_iter().map(|planned| planned.cell).collect::<Vec<_>>()
        };
        let short = Settings { cell_limit_seconds: Some(0.01), min_samples: 1, ..settings() };
        let endless = Settings { cell_limit_seconds: None, min_samples: 50, ..settings() };
        assert_eq!(of(&short), of(&endless));
    }

    #[test]
    fn more_parts_than_places_are_refused() {
        let points = plan(&settings()).unwrap();
        assert_eq!(places(&points), 12);
        let told = part(points, Shard { index: 1, of: 13 }).unwrap_err();
        assert!(told.contains("12 places") && told.contains("13 shards"), "{told}");
    }
}

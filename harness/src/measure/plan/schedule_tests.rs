//! The schedule against a simulated machine whose rates are known.

use relgrad_kernels::Method;
use relgrad_vocabulary::Subject;

use super::super::testing::{failed, measured, planned};
use super::*;

const METHODS: [Method; 3] = [Method::Relative, Method::Ordinary, Method::Autodiff];
const DIMS: [usize; 14] = [10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 3000, 5000, 10_000, 20_000];

/// 100 Gflop/s less a 20 µs overhead; 10 ns to set up and check a weight; 20 ms to start a process.
fn seconds_of(planned: &Planned) -> (f64, f64) {
    let weights = 2.0 * (planned.cell.point.dim as f64).powi(2);
    (planned.model.flops / 1e11 + 2e-5, 0.02 + 1e-8 * weights)
}

#[derive(Default)]
struct Simulation {
    elapsed: f64,
    /// Method, D and round of the cells that ran, in order.
    ran: Vec<(Subject, usize, usize)>,
    /// Method, D, round and reason of those that did not.
    skipped: Vec<(Subject, usize, usize, Reason)>,
}

impl Simulation {
    fn ran(&self, method: impl Into<Subject>, dim: usize, round: usize) -> bool {
        self.ran.contains(&(method.into(), dim, round))
    }

    fn largest(&self, method: Method) -> usize {
        self.ran.iter().filter(|(of, ..)| *of == method).map(|(_, dim, _)| *dim).max().unwrap_or(0)
    }

    fn reason(&self, method: Method, dim: usize) -> &str {
        let entry = self.skipped.iter().find(|(of, at, ..)| *of == method && *at == dim);
        entry.unwrap_or_else(|| panic!("{method} D = {dim} was not skipped")).3.as_str()
    }
}

fn plan(dims: &[usize], rounds: usize) -> Plan {
    let points = METHODS.into_iter().flat_map(|method| dims.iter().map(move |&dim| planned(method, dim, 0)));
    Plan::new(points.collect(), rounds, 11).expect("no point stands twice")
}

/// The cells of a round, in its order.
fn round(plan: &Plan, round: usize) -> impl Iterator<Item = Planned> {
    plan.round(round).iter().map(move |&place| plan.planned(place as usize, round))
}

fn limits(budget: Option<f64>, cell: Option<f64>) -> Limits {
    Limits { budget_seconds: budget, cell_seconds: cell, memory_bytes: 18e9, device_memory_bytes: None, min_samples: 5 }
}

/// Runs the schedule to its end, with every cell behaving as [`seconds_of`] says, including deadlines and kills.
fn simulate(plan: Plan, limits: Limits) -> Simulation {
    go_on(Schedule::new(plan, limits))
}

fn go_on(mut schedule: Schedule) -> Simulation {
    let mut result = Simulation::default();
    loop {
        match schedule.next(result.elapsed) {
            Step::Done => return result,
            Step::Skip { planned, reason, .. } => {
                let cell = planned.cell;
                schedule.mark(&cell);
                result.skipped.push((cell.method, cell.point.dim, cell.round, reason));
            }
            Step::Run(assignment) => {
                let (evaluation, overhead) = seconds_of(&assignment.planned);
                let deadline = assignment.rules.deadline_seconds.unwrap_or(f64::INFINITY);
                let limit = assignment.rules.cell_seconds.unwrap_or(f64::INFINITY).min(deadline - overhead);
                let samples = (limit / evaluation - 1.0).clamp(1.0, 5.0).floor();
                let wall = overhead + (1.0 + samples) * evaluation;
                let killed = assignment.kill_seconds.filter(|kill| wall > *kill);
                let record = match killed {
                    Some(kill) => failed(&assignment.planned, kill),
                    None => measured(&assignment.planned, evaluation, wall),
                };
                result.elapsed += record.wall_seconds;
                schedule.observe(&record);
                let cell = assignment.planned.cell;
                result.ran.push((cell.method, cell.point.dim, cell.round));
            }
        }
    }
}

#[test]
fn without_limits_every_cell_runs_but_those_that_do_not_fit_in_memory() {
    let result = simulate(plan(&[10, 1000, 10_000], 2), limits(None, None));
    assert_eq!(result.ran.len() + result.skipped.len(), 3 * 3 * 2);
    assert!(result.skipped.iter().all(|(method, dim, _, reason)| {
        let is_over_memory = reason.as_str().ends_with("exceeds the memory limit of 16.8 GiB");
        *method == Method::Autodiff && *dim == 10_000 && is_over_memory
    }));
    assert_eq!(result.skipped.len(), 2);
}

#[test]
fn the_default_sweep_ends_within_its_budget_and_begins_no_second_round_too_early() {
    let result = simulate(plan(&DIMS, 3), limits(Some(600.0), Some(60.0)));
    assert!(result.elapsed <= 600.0, "took {} s", result.elapsed);
    // Of ordinary 10,000 takes 42 s an evaluation: two of them do not fit into the limit of 60 s.
    for (method, largest) in [(Method::Relative, 20_000), (Method::Ordinary, 5000), (Method::Autodiff, 1000)] {
        assert_eq!(result.largest(method), largest, "{method}");
    }
    assert_eq!(result.ran.len() + result.skipped.len(), 3 * 14 * 3);
    assert!(result.ran.is_sorted_by_key(|(_, _, round)| *round), "{:?}", result.ran);
    for (method, dim, _) in &result.ran {
        assert!(result.ran(*method, *dim, 0), "{method} D = {dim} has no first round");
    }
}

#[test]
fn a_small_budget_is_shared_and_cut_at_the_top_of_each_method() {
    let result = simulate(plan(&DIMS, 1), limits(Some(40.0), Some(60.0)));
    assert!(result.elapsed <= 40.0 + 1.0, "took {} s", result.elapsed);
    for method in METHODS {
        let ran: Vec<usize> = DIMS.into_iter().filter(|&dim| result.ran(method, dim, 0)).collect();
        assert_eq!(ran, DIMS[..ran.len()], "{method} has a gap");
        assert!(ran.len() >= 7, "{method} was starved: {ran:?}");
    }
    let budget_reasons =
        result.skipped.iter().filter(|(.., reason)| reason.as_str().ends_with("left of the budget of 40 s"));
    assert!(budget_reasons.count() > 0);
}

#[test]
fn expensive_guesses_wait_for_calibration_and_later_rounds_are_shuffled() {
    let plan = plan(&DIMS, 2);
    let result = simulate(plan.clone(), limits(None, Some(60.0)));
    for (position, (method, dim, round)) in result.ran.iter().enumerate() {
        if *round == 0 && *dim >= 5000 {
            let reached = result.ran[..position].iter().filter(|(of, ..)| of == method).map(|(_, dim, _)| *dim);
            let reached = reached.max().unwrap_or(0);
            assert!(4 * reached >= *dim, "{method} jumped from {reached} to {dim}");
        }
    }
    let shuffled: Vec<_> = round(&plan, 1)
        .map(|planned| (planned.cell.method, planned.cell.point.dim, 1))
        .filter(|point| result.ran.contains(point))
        .collect();
    let second: Vec<_> = result.ran.iter().filter(|(_, _, round)| *round == 1).cloned().collect();
    assert_eq!(second, shuffled);
}

#[test]
fn reasons_say_what_was_predicted_and_which_limit_it_exceeds() {
    let result = simulate(plan(&DIMS, 1), limits(None, Some(60.0)));
    // 4.1 Tflop at 100 Gflop/s, twice, at D = 10,000.
    for (dim, reason) in [
        (20_000, "one evaluation exceeds the cell limit of 60 s, as predicted"),
        (10_000, "a warm-up with one sample exceeds the cell limit of 60 s, as predicted"),
    ] {
        assert_eq!(result.reason(Method::Ordinary, dim), reason);
    }
    let mut exhausted = Schedule::new(plan(&[10], 1), limits(Some(10.0), None));
    let Step::Skip { reason, .. } = exhausted.next(10.0) else { panic!("there is no time") };
    assert!(reason.as_str().contains("0 s left"), "{reason}");
}

#[test]
fn after_a_timeout_larger_cells_of_the_method_are_not_tried() {
    let mut schedule = Schedule::new(plan(&[500, 1000], 1), limits(None, Some(10.0)));
    schedule.observe(&failed(&planned(Method::Autodiff, 500, 0), 15.0));
    let result = go_on(schedule);
    assert_eq!((result.largest(Method::Autodiff), result.skipped.len()), (0, 1));
    assert_eq!(result.reason(Method::Autodiff, 1000), "autodiff ran out of time at D = 500");
}

#[test]
fn cells_with_a_record_are_never_scheduled_again_and_those_of_another_plan_change_nothing() {
    let plan = plan(&[10, 20], 2);
    let mut schedule = Schedule::new(plan.clone(), limits(None, None));
    for (dim, round) in [(10, 2), (30, 0), (10, usize::MAX)] {
        schedule.observe(&measured(&planned(Method::Relative, dim, round), 1.0, 2.0));
    }
    assert_eq!(schedule.progress(), (12, 0));
    for planned in [0, 1].into_iter().flat_map(|number| round(&plan, number)) {
        assert!(matches!(schedule.next(0.0), Step::Run(_)));
        schedule.observe(&measured(&planned, 1e-5, 0.05));
    }
    assert_eq!(schedule.next(0.0), Step::Done);
    assert_eq!(schedule.progress(), (12, 12));
}

#[test]
fn one_cell_cannot_spend_what_others_need() {
    // Two cells of 20 s need 120 s each; of 250 s, the first may use no more than the second leaves.
    let points = vec![planned(Method::Relative, 10, 0), planned(Method::Ordinary, 10, 0)];
    let plan = Plan::new(points, 1, 0).expect("two points");
    let mut schedule = Schedule::new(plan, limits(Some(250.0), None));
    for method in [Method::Relative, Method::Ordinary] {
        let known = planned(method, 10, 0);
        schedule.calibration.observe(&measured(&known, 20.0, 120.0), known.expected_bytes);
    }
    let Step::Run(assignment) = schedule.next(0.0) else { panic!("nothing ran") };
    let deadline = assignment.rules.deadline_seconds.expect("a budget gives a deadline");
    assert!((100.0..=150.0).contains(&deadline), "{deadline}");
    assert!(assignment.kill_seconds.expect("a budget gives a kill time") <= 255.0);
}

/// A schedule that looks at every cell for every step takes minutes for this.
#[test]
fn a_plan_of_the_most_cells_is_gone_through_in_a_moment() {
    let dims: Vec<usize> = (1..=30_000).collect();
    for (dims, rounds, cells) in [(dims.as_slice(), 2, 180_000), (&DIMS, 5_000, 210_000)] {
        let mut schedule = Schedule::new(plan(dims, rounds), limits(Some(1e4), Some(60.0)));
        let (mut elapsed, mut runs, mut skips) = (0.0, 0, 0);
        loop {
            let cell = match schedule.next(elapsed) {
                Step::Done => break,
                Step::Skip { planned, .. } => {
                    skips += 1;
                    planned.cell
                }
                Step::Run(assignment) => {
                    elapsed += assignment.expected_seconds;
                    runs += 1;
                    assignment.planned.cell
                }
            };
            schedule.mark(&cell);
        }
        assert_eq!((runs + skips, schedule.progress()), (cells, (cells, cells)));
        assert!(runs > 100 && elapsed <= 1e4, "{runs} in {elapsed} s");
    }
}

#[test]
fn a_disturbed_cell_runs_again_if_the_budget_lasts_and_shares_what_is_left() {
    use relgrad_reports::fixture;
    use relgrad_reports::record::State;

    let mut schedule = Schedule::new(plan(&[10, 1000], 1), limits(Some(100.0), None));
    let disturbed = Some(State { foreign_seconds: Some(1.0), ..fixture::state() });
    while let Step::Run(assignment) = schedule.next(0.0) {
        let (evaluation, overhead) = seconds_of(&assignment.planned);
        schedule.observe(&Record { state: disturbed, ..measured(&assignment.planned, evaluation, overhead) });
    }
    let cells = schedule.disturbed(3);
    assert_eq!((cells.len(), schedule.spare_seconds(0.0)), (6, 98.0));
    let again = schedule.again(&cells[0], 6, 0.0).expect("there is time");
    assert_eq!((again.planned.cell, again.rules.sampling_seconds), (cells[0], MAX_SAMPLING_SECONDS));
    let again = schedule.again(&cells[0], 6, 80.0).expect("there is time");
    assert!((2.0..3.0).contains(&again.rules.sampling_seconds), "{again:?}");
    assert_eq!(schedule.again(&cells[0], 1, 97.9), None);
    schedule.observe(&Record { attempt: 1, ..measured(&again.planned, 1e-4, 1.0) });
    assert_eq!((schedule.progress(), schedule.attempts(&cells[0])), ((6, 6), 2));
}

//! The loop with an engine that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use super::super::campaign::testing::campaign;
use super::super::finding::testing::write;
use super::*;

/// What happens at a look, and what the engine answers.
type Look = Box<dyn FnMut(&Campaign) -> Result<Queue, String>>;

#[derive(Default)]
struct Told {
    looks: VecDeque<Look>,
    /// What a submission answers; job numbers after these.
    answers: VecDeque<Result<Option<String>, String>>,
    submitted: Vec<Vec<usize>>,
}

impl Told {
    fn then(mut self, look: impl FnMut(&Campaign) -> Result<Queue, String> + 'static) -> Self {
        self.looks.push_back(Box::new(look));
        self
    }
}

impl Engine for Told {
    fn require(&self) -> crate::error::Result<()> {
        Ok(())
    }

    fn submit(&mut self, campaign: &Campaign, parts: &[usize]) -> Result<Option<String>, String> {
        let job = campaign.jobs.last().expect("noted before it is handed over");
        assert_eq!((job.parts.as_slice(), &job.id), (parts, &None));
        assert_eq!(Campaign::find(&campaign.dir).unwrap().unwrap().jobs, campaign.jobs);
        self.submitted.push(parts.to_vec());
        self.answers.pop_front().unwrap_or_else(|| Ok(Some(self.submitted.len().to_string())))
    }

    fn queue(&mut self, campaign: &mut Campaign) -> Result<Queue, String> {
        match self.looks.len() {
            0 => panic!("more looks than were told"),
            // The last one stays.
            1 => (self.looks[0])(campaign),
            _ => self.looks.pop_front().unwrap()(campaign),
        }
    }

    fn how_to_stop(&self, _campaign: &Campaign) -> String {
        String::new()
    }
}

fn queue(running: &[usize], jobs: &[&str]) -> Result<Queue, String> {
    let parts: BTreeMap<usize, Spot> = running.iter().map(|part| (*part, Spot::Running(format!("n{part}")))).collect();
    Ok(Queue { parts, jobs: jobs.iter().map(|job| job.to_string()).collect() })
}

/// Follows two parts.
fn follow(dir: &Path, engine: &mut Told, jobs: Vec<Submission>) -> (Result<Ending>, Campaign) {
    let dir = fs::canonicalize(dir).unwrap();
    let mut campaign = Campaign { parts: 2, jobs, ..campaign("hq", &dir) };
    let poll = Duration::from_millis(1);
    let ending = Follower::new(&mut campaign, engine, &mut Events::without_signals(), poll, true).follow();
    (ending, Campaign::find(&dir).unwrap().unwrap())
}

fn complete(campaign: &Campaign) -> Result<Queue, String> {
    [1, 2].iter().for_each(|part| write(&campaign.part(*part), 2, true));
    queue(&[], &[])
}

#[test]
fn a_part_that_ended_early_is_handed_over_again_and_no_answer_says_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let mut engine = Told::default()
        .then(|_| queue(&[1, 2], &["1"]))
        .then(|campaign| {
            write(&campaign.part(2), 1, false);
            Err("squeue: no connection".to_string())
        })
        .then(|_| queue(&[1], &["1"]))
        .then(|_| Err("squeue: no connection".to_string()))
        .then(|_| queue(&[1], &["1"]))
        .then(|_| queue(&[1, 2], &["1", "2"]))
        .then(complete);
    let (ending, campaign) = follow(scratch.path(), &mut engine, Vec::new());
    assert_eq!(ending.unwrap(), Ending::Complete);
    assert_eq!(engine.submitted, [vec![1, 2], vec![2]]);
    let ids: Vec<_> = campaign.jobs.iter().map(|job| job.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), Some("2")]);
    assert_eq!(campaign.hosts, BTreeMap::from([(1, "n1".to_string()), (2, "n2".to_string())]));
}

#[test]
fn a_part_that_ends_again_and_again_without_a_record_is_given_up_with_its_last_words() {
    let scratch = tempfile::tempdir().unwrap();
    let mut engine = Told::default().then(|campaign| {
        write(&campaign.part(2), 2, true);
        fs::write(campaign.log(1), "starting\nrelgrad: no space left\n\n").unwrap();
        queue(&[], &[])
    });
    let (ending, _) = follow(scratch.path(), &mut engine, Vec::new());
    let told = ending.unwrap_err().to_string();
    assert!(told.contains("part 1 ended 3 times") && told.contains("part-1.log ends with: no space left"), "{told}");
    assert!(told.contains("--resume"), "{told}");
    assert_eq!(engine.submitted, [vec![1, 2], vec![1], vec![1]]);

    let scratch = tempfile::tempdir().unwrap();
    let mut engine = Told::default().then(|_| queue(&[], &[]));
    let told = follow(scratch.path(), &mut engine, Vec::new()).0.unwrap_err().to_string();
    assert!(told.contains("there is no ") && told.contains("do all machines have this folder"), "{told}");
}

#[test]
fn a_job_whose_number_was_lost_is_found_again_and_not_handed_over_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let job = |id: Option<&str>| Submission { at: String::new(), parts: vec![1, 2], id: id.map(str::to_string) };
    let mut engine = Told::default().then(|_| queue(&[1, 2], &["8", "9"])).then(complete);
    let (ending, campaign) = follow(scratch.path(), &mut engine, vec![job(Some("8")), job(None)]);
    assert_eq!(ending.unwrap(), Ending::Complete);
    assert!(engine.submitted.is_empty());
    assert_eq!(campaign.jobs, [job(Some("8")), job(Some("9"))]);
}

#[test]
fn a_refused_submission_is_an_error_at_the_start_and_is_repeated_later() {
    let scratch = tempfile::tempdir().unwrap();
    let mut engine = Told { answers: [Err("sbatch: invalid partition".to_string())].into(), ..Told::default() };
    let (ending, campaign) = follow(scratch.path(), &mut engine, Vec::new());
    assert!(ending.unwrap_err().to_string().starts_with("sbatch: invalid partition; "));
    assert_eq!(campaign.jobs.len(), 1);

    let refused = || Err("sbatch: no connection".to_string());
    let mut engine = Told { answers: [refused(), refused(), refused(), refused()].into(), ..Told::default() };
    for _ in 0..10 {
        engine = engine.then(|_| queue(&[], &[]));
    }
    let (ending, campaign) = follow(scratch.path(), &mut engine.then(complete), campaign.jobs);
    assert_eq!(ending.unwrap(), Ending::Complete);
    assert_eq!(campaign.jobs.len(), 1, "what was refused is noted once");
    assert!(campaign.jobs[0].id.is_some());
}

#[test]
fn the_state_names_machines_and_reasons_and_many_parts_by_their_number() {
    let mut parts = vec![Pursued::default(); 4];
    parts[0].finding.is_complete = true;
    let waiting = |reason: &str| Spot::Waiting(reason.to_string());
    let spots = [(1, Spot::Running("n1".to_string())), (2, Spot::Running("n2".to_string())), (3, waiting("Priority"))];
    let mut queue = Queue { parts: BTreeMap::from(spots), jobs: Vec::new() };
    queue.parts.insert(4, waiting("None"));
    let told = state(&parts, &queue);
    assert_eq!(told, "1 of 4 parts complete, running: 2 on n2, waiting: 3 (Priority), 4");
    let queue = Queue { parts: (1..=12).map(|part| (part, waiting(""))).collect(), jobs: Vec::new() };
    assert_eq!(state(&vec![Pursued::default(); 12], &queue), "0 of 12 parts complete, waiting: 12");
}

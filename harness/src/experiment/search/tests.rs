use std::collections::BTreeSet;

use relgrad_kernels::Activation;

use super::*;
use crate::experiment::Effort;
use crate::run::interrupt::Events;

/// What `of` makes of a search into `out`.
fn in_context<R>(out: &Path, effort: Effort, sets: &[&str], of: impl FnOnce(&mut Context<'_>) -> R) -> R {
    let sets = sets.iter().map(|name| (*name).to_string()).collect();
    let events = &mut Events::without_signals();
    let images = "mnist".to_string();
    let axes = Vec::new();
    of(&mut Context { out, data: None, images, sets, axes, effort, seed: 3, threads: 1, quiet: true, events })
}

fn all(effort: Effort, sets: &[&str]) -> Vec<TrainingSettings> {
    in_context(Path::new("."), effort, sets, |context| {
        let grid = Grid::of(context).unwrap();
        sets.iter().flat_map(|set| grid.settings(context, set)).collect()
    })
}

#[test]
fn the_grid_has_every_combination_in_one_order() {
    let full = all(Effort::Full, &["power"]);
    assert_eq!((full.len(), all(Effort::Smoke, &["power"]).len()), (3 * 3 * 3 * 2 * 2 * 2, 8));
    assert_eq!(full.iter().map(grid::name).collect::<BTreeSet<_>>().len(), full.len(), "a name each");
    let axes = |settings: &TrainingSettings| (settings.activation, settings.layers, settings.batch, settings.bias);
    let smooth = Activation::SmoothLeaky { alpha: 0.3 };
    assert_eq!(
        [&full[0], &full[1], &full[4]].map(axes),
        [(smooth, 2, 100, true), (smooth, 2, 100, false), (smooth, 2, 500, true)]
    );
    for settings in &full {
        assert_eq!((settings.validate_every, settings.patience, settings.seed), (Some(25), Some(125), 3));
        Recipe::of(settings, 6).unwrap();
    }
}

#[test]
fn axes_that_were_asked_for_take_the_place_of_the_grids() {
    let with = |axes: &[&str]| {
        in_context(Path::new("."), Effort::Smoke, &["power"], |context| {
            context.axes = axes.iter().map(|axis| (*axis).to_string()).collect();
            Grid::of(context).map(|grid| grid.settings(context, "power"))
        })
    };
    let all =
        with(&["layers=1,30", "init=orthogonal,whiten-layers", "schedule=cosine", "bias=no", "epochs=40"]).unwrap();
    assert_eq!(all.len(), 2 * 2 * 2);
    assert_eq!(all.iter().map(grid::name).collect::<BTreeSet<_>>().len(), all.len(), "a name each");
    assert!(all.iter().all(|s| s.epochs == 40 && !s.bias && s.schedule == "cosine" && s.validate_every == Some(2)));
    assert!(
        grid::described(&all[3])
            .ends_with("30 layers, step size 0.001, batches of 100, normal, no biases, whiten-layers, cosine")
    );
    for (axis, told) in [
        ("depth=3", "the axes are activation, layers"),
        ("layers", "write AXIS=VALUES"),
        ("layers=two", "\"two\""),
        ("layers=2,2", "stands twice"),
        ("bias=maybe", "\"maybe\""),
        ("epochs=1,2", "one number from 1 on"),
        ("validate-every=0", "one number from 1 on"),
    ] {
        let refused = with(&[axis]).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("--axis {axis}: ")) && refused.contains(told), "{refused}");
    }
    // One that no training takes is refused before any is handed to a cluster.
    let told = in_context(Path::new("."), Effort::Smoke, &["toy:moons"], |context| {
        context.axes = vec!["layers=2,0".to_string()];
        count(context).unwrap_err().to_string()
    });
    assert!(told.contains("--layers is 0"), "{told}");
    assert!(with(&["layers=1", "layers=2"]).unwrap_err().to_string().contains("--axis layers stands twice"));
}

/// Every setting is in one part, in the order of the grid, and no part takes more than 4/3 of the mean and the longest
/// training.
#[test]
fn parts_are_the_search_and_alike() {
    let all = all(Effort::Full, &["power", "miniboone", "mnist"]);
    let cost = |part: &[TrainingSettings]| part.iter().map(|settings| grid::cost(settings).unwrap()).sum::<f64>();
    let longest = all.iter().map(|settings| grid::cost(settings).unwrap()).fold(0.0, f64::max);
    for of in [1, 2, 7] {
        let parts: Vec<_> = (1..=of).map(|index| dealt(all.clone(), Shard { index, of }).unwrap()).collect();
        let names: BTreeSet<String> = parts.iter().flatten().map(grid::name).collect();
        assert_eq!((names.len(), parts.iter().map(Vec::len).sum::<usize>()), (all.len(), all.len()));
        let place = |settings: &TrainingSettings| all.iter().position(|other| other == settings);
        assert!(parts.iter().all(|part| part.is_sorted_by_key(place)));
        let most = parts.iter().map(|part| cost(part)).fold(0.0, f64::max);
        assert!(most <= 4.0 / 3.0 * longest.max(cost(&all) / of as f64) * (1.0 + 1e-9), "{of}: {most}");
    }
    let told = dealt(all, Shard { index: 1, of: 649 }).unwrap_err().to_string();
    assert!(told.contains("648 trainings, too few for 649 parts"), "{told}");
}

fn tried(mean: f64) -> Option<Tried> {
    let validation = Nats { mean, two_standard_errors: None };
    Some(Tried { validation, best_epoch: 2, epochs: 4, stop: Stop::Complete, seconds: 0.5, threads: 1 })
}

#[test]
fn the_best_is_the_first_of_the_highest_validations() {
    let settings = all(Effort::Smoke, &["toy:moons"]);
    let found = [tried(-2.0), None, tried(-1.0), tried(-1.0), tried(-1e300), None, None, None];
    let tried: Vec<_> = settings.into_iter().zip(found).collect();
    assert_eq!(best(&tried).map(|(settings, _)| settings), Some(&tried[2].0));
    assert_eq!(best(&tried[5..]), None);
}

/// What a follower sees of a part, and what it brings home: results that are whole.
#[test]
fn a_part_is_complete_when_all_its_trainings_are_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let [dir, home] = ["part-1", "home"].map(|name| scratch.path().join(name));
    assert_eq!(progress(&dir), None);
    let folder = in_context(&dir, Effort::Smoke, &["toy:moons"], |c| part(c, Shard { index: 1, of: 4 })).unwrap();
    assert_eq!((progress(&dir), results(&folder).len()), (Some((2, true)), 2));
    collect(&dir, &home).unwrap();
    let names =
        |dir: &Path| results(&dir.join(FOLDER)).iter().map(|p| p.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&home), names(&dir));
    // One digit of a likelihood changes.
    let damaged = &results(&folder)[0];
    let text = fs::read_to_string(damaged).unwrap();
    let at = text.find("\"mean\"").unwrap() + 10;
    let digit = if &text[at..=at] == "1" { "2" } else { "1" };
    fs::write(damaged, format!("{}{digit}{}", &text[..at], &text[at + 1..])).unwrap();
    assert_eq!(progress(&dir), Some((1, false)));
    let before = fs::read(home.join(FOLDER).join(damaged.file_name().unwrap())).unwrap();
    take_over(&dir, &home).unwrap();
    assert_eq!(fs::read(home.join(FOLDER).join(damaged.file_name().unwrap())).unwrap(), before);
    assert_eq!(progress(&home), Some((2, true)), "what was whole stays");
    in_context(&dir, Effort::Smoke, &["toy:moons"], |c| part(c, Shard { index: 1, of: 4 })).unwrap();
    assert_eq!(progress(&dir), Some((2, true)), "what is damaged is trained again");
}

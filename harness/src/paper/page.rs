//! `paper.html` and `paper.md`: every part with its claims, figures, tables and command.

use std::path::{Path, PathBuf};

use relgrad_plots::{Figure as Plot, Format, draw};
use relgrad_reports::export::{Figure, write};
use relgrad_reports::report::{Page, Piece};
use relgrad_reports::run::Machine;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_reports::table::Table;
use relgrad_reports::units::{self, NONE};

use super::evidence::{Evidence, Kept};
use super::parts::{PARTS, Part, Source};
use super::state::{Account, Fate, Ledger};
use crate::error::{Error, Result};
use crate::experiment::Effort;
use crate::outputs;

const TITLE: &str = "The paper’s figures and tables, measured";

const ABOUT: &str = "Gresele, Fissore, Javaloy, Schölkopf and Hyvärinen, Relative gradient optimization of the \
    Jacobian term in unsupervised deep learning, NeurIPS 2020 (arXiv 2006.15090). The paper’s statements are given as \
    numbers and facts in our words. A measurement agrees if its interval has a value that the statement allows: an \
    exponent 0.1 more or less, up to a quarter more memory than the bound, an epoch's ratio within a factor of 1.5.";

/// Writes the page of what there is; returns the path of the HTML.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write_page(dir: &Path, ledger: &Ledger) -> Result<PathBuf> {
    let (mut pieces, mut overview) = (Vec::new(), Vec::new());
    for part in &PARTS {
        let evidence = super::evidence_of(part, dir, ledger.of(part.name));
        let (section, row) = section(part, ledger, &evidence, dir);
        pieces.extend(section);
        overview.push(row);
    }
    let facts = vec![
        ("Paper", ABOUT.to_string()),
        ("Effort", ledger.effort.clone()),
        ("Command", ledger.command.join(" ")),
        ("Begun", ledger.started.clone()),
        ("relgrad", format!("{}, revision {}", ledger.version, ledger.git_revision.as_deref().unwrap_or("unknown"))),
    ];
    let columns = "part | >agrees | >differs | >not measured | results";
    let mut all = vec![Piece::Facts(facts), Piece::Table(Table::new(columns, overview))];
    all.extend(pieces);
    let page = Page { title: TITLE.to_string(), pieces: all };
    let html = dir.join("paper.html");
    for (path, text) in [(html.clone(), page.html()), (dir.join("paper.md"), page.markdown())] {
        write(&path, &text).map_err(|cause| Error::Output(cause.to_string()))?;
    }
    Ok(html)
}

/// The pieces of a part, and its row in the overview.
fn section(part: &Part, ledger: &Ledger, evidence: &Evidence, dir: &Path) -> (Vec<Piece>, Vec<String>) {
    let account = ledger.of(part.name);
    let mut counts = [0; 3];
    let mut row = |claim: super::claims::Claim| {
        let (ours, agreement) = claim.judge(evidence);
        counts[agreement as usize] += 1;
        // An explanation of nothing is none.
        let has_remark = !claim.remark.is_empty() && !matches!(evidence, Evidence::Nothing(_));
        let remark = if has_remark { &claim.remark } else { NONE };
        vec![claim.what, claim.paper, ours, agreement.words().to_string(), remark.to_string()]
    };
    let claims: Vec<_> = (part.claims)().into_iter().map(&mut row).collect();
    let mut pieces =
        vec![Piece::Heading(part.title), Piece::Table(Table::new("statement | the paper | here | | remark", claims))];
    let mut facts = origin(account);
    match evidence {
        Evidence::Sweep(sweep) => {
            let (study, summary) = &**sweep;
            pieces.extend(figures_of_sweep(part, sweep, dir));
            facts.push(("Machine", machine(&study.run.machine)));
            facts.push(("Started", study.run.started.clone()));
            facts.extend(summary.warnings.iter().map(|warning| ("Warning", warning.clone())));
            if account.is_some_and(|account| account.outcome != Fate::Taken) {
                facts.push(("Report", format!("{}/report.html", account.map_or("", |a| &a.folder))));
            }
        }
        Evidence::Experiment(kept) => {
            pieces.extend(figure_of_experiment(part, kept, dir));
            pieces.push(Piece::Table(table_of(kept)));
            pieces.extend(kept.notes.iter().cloned().map(Piece::Paragraph));
            facts.push(("Machine", machine(&kept.machine)));
            facts.push(("Started", format!("{}, took {}", kept.started, units::seconds(kept.seconds))));
        }
        Evidence::Nothing(_) => {}
    }
    if let Some(account) = account.filter(|account| account.outcome == Fate::Failed) {
        let reason = account.reason.as_deref().unwrap_or("it ended without a result");
        let dir = dir.display();
        pieces.push(Piece::Paragraph(format!(
            "Failed: {reason}. Go on with: relgrad paper --resume {dir} --only {}",
            part.name
        )));
    }
    if !facts.is_empty() {
        pieces.push(Piece::Facts(facts));
    }
    pieces.push(Piece::Code(command(part, ledger, evidence)));
    let [agrees, differs, not_measured] = counts.map(|count| count.to_string());
    let results = match account {
        None => "not run yet".to_string(),
        Some(Account { outcome: Fate::Measured, seconds, .. }) => {
            format!("measured in {}", seconds.map_or(NONE.to_string(), units::seconds))
        }
        Some(Account { outcome: Fate::Taken, from, .. }) => {
            format!("taken from {}", from.as_deref().unwrap_or(NONE))
        }
        Some(Account { outcome: Fate::Failed, .. }) => "failed".to_string(),
        Some(Account { outcome: Fate::NotAtHand, .. }) => "not at hand".to_string(),
    };
    (pieces, vec![part.title.to_string(), agrees, differs, not_measured, results])
}

/// The table of an experiment, whatever its file has.
fn table_of(kept: &Kept) -> Table {
    let titles: Vec<String> = kept.table.columns.iter().map(|title| title.replace('|', "/")).collect();
    let row = |cells: &Vec<String>| {
        let mut cells = cells.clone();
        cells.resize(titles.len().max(1), String::new());
        cells
    };
    Table::new(&titles.join(" | "), kept.table.rows.iter().map(row))
}

/// Where the results come from.
fn origin(account: Option<&Account>) -> Vec<(&'static str, String)> {
    let from = account.and_then(|account| account.from.clone()).map(|from| ("Taken from", from));
    let seconds = account.and_then(|account| account.seconds).map(|seconds| ("Took", units::seconds(seconds)));
    from.into_iter().chain(seconds).collect()
}

fn machine(machine: &Machine) -> String {
    let cores = units::counted(machine.logical_cores, "logical core");
    let mut parts = vec![machine.cpu.clone(), cores, machine.simd.clone()];
    parts.push(format!("{} memory", units::bytes(machine.memory_bytes as f64)));
    parts.extend(machine.gpus.iter().cloned());
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// The command behind what is shown; the one to run where nothing is.
fn command(part: &Part, ledger: &Ledger, evidence: &Evidence) -> String {
    let to_run = || {
        let effort = ledger.effort.parse().unwrap_or(Effort::Full);
        std::iter::once("relgrad".to_string()).chain(part.words(effort)).collect()
    };
    let words: Vec<String> = match evidence {
        Evidence::Sweep(sweep) => sweep.0.run.command.clone(),
        Evidence::Experiment(kept) => kept.command.clone(),
        Evidence::Nothing(_) => ledger.of(part.name).map_or_else(to_run, |account| account.command.clone()),
    };
    let program = words.first().and_then(|word| Path::new(word).file_name()).map(|name| name.to_string_lossy());
    let words = program.iter().map(ToString::to_string).chain(words.iter().skip(1).cloned());
    words.collect::<Vec<_>>().join(" ")
}

/// The figures of a sweep that the part shows, drawn anew; one that cannot be drawn says why.
fn figures_of_sweep(part: &Part, (study, summary): &(Study, Summary), dir: &Path) -> Vec<Piece> {
    let Source::Sweep { figures, .. } = part.source else { return Vec::new() };
    let (mut drawn, mut pieces) = (Vec::new(), Vec::new());
    for name in figures {
        let drawing = name.parse::<Plot>().and_then(|plot| Ok((plot, draw(plot, study, summary)?)));
        match drawing {
            Ok((plot, drawing)) => {
                let name = if *name == part.name { (*name).to_string() } else { format!("{}-{name}", part.name) };
                let svg = drawing.svg().to_string();
                let written = outputs::write_drawing(&dir.join("figures"), &name, &drawing, &[Format::Svg]);
                pieces.extend(written.err().map(|cause| Piece::Paragraph(cause.to_string())));
                drawn.push(Figure { name, caption: plot.caption(study, summary), svg, chart: None });
            }
            Err(cause) => pieces.push(Piece::Paragraph(format!("No figure {name}: {cause}."))),
        }
    }
    if !drawn.is_empty() {
        pieces.insert(0, Piece::Figures(drawn));
    }
    pieces
}

fn figure_of_experiment(part: &Part, kept: &Kept, dir: &Path) -> Vec<Piece> {
    let Some(svg) = kept.svg.clone() else {
        return vec![Piece::Paragraph("The drawing of this part was not kept.".to_string())];
    };
    let folder = dir.join("figures");
    let written = std::fs::create_dir_all(&folder).map_err(|cause| cause.to_string());
    let written = written
        .and_then(|()| write(&folder.join(format!("{}.svg", part.name)), &svg).map_err(|cause| cause.to_string()));
    let figure = Figure { name: part.name.to_string(), caption: part.title.to_string(), svg, chart: None };
    let failed = written.err().map(Piece::Paragraph);
    std::iter::once(Piece::Figures(vec![figure])).chain(failed).collect()
}

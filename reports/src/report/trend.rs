//! A history as one page: trends, the runs where a level changed, and every run with its commit.

use std::collections::BTreeMap;

use relgrad_vocabulary::excerpt;
use serde_json::json;

use super::document::Block;
use super::explore;
use super::html::{page, render_block};
use crate::compare::history::{ChangePoint, Entry, Metric, Series};
use crate::export::Figure;
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// Some series of one machine with the figure that shows them, if two of their runs can be compared.
#[derive(Debug, Clone)]
pub struct Trends<'a> {
    /// The series, in the order of the figure's curves.
    pub series: &'a [Series],
    /// Its chart, if it has one, lacks words: the page adds them.
    pub figure: Option<Figure>,
}

/// What a click on a run shows.
const FACTS: [&str; 7] =
    ["commit", "started", "value", "since the first run", "since the run before", "new level", "run"];
/// What stands at the pointer.
const FIRST: [&str; 2] = ["commit", "started"];

/// The page of a metric over runs, one HTML file that needs no other. Series refer to `entries` by their index.
pub fn render(entries: &[Entry], metric: Metric, trends: Vec<Trends<'_>>) -> String {
    let mut cells = BTreeMap::new();
    let (mut figures, mut headings) = (Vec::new(), Vec::new());
    let all: Vec<&Series> = trends.iter().flat_map(|group| group.series).collect();
    for (group, trend) in trends.iter().enumerate() {
        let Some(mut figure) = trend.figure.clone() else { continue };
        let curves = figure.chart.iter_mut().flat_map(|chart| &mut chart.panels).flat_map(|panel| &mut panel.curves);
        for (place, (curve, series)) in curves.zip(trend.series).enumerate() {
            for (i, point) in curve.points.iter_mut().enumerate() {
                let Some(&(run, _)) = series.values.get(i) else { continue };
                let key = format!("{group}/{place}/{run}");
                let facts = facts(entries, metric, series, i);
                point.at = format!("run {}", grouped(run + 1));
                point.text = format!("{}, {} since the first run", facts[2], facts[3]);
                point.cells = vec![key.clone()];
                cells.insert(key, json!({ "label": excerpt(&series.name, 300), "columns": "run", "facts": facts }));
            }
        }
        headings.push(trend.series.first().map_or("", |series| series.machine.as_str()));
        figures.push(figure);
    }
    let mut blocks = vec![Block::Facts(about(entries)), Block::Heading("Trends")];
    for (i, (figure, machine)) in figures.iter().zip(&headings).enumerate() {
        if i == 0 || headings[i - 1] != *machine {
            blocks.push(Block::Subheading(excerpt(machine, 200)));
        }
        blocks.push(Block::Figures(std::slice::from_ref(figure)));
    }
    blocks.push(Block::Heading("Changes of level"));
    blocks.extend(changes(entries, &all));
    blocks.extend([Block::Heading("Series"), Block::Table(levels(metric, &all))]);
    blocks.extend([Block::Heading("Runs"), Block::Table(runs(entries))]);
    let body: String = blocks.iter().map(render_block).collect();
    let data = json!({ "columns": { "run": FACTS }, "cells": cells, "first": FIRST });
    let title = format!("relgrad: {} over {} runs", metric.name().replace('-', " "), grouped(entries.len()));
    page(&title, &body, &explore::elements(data, &explore::charts(&figures)))
}

fn about(entries: &[Entry]) -> Vec<(&'static str, String)> {
    let ends = [entries.first(), entries.last()].map(|entry| entry.map_or(String::new(), |e| e.started.clone()));
    let change = "a change of a series' level by more than 2 %, clearer than in 99 % of the permutations of the \
                  series; three runs or more on each side";
    vec![
        ("Runs", format!("{}, {} to {}", grouped(entries.len()), ends[0], ends[1])),
        ("Change of level", change.into()),
    ]
}

/// What is known of the `i`-th value of a series, in the order of [`FACTS`].
fn facts(entries: &[Entry], metric: Metric, series: &Series, i: usize) -> [String; 7] {
    let (run, value) = series.values[i];
    let entry = &entries[run];
    let since = |other: Option<&(usize, f64)>| other.map_or(String::new(), |(_, before)| percent(value / before));
    let level = series.changes.iter().find(|change| change.index == run).map_or(String::new(), level);
    [
        commit(entry),
        entry.started.clone(),
        interval(metric, series, entry).unwrap_or_else(|| metric.text(value)),
        since(series.values.first()),
        since(i.checked_sub(1).map(|before| &series.values[before])),
        level,
        grouped(run + 1),
    ]
}

/// A time with its interval, which the store has.
fn interval(metric: Metric, series: &Series, entry: &Entry) -> Option<String> {
    let cell = entry.cells.iter().find(|cell| metric == Metric::Time && cell.name() == series.name)?;
    Some(units::seconds_estimate(&cell.seconds))
}

fn commit(entry: &Entry) -> String {
    entry.git_revision.as_deref().map_or(NONE.into(), |revision| excerpt(revision, 60))
}

fn percent(factor: f64) -> String {
    let sign = if factor >= 1.0 { "+" } else { "−" };
    format!("{sign}{}", units::percent((factor - 1.0).abs()))
}

fn level(change: &ChangePoint) -> String {
    format!("{} (p = {:.3})", percent(change.factor), change.probability)
}

fn changes(entries: &[Entry], all: &[&Series]) -> Vec<Block<'static>> {
    let of = |series: &&Series| {
        let name = excerpt(&series.name, 300);
        let row = move |change: &ChangePoint| {
            let entry = &entries[change.index];
            let p = format!("{:.3}", change.probability);
            let factor = percent(change.factor);
            vec![name.clone(), grouped(change.index + 1), commit(entry), entry.started.clone(), factor, p]
        };
        series.changes.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = all.iter().flat_map(of).collect();
    if rows.is_empty() {
        return vec![Block::Paragraph("No series changed its level.".into())];
    }
    vec![Block::Table(Table::new("series | >since run | commit | started | >change | >p", rows))]
}

fn levels(metric: Metric, all: &[&Series]) -> Table {
    let row = |series: &&Series| {
        let (first, last) = (series.values.first(), series.values.last());
        let text = |value: Option<&(usize, f64)>| value.map_or(NONE.into(), |(_, v)| metric.text(*v));
        let change = first.zip(last).map_or(NONE.into(), |((_, a), (_, b))| percent(b / a));
        let counts = [series.values.len(), series.changes.len()].map(grouped);
        let [runs, changes] = counts;
        vec![excerpt(&series.name, 300), runs, text(first), text(last), change, changes]
    };
    Table::new("series | >runs | >first | >last | >change | >changes of level", all.iter().map(row))
}

fn runs(entries: &[Entry]) -> Table {
    let row = |(i, entry): (usize, &Entry)| {
        let machine = excerpt(&entry.machine, 200);
        vec![grouped(i + 1), entry.started.clone(), commit(entry), grouped(entry.cells.len()), machine]
    };
    Table::new(">run | started | commit | >cells | machine", entries.iter().enumerate().map(row))
}

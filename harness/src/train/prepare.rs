//! Before a training begins: whether the precision of training holds the data, and whether a network can be normalised
//! by them.

use relgrad_kernels::Dtype;
use relgrad_kernels::layer::CouplingKind;
use relgrad_reports::training::Provenance;

use super::columns::{self, Columns, Dependent};
use super::recipe::Recipe;
use super::start::Start;
use crate::console::quoted;
use crate::data::DataSet;
use crate::error::{Error, Result};

/// A column whose mean is so many deviations from 0 loses as many digits when it is centred by a bias in f32; it is
/// centred in f64 before.
const FAR: f64 = 256.0;
/// Steps between neighbouring numbers that the deviation of a column should have.
const FINE: f64 = 64.0;
/// Columns that a sentence names.
const NAMED: usize = 8;

/// Moves columns of a file that are far from 0, where the network is to be normalised by them; returns what is to be
/// told of the others. How the columns go in is told with what was read ([`DataSet::told`]).
///
/// # Errors
/// A number beyond the precision of training, with its sample and column; data that cannot be whitened, with the
/// columns to blame.
pub(crate) fn prepare(set: &mut DataSet, recipe: &Recipe) -> Result<Vec<String>> {
    let Recipe { start, dtype, .. } = *recipe;
    require_range(set, dtype)?;
    let eps = spacing(dtype);
    let mut columns = Columns::of(&set.parts.train);
    let mut told = Vec::new();
    if set.provenance != Provenance::Own {
        set.told.push(going_in(&columns, start, &columns.constant(f64::EPSILON), None));
        return Ok(told);
    }
    if start.is_from_data() {
        told.extend(shift(set, &columns, start));
        columns = Columns::of(&set.parts.train);
    }
    let constant = columns.constant(f64::EPSILON);
    if let Some(words) = unscalable(set, &columns, &constant, dtype) {
        if start.is_from_data() {
            return Err(Error::Input(format!("{}: {words}", set.name)));
        }
        told.push(words);
        return Ok(told);
    }
    let (dim, count) = (set.parts.dim(), set.parts.train.count());
    let dependent = if count > dim && (start.whitens() || dim <= columns::MOST_EXAMINED) {
        columns::dependent(&set.parts.train, &columns, eps)
    } else {
        columns::repeated(&set.parts.train, &columns, eps)
    };
    set.told.push(going_in(&columns, start, &constant, Some(&dependent)));
    told.extend(degenerate(set, start, &constant, &dependent)?);
    told.extend(atoms(set, &columns, &constant));
    told.extend(coarse(set, &columns, &constant, recipe));
    Ok(told)
}

/// The columns in a sentence, and what the first network makes of them.
fn going_in(columns: &Columns, start: Start, constant: &[usize], dependent: Option<&[Dependent]>) -> String {
    let varying = || columns.deviation.iter().enumerate().filter(|(j, _)| !constant.contains(j)).map(|(_, x)| *x);
    let extreme = |pick: fn(f64, f64) -> f64| varying().reduce(pick).unwrap_or(0.0);
    let short = |x: f64| if x == 0.0 || (1e-3..1e6).contains(&x) { format!("{x:.3}") } else { format!("{x:.2e}") };
    let count = |found: usize, what: &str| match found {
        0 => format!("none {what}"),
        found => format!("{found} {what}"),
    };
    let repeated = dependent.map_or(String::new(), |found| format!(", {}", count(found.len(), "repeating others")));
    let into = match start {
        Start::Orthogonal | Start::Gaussian => "they go in as they are",
        Start::Standardise => "the first layer begins by standardising them",
        Start::Whiten => "the first layer begins by whitening them",
        Start::StandardiseLayers => "every layer begins by standardising what it receives",
        Start::WhitenLayers => "every layer begins by whitening what it receives",
    };
    format!(
        "columns: deviations from {} to {}, {}{repeated}; {into} (--init {start})",
        short(extreme(f64::min)),
        short(extreme(f64::max)),
        count(constant.len(), "constant")
    )
}

fn spacing(dtype: Dtype) -> f64 {
    if dtype == Dtype::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

fn require_range(set: &DataSet, dtype: Dtype) -> Result<()> {
    if dtype == Dtype::F64 {
        return Ok(());
    }
    if set.parts.given.iter().flatten().any(|u| u.values.iter().any(|u| (*u as f32).is_infinite())) {
        let name = &set.name;
        return Err(Error::Input(format!(
            "{name}: a condition is beyond f32 (3.4e38): take --dtype f64, or rescale it"
        )));
    }
    for (part, samples) in set.parts.each() {
        if let Some(at) = samples.values.iter().position(|x| (*x as f32).is_infinite()) {
            return Err(Error::Input(format!(
                "{}: sample {} of the {part} part, column {}, is {:e}, beyond f32 (3.4e38): take --dtype f64, or \
                 rescale the data",
                set.name,
                at / samples.dim + 1,
                name(set, at % samples.dim),
                samples.values[at]
            )));
        }
    }
    Ok(())
}

/// Subtracts the means that are far from 0, and what constant columns are. Where the start whitens it subtracts all: a
/// direction that is thin beside its columns loses what digits a mean takes.
fn shift(set: &mut DataSet, columns: &Columns, start: Start) -> Option<String> {
    let is_constant = |j: usize| columns.is_constant(j, f64::EPSILON);
    let is_far = |j: &usize| !is_constant(*j) && columns.mean[*j].abs() > FAR * columns.deviation[*j];
    let dim = set.parts.dim();
    let by = |j| match j {
        j if is_constant(j) => columns.middle(j),
        j if is_far(&j) || start.whitens() => columns.mean[j],
        _ => 0.0,
    };
    let by: Vec<f64> = (0..dim).map(by).collect();
    if by.iter().any(|by| *by != 0.0) {
        set.shift(by);
    }
    let far: Vec<usize> = (0..dim).filter(is_far).collect();
    (!far.is_empty()).then(|| {
        let lie = list(set, &far, "lies", "lie");
        format!("{lie} far from 0: the mean is subtracted in f64 first (`shift` in training.json)")
    })
}

/// Columns whose deviation, or what it takes to make it 1, is beyond the numbers of training.
fn unscalable(set: &DataSet, columns: &Columns, constant: &[usize], dtype: Dtype) -> Option<String> {
    let is_beyond = |j: &usize| {
        let scale = 1.0 / columns.deviation[*j];
        let scale = if dtype == Dtype::F32 { f64::from(scale as f32) } else { scale };
        let is_scale = scale.is_finite() && scale > 0.0;
        !(is_scale || constant.contains(j))
    };
    let beyond: Vec<usize> = (0..set.parts.dim()).filter(is_beyond).collect();
    (!beyond.is_empty()).then(|| {
        let vary = list(set, &beyond, "varies", "vary");
        let or = if dtype == Dtype::F32 { ", or take --dtype f64" } else { "" };
        format!("{vary} too little or too much for {dtype}: rescale the data{or}")
    })
}

/// What is to be told, or refused, of columns without a density.
fn degenerate(set: &DataSet, start: Start, constant: &[usize], dependent: &[Dependent]) -> Result<Vec<String>> {
    let (dim, count) = (set.parts.dim(), set.parts.train.count());
    let mut told = Vec::new();
    if count <= dim {
        told.push(format!("{count} training samples of {dim} columns: fewer than it takes to vary in every direction"));
    }
    if !constant.is_empty() {
        let centred = match (start.is_from_data() && !start.whitens(), constant.len()) {
            (false, _) => "",
            (true, 1) => "; it is only centred",
            (true, _) => "; they are only centred",
        };
        told.push(format!("{} constant in the training part{centred}", list(set, constant, "is", "are")));
    }
    let follows = |one: &Dependent| {
        let verb = match one.on[..] {
            [other] if columns::are_equal(&set.parts.train, one.column, other) => "repeats",
            _ => "follows from",
        };
        format!("{} {verb} {} in the training part", columns_of(set, &[one.column]), columns_of(set, &one.on))
    };
    told.extend(dependent.iter().take(NAMED).map(follows));
    if dependent.len() > NAMED {
        told.push(format!("{} more columns are like these", dependent.len() - NAMED));
    }
    if told.is_empty() {
        return Ok(told);
    }
    if start.whitens() {
        return Err(Error::Input(format!(
            "{}: {}: such data cannot be whitened; leave columns out, or choose --init standardise",
            set.name,
            told.join("; ")
        )));
    }
    let advice = "the likelihood grows without bound as training goes on; leave columns out";
    told.push(format!("data like these have no density: {advice}"));
    Ok(told)
}

/// Columns whose values are so few, or so often the same, that there is no density along them. They are scaled as any
/// other.
fn atoms(set: &DataSet, columns: &Columns, constant: &[usize]) -> Vec<String> {
    let no_density = "there is no density, and the likelihood grows without bound as training goes on";
    let atom = |j: usize| {
        let (share, two) = (columns::most_frequent(&set.parts.train, j), columns.has_two_values(&set.parts.train, j));
        let column = columns_of(set, &[j]);
        match two {
            _ if constant.contains(&j) => None,
            true => Some(format!("{column} has 2 different values in the training part: {no_density}")),
            false if share > 0.0 => {
                Some(format!("{column} has one value in {:.4} % of the training part: {no_density}", 100.0 * share))
            }
            false => None,
        }
    };
    let mut told: Vec<String> = (0..set.parts.dim()).filter_map(atom).collect();
    if told.len() > NAMED {
        let more = told.len() - NAMED;
        told.truncate(NAMED);
        told.push(format!("{more} more columns are like these"));
    }
    told
}

/// Columns of which f32 does not tell many values apart.
fn coarse(set: &DataSet, columns: &Columns, constant: &[usize], recipe: &Recipe) -> Option<String> {
    // The spacing of the numbers next to 0.
    const TINY: f64 = 1.4e-45;
    let dtype = recipe.dtype;
    let steps = |j: usize| columns.deviation[j] / (columns.magnitude(j) * spacing(dtype)).max(TINY);
    let is_coarse = |j: &usize| !constant.contains(j) && steps(*j) < FINE;
    let coarse: Vec<usize> = (0..set.parts.dim()).filter(is_coarse).collect();
    (dtype == Dtype::F32 && !coarse.is_empty()).then(|| {
        format!(
            "f32 hardly tells the values of {} apart: take --dtype f64, {}",
            columns_of(set, &coarse),
            match recipe.architecture.coupling {
                CouplingKind::Dense | CouplingKind::Plu | CouplingKind::Qr(_) =>
                    "subtract an offset, or choose --init standardise",
                CouplingKind::Convolution(_) => "or subtract an offset",
            }
        )
    })
}

/// `column 3 is`, or `columns 1 (a), 3 are`.
fn list(set: &DataSet, columns: &[usize], one: &str, many: &str) -> String {
    format!("{} {}", columns_of(set, columns), if columns.len() == 1 { one } else { many })
}

/// `column 3`, or `columns 1 (a), 3`.
fn columns_of(set: &DataSet, columns: &[usize]) -> String {
    let mut names: Vec<String> = columns.iter().take(NAMED).map(|&j| name(set, j)).collect();
    if columns.len() > NAMED {
        names.push(format!("{} more", columns.len() - NAMED));
    }
    format!("column{} {}", if columns.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// The number of a column, the first is 1, and its name where it has one.
fn name(set: &DataSet, j: usize) -> String {
    match set.names.get(j) {
        Some(name) if !name.is_empty() => format!("{} ({})", set.number(j), quoted(name)),
        _ => format!("{}", set.number(j)),
    }
}

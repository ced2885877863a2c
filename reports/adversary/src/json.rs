//! One value of a JSON text becomes another.

use proptest::sample::Index;
use serde_json::{Map, Value, json};

/// How many things [`changed`] can do to a value.
pub(crate) const REPLACEMENTS: usize = 20;

/// `text` with the value at `at`, counted through the tree, changed; `None` where it is no JSON.
pub(crate) fn changed(text: &[u8], at: &Index, other: usize) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(text).ok()?;
    let mut left = at.index(nodes(&value));
    change(&mut value, &mut left, other);
    serde_json::to_vec(&value).ok()
}

fn nodes(value: &Value) -> usize {
    let within: usize = match value {
        Value::Array(values) => values.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    };
    1 + within
}

/// Whether the value was found; `left` is how many values come before it.
fn change(value: &mut Value, left: &mut usize, other: usize) -> bool {
    if *left == 0 {
        replace(value, other);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(values) => values.iter_mut().any(|value| change(value, left, other)),
        Value::Object(fields) => fields.values_mut().any(|value| change(value, left, other)),
        _ => false,
    }
}

fn replace(value: &mut Value, other: usize) {
    *value = match other {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(0),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!(5e-324),
        6 => json!(-1e-9),
        7 => json!(1_000_000_000_000u64),
        8 => json!(""),
        9 => json!("tpu"),
        10 => json!("\u{1b}[31m=1+1\r\n<b>\u{202e}"),
        11 => json!("../../etc/passwd"),
        12 => json!("x".repeat(60_000)),
        13 => json!([]),
        14 => json!({}),
        15 => json!(true),
        16 => return double(value),
        17 => return lose(value),
        18 => json!([null, null]),
        _ => return negate(value),
    };
}

/// An array or text twice as long, a number twice as large.
fn double(value: &mut Value) {
    match value {
        Value::Array(values) => values.extend(values.clone()),
        Value::String(text) => *text = text.repeat(2),
        Value::Number(number) => *value = json!(number.as_f64().unwrap_or(1.0) * 2.0),
        _ => {}
    }
}

/// Without its first element or field.
fn lose(value: &mut Value) {
    match value {
        Value::Array(values) if !values.is_empty() => drop(values.remove(0)),
        Value::Object(fields) => *fields = fields.clone().into_iter().skip(1).collect::<Map<_, _>>(),
        _ => *value = Value::Null,
    }
}

fn negate(value: &mut Value) {
    *value = match value {
        Value::Bool(truth) => json!(!*truth),
        Value::Number(number) => json!(-number.as_f64().unwrap_or(0.0)),
        _ => Value::Null,
    };
}

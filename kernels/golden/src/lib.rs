//! Golden vectors: networks with batches, and the quantities that an independent program computed for them. The crate
//! reads their files, computes the same quantities with every backend, and compares them under the files' tolerances.
//!
//! It is a crate since the kernels know no JSON. The kernels' tests and `relgrad verify` use it.

mod array;
mod case;
mod compare;
mod convolution;
mod dense;
mod node;
mod rivals;
mod steps;
mod tolerance;

use std::ffi::OsStr;
use std::path::Path;

use relgrad_vocabulary::quoted;
use serde_json::Value;

pub use array::{Array, Direction};
pub use case::{Conditional, Golden, Outputs};
pub use compare::{Row, compare, compare_on_gpu};
pub use node::Read;
pub use rivals::{Rivals, compare_rivals};
pub use tolerance::{Conditioning, Tolerances};

use node::Node;
use tolerance::Groups;

/// The schema this reader knows.
const SCHEMA: &str = "relgrad-golden-1";

/// One file.
#[derive(Debug, Clone)]
pub enum Case {
    /// A network that can be compared.
    Network(Box<Golden>),
    /// A network with the numbers of methods of their own.
    Rivals(Box<Rivals>),
    /// A kind of network that relgrad cannot evaluate yet.
    Unsupported {
        /// Name of the case.
        id: String,
        /// What is not supported.
        reason: String,
    },
}

/// What a file can be.
#[derive(Debug, Clone)]
pub enum File {
    /// Names of files beside it.
    Index(Vec<String>),
    /// A case.
    Case(Case),
}

/// Reads a file.
///
/// # Errors
/// Names the field and what is wrong with it.
pub fn parse(text: &[u8]) -> Read<File> {
    let value: Value = serde_json::from_slice(text).map_err(|cause| format!("not JSON: {cause}"))?;
    let root = Node::root(&value);
    match root.child("files").filter(|_| root.child("kind").is_none()) {
        Some(files) => index(&root, &files).map(File::Index),
        None => read(&value).map(File::Case),
    }
}

/// The names that an `index.json` lists.
fn index(root: &Node<'_>, files: &Node<'_>) -> Read<Vec<String>> {
    require_schema(root)?;
    let plain = |name: &str| Path::new(name).file_name() == Some(OsStr::new(name));
    let name = |entry: &Node<'_>| match entry.text()? {
        name if plain(name) => Ok(name.to_string()),
        _ => Err(entry.not("the name of a file beside the index")),
    };
    files.list()?.iter().map(name).collect()
}

fn require_schema(root: &Node<'_>) -> Read<()> {
    let schema = root.field("schema")?;
    match schema.text()? {
        SCHEMA | rivals::SCHEMA => Ok(()),
        _ => Err(schema.not(&format!("{SCHEMA} or {}", rivals::SCHEMA))),
    }
}

fn read(value: &Value) -> Read<Case> {
    let root = Node::root(value);
    require_schema(&root)?;
    if root.field("schema")?.text()? == rivals::SCHEMA {
        return rivals::read(&root);
    }
    let id = quoted(root.field("id")?.text()?);
    let kind = root.field("kind")?;
    match kind.text()? {
        "conv" => convolution::read(&root, id),
        "dense" => dense::read(&root, id),
        _ => Err(kind.not("dense or conv")),
    }
}

/// What the tests' allocations are counted with.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

#[cfg(test)]
mod tests;

//! JSON with its place in the file, so that every complaint names the field.

use relgrad_vocabulary::quoted;
use serde_json::Value;

/// Largest size of anything in a file; products of two or three fit into 64 bits.
const MOST: usize = 10_000_000;

/// A value and the path that leads to it.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    path: String,
}

/// `Result` of reading a field; the error names the field and what is wrong with it.
pub type Read<T> = Result<T, String>;

impl<'a> Node<'a> {
    /// The whole file.
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// A complaint about this field.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> String {
        match self.path.as_str() {
            "" => what.to_string(),
            path => format!("{path}: {what}"),
        }
    }

    /// A field of this object, which must be there.
    pub(crate) fn field(&self, name: &str) -> Read<Self> {
        if !self.value.is_object() {
            return Err(self.wrong("must be an object"));
        }
        let node = self.child(name);
        node.ok_or_else(|| Self { value: self.value, path: self.join(name) }.wrong("is missing"))
    }

    /// A field of this object, if it is there.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        self.value.get(name).map(|value| Self { value, path: self.join(name) })
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// The entries of this list.
    pub(crate) fn list(&self) -> Read<Vec<Self>> {
        let entries = self.value.as_array().ok_or_else(|| self.wrong("must be a list"))?;
        let entry = |(index, value)| Self { value, path: format!("{}[{index}]", self.path) };
        Ok(entries.iter().enumerate().map(entry).collect())
    }

    /// Whether this is `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// A complaint about the text of this field, which it quotes.
    pub(crate) fn not(&self, what: &str) -> String {
        self.wrong(format!("`{}` is not {what}", quoted(self.value.as_str().unwrap_or_default())))
    }

    /// A text.
    pub(crate) fn text(&self) -> Read<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("must be a text"))
    }

    /// True or false.
    pub(crate) fn flag(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("must be true or false"))
    }

    /// A finite number.
    pub(crate) fn number(&self) -> Read<f64> {
        let number = self.value.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong("must be a finite number"))
    }

    /// A size: a whole number from 1 to [`MOST`].
    pub(crate) fn count(&self) -> Read<usize> {
        let count = self.value.as_u64().and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=MOST).contains(count));
        count.ok_or_else(|| self.wrong(format!("must be a whole number from 1 to {MOST}")))
    }

    /// A place among `count`, from 0.
    pub(crate) fn index(&self, count: usize) -> Read<usize> {
        let index = self.value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < count);
        index.ok_or_else(|| self.wrong(format!("must be a whole number from 0 to {}", count.saturating_sub(1))))
    }

    /// The names and values of this object.
    pub(crate) fn entries(&self) -> Read<Vec<(&'a str, Self)>> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("must be an object"))?;
        let entry =
            |(name, value): (&'a String, &'a Value)| (name.as_str(), Self { value, path: self.join(&quoted(name)) });
        Ok(object.iter().map(entry).collect())
    }
}

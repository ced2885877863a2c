//! What has a spelling: enums of plain names, and how names stand in a file.

/// Writes a type as its `Display` spells it and reads it by its `FromStr`, with the feature `serde`.
macro_rules! spelt {
    ($type:ty) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Declares an enum whose variants are names, each spelt once: on the command line, in records and in tables.
#[macro_export]
macro_rules! names {
    ($(#[$about:meta])* $type:ident, $kind:literal, { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl $type {
            /// Every one, in the order in which lists show them.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];
            /// Their names.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Unknown;

            fn from_str(text: &str) -> Result<Self, $crate::Unknown> {
                let found = Self::ALL.into_iter().find(|known| known.name() == text);
                found.ok_or_else(|| $crate::Unknown::new($kind, text, Self::NAMES.join(", ")))
            }
        }
    };
}

pub(crate) use spelt;

#[cfg(test)]
mod tests {
    use crate::{Method, Unknown};

    #[test]
    fn every_name_reads_back_and_others_are_told_what_there_is() {
        assert!(Method::ALL.iter().all(|method| method.to_string().parse() == Ok(*method)));
        let told = Unknown::new("method", "magic", Method::NAMES.join(", "));
        assert_eq!("magic".parse::<Method>(), Err(told));
    }
}

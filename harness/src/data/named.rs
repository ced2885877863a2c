//! Lists of names: what a word on the command line or in a file may be.

/// An enum of named variants: `ALL`, `NAMES`, `name`, `Display`, and `FromStr` whose error lists the names.
macro_rules! named {
    ($(#[$attribute:meta])* enum $type:ident: $kind:literal {
        $($(#[$note:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $type { $($(#[$note])* $variant,)+ }

        impl $type {
            /// Every one.
            #[allow(dead_code, reason = "not every list is gone through")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The names.
            pub(crate) const NAMES: &'static [&'static str] = &[$($name),+];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> $crate::error::Result<Self> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::data::named::unknown($kind, text, Self::NAMES)),
                }
            }
        }
    };
}
pub(crate) use named;

use crate::console::quoted;
use crate::error::Error;

/// The error of a word that is none of `names`.
pub(crate) fn unknown(kind: &str, text: &str, names: &[&str]) -> Error {
    Error::Usage(format!("unknown {kind} `{}`: choose one of {}", quoted(text), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use crate::data::text::Header;
    use crate::data::toy::Toy;
    use crate::experiment::Effort;
    use crate::train::recipe::Optimizer;
    use crate::train::start::Start;

    #[test]
    fn every_name_reads_back_and_others_are_told_what_there_is() {
        macro_rules! check {
            ($($type:ident)+) => {$(
                for one in $type::ALL {
                    assert_eq!(one.to_string().parse::<$type>().unwrap(), *one);
                }
                let told = "whitening".parse::<$type>().unwrap_err().to_string();
                assert!(told.contains("`whitening`") && told.contains($type::NAMES[1]), "{told}");
            )+};
        }
        check!(Header Toy Effort Optimizer Start);
    }
}

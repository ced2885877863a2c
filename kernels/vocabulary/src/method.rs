//! What can be measured: the methods, and the kernels next to them.

use std::fmt;
use std::str::FromStr;

use crate::Unknown;
use crate::names;
use crate::spelt::spelt;

names! {
    /// A way to a gradient (or a gradient step), by the name that the command line, records and figures use.
    Method, "method", {
        /// Relative gradient \[M11\], \[M13\]–\[M14\].
        Relative = "relative",
        /// Transposed relative gradient \[M12\], \[M15\].
        Transposed = "transposed",
        /// Back-propagation and explicit inverses \[M9\]: the first baseline.
        Ordinary = "ordinary",
        /// Full Jacobians, all of the batch in memory \[M20\]–\[M21\]: the second baseline.
        Autodiff = "autodiff",
        /// Full Jacobians, a few at a time.
        AutodiffStreamed = "autodiff-streamed",
        /// Relative gradient applied as it is computed, none stored \[M16\].
        RelativeInPlace = "relative-inplace",
        /// The same, its updates kept as factors for some steps \[M80\].
        RelativeDelayed = "relative-delayed",
        /// The ordinary gradient, its inverses refreshed by products from the last step's \[M41\].
        NewtonSchulz = "newton-schulz",
        /// Relative steps in place, with every inverse and log-determinant carried along \[M29\]–\[M30\].
        RelativeCarried = "relative-carried",
        /// Ordinary steps in the mean, by a sketch of every W⁻ᵀ whose inverse is carried along \[M35\], \[M37\].
        OrdinaryCarried = "ordinary-carried",
        /// Layers of their own, W = P L U \[M50\]–\[M52\], and the gradient in their numbers.
        Plu = "plu",
        /// The same with W = Q U, Q a product of reflections \[M53\]–\[M56\].
        Qr = "qr",
        /// The ordinary gradient, its inverses known by their products with random probes \[M62\].
        Hutchinson = "hutchinson",
        /// Full Jacobians by reverse mode \[M66\]–\[M67\], all of the batch in memory.
        AutodiffReverse = "autodiff-reverse",
        /// A step of half of the likelihood each in W and in an inverse that is learned \[M46\].
        SelfNormalizing = "self-normalizing",
        /// A step of the likelihood through a decoder that is learned \[M58\].
        FreeForm = "free-form",
    }
}

spelt!(Method);

impl Method {
    /// The methods that the speed-ups of the others are over.
    pub const BASELINES: [Self; 2] = [Self::Ordinary, Self::Autodiff];

    /// Whether its steps stay in the layers' set of matrices, which must then be closed under products: the relative
    /// methods.
    pub const fn needs_group(self) -> bool {
        matches!(self, Self::Relative | Self::Transposed | Self::RelativeInPlace | Self::RelativeDelayed)
    }

    /// Whether it is for dense layers alone.
    pub const fn needs_dense(self) -> bool {
        matches!(self, Self::RelativeDelayed | Self::NewtonSchulz | Self::Hutchinson)
            || self.has_own_layers()
            || self.keeps_state()
    }

    /// Whether only a CPU has it.
    pub const fn needs_cpu(self) -> bool {
        matches!(self, Self::RelativeDelayed | Self::AutodiffReverse) || self.has_own_layers() || self.keeps_state()
    }

    /// Whether it factors the dense layers and moves the factors.
    pub const fn has_own_layers(self) -> bool {
        matches!(self, Self::Plu | Self::Qr)
    }

    /// Whether one evaluation of it is a step: it stores no gradient.
    pub const fn is_step(self) -> bool {
        matches!(self, Self::RelativeInPlace | Self::RelativeDelayed) || self.keeps_state()
    }

    /// Whether it keeps numbers beside the weights, which each step advances with them.
    pub const fn keeps_state(self) -> bool {
        matches!(self, Self::RelativeCarried | Self::OrdinaryCarried | Self::SelfNormalizing | Self::FreeForm)
    }

    /// The method without shortcuts whose direction it computes, or estimates.
    pub const fn direction(self) -> Self {
        match self {
            Self::Relative | Self::RelativeInPlace | Self::RelativeDelayed | Self::RelativeCarried => Self::Relative,
            Self::Transposed => Self::Transposed,
            _ => Self::Ordinary,
        }
    }

    /// What it is, in a phrase.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Relative => "relative gradient, stored: no inverse, O(N·D²)",
            Self::Transposed => "transposed relative gradient, stored: no inverse, O(N·D²)",
            Self::Ordinary => "back-propagation and the explicit inverse of every weight, O(D³)",
            Self::Autodiff => "full Jacobian of every sample by forward mode, all in memory, O(N·D³)",
            Self::AutodiffStreamed => "full Jacobians, a few samples at a time, O(N·D³)",
            Self::RelativeInPlace => "relative gradient step applied in place, no gradient stored, O(N·D²)",
            Self::NewtonSchulz => "`ordinary` with inverses refreshed by products, step by step, O(D³)",
            Self::RelativeCarried => "`relative-inplace` with every W⁻¹ and log|det W| carried along, O(N·D²)",
            Self::OrdinaryCarried => "`ordinary` in the mean, by N columns of a carried W⁻ᵀ a step, O(N·D²)",
            Self::Plu => "layers W = P L U: the gradient of the factors, no inverse, O(N·D²)",
            Self::Qr => "layers W = Q U with D−1 reflections: the gradient of the factors, no inverse, O(N·D²)",
            Self::AutodiffReverse => "full Jacobian of every sample by reverse mode, all in memory, O(N·D³)",
            Self::SelfNormalizing => "a step of W and of an inverse that is learned beside it, O(N·D²)",
            Self::FreeForm => "a step of the network and of a learned decoder, O(N·D²)",
            Self::Hutchinson => "`ordinary` with inverses sketched by random probes, O(N·D²)",
            Self::RelativeDelayed => "the same for few samples: updates kept as factors for √(D/2N) steps, O(N·D²)",
        }
    }
}

names! {
    /// A kernel whose time says how fast the machine is at the moment: measured in turn with the methods, at the same
    /// point.
    Kernel, "calibration kernel", {
        /// The matrix product W X of a cell's shape, (D×D)·(D×N), by faer itself, whatever the methods use.
        Gemm = "gemm",
        /// A copy of one D×D matrix.
        Copy = "copy",
    }
}

spelt!(Kernel);

/// What a record measured: a method, or a kernel that methods are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A gradient.
    Method(Method),
    /// A calibration kernel.
    Kernel(Kernel),
}

impl Subject {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Method(method) => method.name(),
            Self::Kernel(kernel) => kernel.name(),
        }
    }

    /// The method, where it is one.
    pub const fn method(self) -> Option<Method> {
        match self {
            Self::Method(method) => Some(method),
            Self::Kernel(_) => None,
        }
    }

    /// Whether it is a calibration kernel.
    pub const fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel(_))
    }

    /// Whether it is a method that the speed-ups of others are over.
    pub fn is_baseline(self) -> bool {
        self.method().is_some_and(|method| Method::BASELINES.contains(&method))
    }
}

impl From<Method> for Subject {
    fn from(method: Method) -> Self {
        Self::Method(method)
    }
}

impl From<Kernel> for Subject {
    fn from(kernel: Kernel) -> Self {
        Self::Kernel(kernel)
    }
}

impl TryFrom<Subject> for Method {
    type Error = Unknown;

    fn try_from(subject: Subject) -> Result<Self, Unknown> {
        subject.method().map_or_else(|| subject.name().parse(), Ok)
    }
}

impl TryFrom<Subject> for Kernel {
    type Error = Unknown;

    fn try_from(subject: Subject) -> Result<Self, Unknown> {
        match subject {
            Subject::Kernel(kernel) => Ok(kernel),
            Subject::Method(method) => method.name().parse(),
        }
    }
}

impl PartialEq<Method> for Subject {
    fn eq(&self, method: &Method) -> bool {
        self.method() == Some(*method)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Subject {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        text.parse().map(Self::Kernel).or_else(|_| text.parse().map(Self::Method))
    }
}

spelt!(Subject);

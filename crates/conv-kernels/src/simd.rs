//! The kernels that need `unsafe`: vectors of each instruction set, one file a set, and the tiles written over them.
//!
//! A kernel is an [`Op`]: written once over the trait [`Simd`], compiled once for each set. A plan asks the CPU once
//! which set to use, and keeps the answer, an [`Isa`].

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
pub(crate) mod channels;
pub(crate) mod gemm;
pub(crate) mod gradient;
pub(crate) mod machine;
pub(crate) mod plane;
pub(crate) mod pool;
pub(crate) mod portable;
pub(crate) mod product;
pub(crate) mod tiles;
pub(crate) mod vector;
pub(crate) mod winograd;

use std::env;
use std::sync::OnceLock;

pub(crate) use vector::{Op, Simd};

use crate::KernelError;

/// The environment variable that forces an instruction set, by its name.
const VARIABLE: &str = "CONV_ISA";

/// The most lanes that any vector here has.
pub(crate) const MAX_VECTOR: usize = 8;

/// The instruction set that a plan's kernels use.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// What every CPU has.
    Portable(portable::Portable),
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Isa {
    /// The best set that this CPU has, or the one that the environment variable `CONV_ISA` asks for; asked once.
    pub(crate) fn detect() -> Result<Self, KernelError> {
        static DETECTED: OnceLock<Result<Isa, KernelError>> = OnceLock::new();
        let select = || {
            let forced = env::var_os(VARIABLE);
            Self::select(forced.as_ref().map(|name| name.to_string_lossy()).as_deref())
        };
        DETECTED.get_or_init(select).clone()
    }

    fn select(forced: Option<&str>) -> Result<Self, KernelError> {
        let mut available = Self::available();
        match forced {
            None | Some("") => Ok(available.next().unwrap_or(Self::Portable(portable::Portable))),
            Some(name) => available.find(|isa| isa.name() == name).ok_or_else(|| KernelError::InstructionSet {
                variable: VARIABLE,
                got: name.to_owned(),
                available: Self::available().map(Self::name).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// What this CPU has, the best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = avx2::Avx2::detect().map(Self::Avx2);
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = None;
        vectors.into_iter().chain([Self::Portable(portable::Portable)])
    }

    /// `portable`, `avx2`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
        }
    }

    /// Whether its tiles outrun `matrixmultiply`, which has vectors of its own.
    pub(crate) fn is_fast(self) -> bool {
        !matches!(self, Self::Portable(_))
    }

    /// Elements of type `T` in one of its vectors.
    pub(crate) fn lanes<T>(self) -> usize {
        let bytes = match self {
            Self::Portable(_) => portable::BYTES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => 32,
        };
        bytes / size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_forced_by_name() {
        assert_eq!(Isa::select(Some("portable")).map(Isa::name), Ok("portable"));
        let best = Isa::select(None).map(Isa::name);
        assert_eq!(Isa::select(Some("")).map(Isa::name), best);
        let all = Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ");
        assert_eq!(
            Isa::select(Some("mmx")).unwrap_err().to_string(),
            format!(
                "CONV_ISA asks for the instruction set \"mmx\", which is not available: use one of {all}, or unset it"
            ),
        );
    }
}

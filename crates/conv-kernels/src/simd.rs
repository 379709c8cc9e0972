//! The kernels that need `unsafe`: vectors of each instruction set, one file a set, and the tiles written over them.
//!
//! A kernel is an [`Op`]: written once over the trait [`Simd`], compiled once for each set. A plan asks the CPU once
//! which set to use, and keeps the answer, an [`Isa`]. A new set is a new file here, with a token that is a [`Set`], and
//! a line in the table below.

pub(crate) mod channels;
pub(crate) mod gemm;
pub(crate) mod gradient;
pub(crate) mod images;
pub(crate) mod machine;
pub(crate) mod plane;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod rows;
pub(crate) mod squares;
pub(crate) mod tiles;
pub(crate) mod vector;
pub(crate) mod winograd;

use std::env;
use std::sync::OnceLock;

pub(crate) use vector::{Op, Set, Simd};

use crate::{KernelError, Scalar};

/// The environment variable that forces an instruction set, by its name.
const VARIABLE: &str = "CONV_ISA";

/// Makes of a table of sets, each a file and the token in it, their modules, and all that asks which sets there are.
macro_rules! sets {
    ($($(#[$cfg:meta])* $file:ident::$set:ident;)*) => {
        $($(#[$cfg])* mod $file;)*

        /// The instruction set that a plan's kernels use.
        #[derive(Clone, Copy, Debug)]
        pub enum Isa {
            $($(#[$cfg])* $set($file::$set),)*
        }

        impl Isa {
            /// What this CPU has, the best first.
            pub(crate) fn available() -> impl Iterator<Item = Self> {
                [$($(#[$cfg])* $file::$set::detect().map(Self::$set),)*].into_iter().flatten()
            }

            /// What `CONV_ISA` calls it.
            pub(crate) fn name(self) -> &'static str {
                match self { $($(#[$cfg])* Self::$set(_) => $file::$set::NAME,)* }
            }

            /// Whether its tiles outrun `matrixmultiply`, which has vectors of its own.
            pub(crate) fn is_fast(self) -> bool {
                match self { $($(#[$cfg])* Self::$set(_) => $file::$set::IS_FAST,)* }
            }

            /// Bytes of one of its vectors.
            fn bytes(self) -> usize {
                match self { $($(#[$cfg])* Self::$set(_) => $file::$set::BYTES,)* }
            }

            /// How many vectors the registers hold.
            pub(crate) fn registers(self) -> usize {
                match self { $($(#[$cfg])* Self::$set(_) => <$file::$set as Set>::REGISTERS,)* }
            }

            /// The pieces of a vector of pixels.
            pub(crate) fn pieces(self) -> usize {
                match self { $($(#[$cfg])* Self::$set(_) => <$file::$set as Set>::PIECES,)* }
            }

            /// Runs a kernel, compiled for this set.
            pub(crate) fn run<T: Scalar>(self, op: impl Op<T>) {
                match self { $($(#[$cfg])* Self::$set(set) => T::run_with(set, op),)* }
            }
        }

        /// The most lanes that any vector here has.
        pub(crate) const MAX_VECTOR: usize = {
            let mut most = 0;
            $($(#[$cfg])* if most < $file::$set::BYTES { most = $file::$set::BYTES; })*
            most / size_of::<f32>()
        };
    };
}

// The instruction sets, the best first.
sets! {
    #[cfg(target_arch = "x86_64")] avx512::Avx512;
    #[cfg(target_arch = "x86_64")] avx2::Avx2;
    portable::Portable;
    #[cfg(test)] wide::Wide;
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

    /// Elements of type `T` in a piece of a vector.
    pub(crate) fn piece<T>(self) -> usize {
        self.lanes::<T>() / self.pieces()
    }

    /// The most rows of a tile that is two vectors wide, and of one that is one vector wide.
    pub(crate) fn most_rows(self) -> [usize; 2] {
        tiles::most_rows(self.registers())
    }

    /// Elements of type `T` in one of its vectors.
    pub(crate) fn lanes<T>(self) -> usize {
        self.bytes() / size_of::<T>()
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

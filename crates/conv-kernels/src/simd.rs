//! The kernels that need `unsafe`, each behind a safe function; one file an instruction set.

pub(crate) mod portable;

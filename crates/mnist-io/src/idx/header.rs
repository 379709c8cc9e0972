//! The header: what the file promises, checked before anything is allocated for it.

use std::io::{self, Read};

use super::{ElementType, IdxProblem, MAX_RANK};

#[derive(Debug)]
pub(super) struct Header {
    pub(super) element: ElementType,
    pub(super) sizes: Vec<u32>,
    /// The sizes again, as an array wants them.
    pub(super) shape: Vec<usize>,
    /// Number of elements.
    pub(super) count: usize,
}

impl Header {
    pub(super) fn read(input: &mut impl Read) -> Result<Self, IdxProblem> {
        let start: [u8; 4] = take(input, 0)?;
        let [zero0, zero1, code, rank] = start;
        if (zero0, zero1) != (0, 0) {
            return Err(IdxProblem::Magic { start });
        }
        let element = ElementType::from_code(code).ok_or(IdxProblem::ElementType { code })?;
        if !(1..=MAX_RANK).contains(&usize::from(rank)) {
            return Err(IdxProblem::Rank { rank });
        }
        let sizes = (0..u64::from(rank))
            .map(|axis| take(input, 4 + 4 * axis).map(u32::from_be_bytes))
            .collect::<Result<Vec<u32>, _>>()?;
        Self::promised(element, sizes)
    }

    /// Checks that the sizes can be addressed at all. Sizes of zero do not excuse the others: an array's strides
    /// are made of the sizes that are not zero.
    fn promised(element: ElementType, sizes: Vec<u32>) -> Result<Self, IdxProblem> {
        let bytes = sizes
            .iter()
            .filter(|&&n| n != 0)
            .try_fold(element.size(), |product, &n| product.checked_mul(usize::try_from(n).ok()?))
            .filter(|&bytes| isize::try_from(bytes).is_ok());
        let Some(bytes) = bytes else {
            return Err(IdxProblem::Overflow { shape: sizes, element });
        };
        let count = if sizes.contains(&0) { 0 } else { bytes / element.size() };
        let shape = sizes.iter().map(|&n| n as usize).collect();
        Ok(Self { element, sizes, shape, count })
    }

    /// Bytes that the header takes.
    pub(super) fn length(&self) -> u64 {
        4 + 4 * self.sizes.len() as u64
    }

    /// Bytes that the header promises after itself.
    pub(super) fn payload(&self) -> u64 {
        (self.count * self.element.size()) as u64
    }

    pub(super) fn truncated(&self, found: u64) -> IdxProblem {
        IdxProblem::Truncated { shape: self.sizes.clone(), element: self.element, found }
    }

    pub(super) fn trailing(&self) -> IdxProblem {
        IdxProblem::Trailing {
            shape: self.sizes.clone(),
            element: self.element,
            offset: self.length() + self.payload(),
        }
    }
}

/// The next `N` bytes of the header, which begin at `offset`.
fn take<const N: usize>(input: &mut impl Read, offset: u64) -> Result<[u8; N], IdxProblem> {
    let mut bytes = [0; N];
    let got = fill(input, &mut bytes).map_err(|error| IdxProblem::Read { offset, error })?;
    if got < N {
        return Err(IdxProblem::Header { length: offset + got as u64 });
    }
    Ok(bytes)
}

/// Reads until `buffer` is full or the input ends; says how many bytes there were.
pub(super) fn fill(input: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match input.read(buffer) {
            Ok(0) => break,
            Ok(n) => buffer = buffer.get_mut(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

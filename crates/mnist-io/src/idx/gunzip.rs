//! Gzip, strictly: every checksum is checked, and nothing may follow that is not gzip.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decompresses all members of a gzip file. Unlike flate2's decoders it tells the three ways of being damaged
/// apart, by the kind of its errors: cut short is [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), damaged is
/// [`InvalidInput`](io::ErrorKind::InvalidInput) or [`InvalidData`](io::ErrorKind::InvalidData), and followed by
/// something else carries [`TrailingGarbage`].
pub(super) struct Gunzip<R: BufRead> {
    /// Empty only after an error.
    member: Option<GzDecoder<R>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the gzip data are followed by something else")]
pub(super) struct TrailingGarbage;

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            // The member is complete and its checksum was right. What follows?
            match member.get_mut().fill_buf()?.first() {
                None => return Ok(0),
                Some(0x1f) => self.member = self.member.take().map(|done| GzDecoder::new(done.into_inner())),
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingGarbage)),
            }
        }
        Ok(0)
    }
}

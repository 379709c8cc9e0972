//! How numbers and digests are written in messages.

/// `47040000` as `47,040,000`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `[60000, 28, 28]` as `60000x28x28`, the way IDX sizes are written.
pub(crate) fn by<N: ToString>(shape: &[N]) -> String {
    let sizes: Vec<String> = shape.iter().map(N::to_string).collect();
    sizes.join("x")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the first bytes of a file that is not an IDX file look like, for the reader of the message.
pub(crate) fn looks_like(start: &[u8]) -> &'static str {
    match start {
        [0x1f, 0x8b, ..] => " (it looks like gzip inside gzip)",
        [b'<', ..] => " (it looks like an HTML page)",
        [b'P', b'K', ..] => " (it looks like a zip archive)",
        [0x89, b'P', b'N', b'G'] => " (it looks like a PNG image)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (47_040_000, "47,040,000"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(thousands(n), text);
        }
    }

    #[test]
    fn shapes_and_digests() {
        assert_eq!(by(&[60000, 28, 28]), "60000x28x28");
        assert_eq!(hex(&[0, 0xAB, 0x10]), "00ab10");
    }
}

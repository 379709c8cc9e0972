//! Parsers of arguments that several binaries take.

/// How long to measure something for, in seconds: 0 to an hour.
///
/// # Errors
///
/// A message for the user, who sees the argument's name and value before it.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("must be 0 to 3600".to_owned()) }
}

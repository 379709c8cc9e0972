//! The layers to measure: suites of named convolutions, in a JSON file that other libraries' benches read as well.

use std::fmt;
use std::marker::PhantomData;

use anyhow::{Context, Result, bail, ensure};
use conv_kernels::Conv2dShape;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The suites that come with this package.
pub const SUITES: &str = include_str!("../shapes.json");

/// What the numbers of a layer are, in this order.
const FIELDS: [&str; 11] = ["N", "Cin", "H", "W", "Cout", "KH", "KW", "stride", "padding", "dilation", "groups"];

/// One convolution of a suite.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The suite that it is in.
    pub suite: String,
    /// Its name in the suite.
    pub name: String,
    /// Images.
    pub batch: usize,
    /// The geometry of one image.
    pub shape: Conv2dShape,
}

impl Layer {
    /// Floating-point operations of one pass by the definition: two for each multiply-add.
    #[must_use]
    pub fn flops(&self) -> f64 {
        2.0 * self.shape.macs() as f64 * self.batch as f64
    }
}

/// The layers of `suite` (`all`: of every suite) in a text like [`SUITES`], in the order of the text.
///
/// # Errors
///
/// If the text is not such JSON, has no such suite, or a layer is impossible: the message names the entry.
///
/// ```
/// use overlay_benches::shapes::layers;
/// let text = r#"{"tiny": {"first": [2, 1, 6, 5, 4, 3, 3, 1, 0, 1, 1]}}"#;
/// let layers = layers(text, "tiny")?;
/// assert_eq!((layers[0].batch, layers[0].shape.output()), (2, [4, 3]));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn layers(text: &str, suite: &str) -> Result<Vec<Layer>> {
    let Ordered(sections) = serde_json::from_str::<Ordered<Section>>(text)?;
    let mut suites = Vec::new();
    for (name, section) in sections {
        match section {
            Section::Remark(_) => {}
            Section::Suite(Ordered(entries)) => suites.push((name, entries)),
        }
    }
    let names = suites.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    suites.retain(|(name, _)| suite == "all" || name == suite);
    ensure!(!suites.is_empty(), "no suite {suite:?}: there are {names}; or take \"all\"");

    let all = suites.into_iter().flat_map(|(suite, entries)| {
        entries.into_iter().map(move |(name, numbers)| {
            layer(&suite, &name, &numbers).with_context(|| format!("suite {suite:?}, layer {name:?}"))
        })
    });
    all.collect()
}

/// One entry of a suite.
fn layer(suite: &str, name: &str, numbers: &Value) -> Result<Layer> {
    let Ok(list) = Vec::<Value>::deserialize(numbers) else {
        bail!("expected [{}] (got {numbers})", FIELDS.join(", "));
    };
    ensure!(
        list.len() == FIELDS.len(),
        "expected {} numbers, [{}] (got {})",
        FIELDS.len(),
        FIELDS.join(", "),
        list.len()
    );
    let mut numbers = [0; FIELDS.len()];
    for ((number, value), field) in numbers.iter_mut().zip(&list).zip(FIELDS) {
        let Some(whole) = value.as_u64().and_then(|whole| usize::try_from(whole).ok()) else {
            bail!("{field} must be a whole number (got {value})");
        };
        *number = whole;
    }
    let [batch, inputs, height, width, outputs, kernel_height, kernel_width, stride, padding, dilation, groups] =
        numbers;
    ensure!(batch > 0, "N, the batch, must be at least 1");
    let shape = Conv2dShape::builder(inputs, outputs, [height, width], [kernel_height, kernel_width])
        .stride([stride, stride])
        .padding(padding)
        .dilation([dilation, dilation])
        .groups(groups)
        .build()?;
    shape.input_dim(batch)?;
    shape.output_dim(batch)?;
    Ok(Layer { suite: suite.to_owned(), name: name.to_owned(), batch, shape })
}

/// What stands beside a name at the top of the file.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a suite: {\"layer\": [N, Cin, H, W, Cout, KH, KW, stride, padding, dilation, groups], …}"
)]
enum Section {
    Remark(#[expect(dead_code, reason = "remarks are for people who read the file")] String),
    Suite(Ordered<Value>),
}

/// A JSON object whose entries keep their order.
struct Ordered<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of named entries")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Ordered<V>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_are_possible_and_in_order() {
        let all = layers(SUITES, "all").unwrap();
        assert_eq!((all[0].suite.as_str(), all[0].name.as_str()), ("mnist", "nielsen.conv1"));
        assert_eq!(all[0].flops(), 2.0 * 64.0 * 20.0 * 24.0 * 24.0 * 25.0);
        let mnist = layers(SUITES, "mnist").unwrap();
        assert!(mnist.len() < all.len() && mnist.iter().all(|layer| layer.suite == "mnist"));
    }

    #[test]
    fn refusals_name_the_entry_and_what_is_wrong() {
        for (text, expected) in [
            (r#"{"a": {}}"#, r#"no suite "s": there are a; or take "all""#),
            (r#"{"s": {"l": 7}}"#, r#"suite "s", layer "l": expected [N, Cin, H,"#),
            (r#"{"s": {"l": [1, 2]}}"#, r#"suite "s", layer "l": expected 11 numbers, [N, Cin, H,"#),
            (r#"{"s": {"l": [1,1,5,5,1,"3",3,1,0,1,1]}}"#, r#"layer "l": KH must be a whole number (got "3")"#),
            (r#"{"s": {"l": [1,1,5,5,1,3,3,-1,0,1,1]}}"#, r#"layer "l": stride must be a whole number (got -1)"#),
            (r#"{"s": {"l": [0,1,5,5,1,3,3,1,0,1,1]}}"#, r#"layer "l": N, the batch, must be at least 1"#),
            (r#"{"s": {"l": [1,1,5,5,1,9,9,1,0,1,1]}}"#, "more than the padded input 5x5"),
            (r#"{"s": {"l": [1,1,5,5,1,3,3,1,0,1,2]}}"#, "group"),
            (r#"{"s": 5}"#, "expected a suite: {"),
            ("{", "EOF while parsing"),
        ] {
            let message = format!("{:#}", layers(text, "s").unwrap_err());
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}

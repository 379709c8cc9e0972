//! The recipes that come with the program.

macro_rules! bundled {
    ($name:literal) => {
        ($name, include_str!(concat!("../../recipes/", $name, ".toml")))
    };
}

/// Names and files, in the order in which they are listed.
pub(crate) const BUNDLED: &[(&str, &str)] = &[
    bundled!("default"),
    bundled!("fast"),
    bundled!("best"),
    bundled!("tiny"),
    bundled!("fashion"),
    bundled!("sigmoid"),
    bundled!("mlp"),
    bundled!("nielsen-ch1-30"),
    bundled!("nielsen-ch1-100"),
    bundled!("nielsen-ch3-30"),
    bundled!("nielsen-ch3-100"),
    bundled!("nielsen-ch3-30-overfit"),
    bundled!("nielsen-ch3-30-overfit-decay"),
    bundled!("nielsen-ch3-30-decay"),
    bundled!("nielsen-ch3-100-decay"),
    bundled!("nielsen-ch3-100-best"),
    bundled!("nielsen-ch3-30-large"),
    bundled!("nielsen-ch3-30-small"),
    bundled!("nielsen-ch3-100-large"),
    bundled!("nielsen-ch3-100-small"),
    bundled!("nielsen-ch3-30-eta"),
    bundled!("nielsen-ch3-30-wrong"),
    bundled!("nielsen-ch5-1"),
    bundled!("nielsen-ch5-2"),
    bundled!("nielsen-ch5-3"),
    bundled!("nielsen-ch5-4"),
    bundled!("nielsen-ch6-0"),
    bundled!("nielsen-ch6-1"),
    bundled!("nielsen-ch6-2"),
    bundled!("nielsen-ch6-3"),
    bundled!("nielsen-ch6-4"),
    bundled!("nielsen-ch6-4-300"),
    bundled!("nielsen-ch6-4-1000"),
    bundled!("nielsen-ch6-5"),
    bundled!("nielsen-ch6-5-300"),
    bundled!("nielsen-ch6-5-1000"),
    bundled!("nielsen-ch6-6"),
    bundled!("primer-0"),
    bundled!("primer-16-16"),
    bundled!("nested-0"),
    bundled!("nested-1"),
    bundled!("nested-2"),
    bundled!("nested-3"),
    bundled!("nested-3-wrong"),
    bundled!("nested-4"),
    bundled!("nested-6"),
];

//! The book of overlay. It is read in `src/`, as it stands or with [mdBook](https://rust-lang.github.io/mdBook/); here each
//! chapter is a module, so that `cargo test -p overlay-book` compiles and runs every snippet.

#[doc = include_str!("../README.md")]
pub mod readme {}

#[doc = include_str!("src/introduction.md")]
pub mod introduction {}

#[doc = include_str!("src/the-article.md")]
pub mod the_article {}

#[doc = include_str!("src/translation.md")]
pub mod translation {}

#[doc = include_str!("src/errata.md")]
pub mod errata {}

#[doc = include_str!("src/notation.md")]
pub mod notation {}

#[doc = include_str!("src/kernels.md")]
pub mod kernels {}

#[doc = include_str!("src/instruction-sets.md")]
pub mod instruction_sets {}

#[doc = include_str!("src/performance.md")]
pub mod performance {}

#[doc = include_str!("src/training.md")]
pub mod training {}

#[doc = include_str!("src/recipes.md")]
pub mod recipes {}

#[doc = include_str!("src/augmentation.md")]
pub mod augmentation {}

#[doc = include_str!("src/resuming.md")]
pub mod resuming {}

#[doc = include_str!("src/results.md")]
pub mod results {}

#[doc = include_str!("src/saving.md")]
pub mod saving {}

#[doc = include_str!("src/data.md")]
pub mod data {}

#[doc = include_str!("src/decisions.md")]
pub mod decisions {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

    /// The chapters and their summary; pictures lie beside them.
    fn texts() -> impl Iterator<Item = PathBuf> {
        let files = fs::read_dir(SRC).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    }

    #[test]
    fn every_chapter_is_listed_and_tested() {
        let summary = fs::read_to_string(Path::new(SRC).join("SUMMARY.md")).unwrap();
        let modules = include_str!("lib.rs");
        for path in texts() {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != "SUMMARY.md" {
                assert!(summary.contains(&format!("]({name})")), "{name} is not in SUMMARY.md");
                assert!(modules.contains(&format!("include_str!(\"src/{name}\")")), "{name} is not in lib.rs");
            }
        }
    }

    #[test]
    fn links_between_files_lead_somewhere() {
        for path in texts() {
            let text = fs::read_to_string(&path).unwrap();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = link.split('#').next().unwrap();
                if !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace) {
                    assert!(Path::new(SRC).join(target).exists(), "{}: {link}", path.display());
                }
            }
        }
    }

    #[test]
    fn links_of_readmes_lead_somewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let crates = ["conv-kernels", "layers", "net", "mnist-io", "report"].map(|name| root.join("crates").join(name));
        for folder in crates.iter().chain([&root]) {
            let text = fs::read_to_string(folder.join("README.md")).unwrap();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let elsewhere = link.contains("://") || link.contains("::") || link.starts_with('#');
                assert!(elsewhere || folder.join(link).exists(), "{}: {link}", folder.display());
            }
        }
    }

    #[test]
    fn no_snippet_is_skipped() {
        for path in texts() {
            for line in fs::read_to_string(&path).unwrap().lines().filter(|line| line.starts_with("```rust")) {
                assert_eq!(line, "```rust", "{}", path.display());
            }
        }
    }
}

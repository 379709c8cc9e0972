//! Saving and loading: safetensors files with PyTorch's names.
//!
//! A file holds the parameters (`conv1.weight`, …) and the buffers (`bn1.running_mean`, …), and in its metadata the
//! architecture, the scaling of the pixels, and the network's notes. PyTorch reads it without an adapter:
//! `model.load_state_dict(safetensors.torch.load_file("mnist.safetensors"))`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use layers::{Arena, Layout, Scalar, TensorSpec};
use safetensors::{Dtype, SafeTensors, View};

use crate::{NetError, NetSpec, Sequential, SequentialBuilder, builder::Blueprint, error::dims};

pub(crate) mod checksum;

/// The metadata key of the architecture.
const SPEC: &str = "overlay.network";
/// The prefix of the network's notes.
const NOTE: &str = "overlay.note.";
/// The metadata key of the pixels' scaling, which a network with a layer of the user's own has too.
const SCALING: &str = "overlay.scaling";
/// The metadata key of a checkpoint's record.
pub(crate) const CHECKPOINT: &str = "overlay.checkpoint";
/// What begins the names of tensors that a checkpoint holds beside the network; whoever reads the network passes them over.
pub(crate) const BESIDE: &str = "checkpoint.";
/// What is written beside a file before it takes its place: left behind when the program is killed in between.
pub(crate) const PARTIAL: [&str; 2] = [".overlay-", ".partial"];
/// A header longer than this is not one of ours, nor one that PyTorch would write for such a network.
const MAX_HEADER: u64 = 16 << 20;

impl<T: Scalar> Sequential<T> {
    /// Writes parameters, buffers, architecture and notes to a safetensors file.
    ///
    /// The file appears whole or not at all: it is written beside its place and renamed. An older file there stays as it is
    /// until then.
    ///
    /// # Errors
    /// [`NetError::File`] says what the system said.
    ///
    /// ```
    /// use net::Sequential;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("model.safetensors");
    /// let net = Sequential::builder([1, 28, 28]).conv2d(8, 3).dense(10).build(3)?;
    /// net.save(&path)?;
    /// let same: Sequential = Sequential::load(&path)?;
    /// assert_eq!(same.parameters().values(), net.parameters().values());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), NetError> {
        let path = path.as_ref();
        let bytes = encode([("", &self.params), ("", &self.buffers)], [], self.notes())
            .map_err(|error| NetError::Model { path: path.into(), problem: format!("cannot be written: {error}") })?;
        write_atomically(path, &bytes).map_err(|cause| NetError::File { path: path.into(), cause })
    }

    /// Reads a network from a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`NetError::Model`] says what is damaged or missing. A file with weights alone (PyTorch's) has no architecture: build
    /// the network and use [`load_weights`](Self::load_weights).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NetError> {
        let path = path.as_ref();
        let file = ModelFile::read(path)?;
        let fail = |problem: String| NetError::Model { path: path.into(), problem };
        let spec = file.metadata.get(SPEC).ok_or_else(|| {
            fail("it holds weights, but does not say of which network: build the network, then load_weights()".into())
        })?;
        let spec: NetSpec =
            serde_json::from_str(spec).map_err(|error| fail(format!("its architecture cannot be read: {error}")))?;
        let blueprint = SequentialBuilder::<T>::from(spec).blueprint();
        let Blueprint { input, scaling, stages, spec } =
            blueprint.map_err(|error| fail(format!("its architecture does not hold together: {error}")))?;
        // compared before any memory is taken: a hostile architecture may promise more than the file holds
        let specs = stages.iter().flat_map(|stage| {
            let tensors = stage.layer.params().into_iter().chain(stage.layer.buffers());
            tensors.map(|tensor| TensorSpec { name: format!("{}.{}", stage.name, tensor.name), ..tensor })
        });
        file.check(specs.collect()).map_err(fail)?;
        let mut net = Self::assemble(input, scaling, stages, spec, 0);
        file.fill(&mut net).map_err(fail)?;
        Ok(net)
    }

    /// Reads parameters and buffers into this network, from any safetensors file with the same names and shapes, such as
    /// PyTorch's `save_file(model.state_dict(), …)`. On an error the network is as it was.
    ///
    /// # Errors
    /// [`NetError::Model`] names the tensors that are missing, unexpected or of another shape.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<(), NetError> {
        let path = path.as_ref();
        let file = ModelFile::read(path)?;
        let fail = |problem: String| NetError::Model { path: path.into(), problem };
        let specs = |layout: &Layout| layout.iter().map(|(spec, _)| spec.clone()).collect::<Vec<_>>();
        file.check([specs(self.params.layout()), specs(self.buffers.layout())].concat()).map_err(fail)?;
        if let Some(scaling) = file.metadata.get(SCALING) {
            let own = serde_json::to_string(&self.scaling).unwrap_or_default();
            if *scaling != own {
                return Err(fail(format!(
                    "its network scales bytes by {scaling}, this one by {own}: build this one with that scaling"
                )));
            }
        }
        file.fill(self).map_err(fail)
    }

    /// The metadata of a file with this network.
    pub(crate) fn notes(&self) -> HashMap<String, String> {
        let notes = self.metadata.iter().map(|(key, value)| (format!("{NOTE}{key}"), value.clone()));
        let spec = self.spec.as_ref().and_then(|spec| serde_json::to_string(spec).ok());
        let scaling = serde_json::to_string(&self.scaling).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_string();
        let own = [("format", "pt".to_string()), ("overlay.version", version), (SCALING, scaling)];
        notes
            .chain(own.map(|(key, value)| (key.to_string(), value)))
            .chain(spec.map(|spec| (SPEC.into(), spec)))
            .collect()
    }
}

/// A safetensors file of arenas, each with what its tensors' names begin with, and of texts by name. The same content gives
/// the same bytes.
pub(crate) fn encode<'a, T: Scalar>(
    arenas: impl IntoIterator<Item = (&'a str, &'a Arena<T>)>,
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let tensors = arenas.into_iter().flat_map(|(prefix, arena)| {
        let named = move |spec: &TensorSpec| format!("{prefix}{}", spec.name);
        arena.tensors().map(move |tensor| (named(tensor.spec), Stored::new(tensor.spec, tensor.values)))
    });
    let texts = texts.into_iter().map(|(name, text)| (name.to_string(), Stored::Text([text.len()], text.as_bytes())));
    let bytes = safetensors::serialize(tensors.chain(texts), Some(metadata))?;
    Ok(sorted(&bytes).unwrap_or(bytes))
}

/// A tensor on its way into a file.
enum Stored<'a, T> {
    Numbers { dtype: Dtype, shape: &'a [usize], values: &'a [T] },
    Text([usize; 1], &'a [u8]),
}

impl<'a, T: Scalar> Stored<'a, T> {
    fn new(spec: &'a TensorSpec, values: &'a [T]) -> Self {
        let dtype = match (spec.count, size_of::<T>()) {
            (true, _) => Dtype::I64,
            (false, 4) => Dtype::F32,
            (false, _) => Dtype::F64,
        };
        Self::Numbers { dtype, shape: &spec.shape, values }
    }
}

fn number_bytes<T: Scalar>(dtype: Dtype, values: &[T]) -> Vec<u8> {
    let values = values.iter().map(|value| value.as_f64());
    match dtype {
        Dtype::I64 => values.flat_map(|v| (v as i64).to_le_bytes()).collect(),
        Dtype::F32 => values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
        _ => values.flat_map(f64::to_le_bytes).collect(),
    }
}

impl<T: Scalar> View for Stored<'_, T> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Numbers { dtype, .. } => *dtype,
            Self::Text(..) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Numbers { shape, .. } => shape,
            Self::Text(len, _) => len,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Numbers { dtype, values, .. } => Cow::Owned(number_bytes(*dtype, values)),
            Self::Text(_, text) => Cow::Borrowed(text),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Numbers { dtype, values, .. } => values.len() * if *dtype == Dtype::F32 { 4 } else { 8 },
            Self::Text(_, text) => text.len(),
        }
    }
}

/// A safetensors file as it was read, its format checked but not its meaning.
pub(crate) struct ModelFile {
    bytes: Vec<u8>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl ModelFile {
    pub(crate) fn read(path: &Path) -> Result<Self, NetError> {
        let bytes = fs::read(path).map_err(|cause| NetError::File { path: path.into(), cause })?;
        let fail = |problem: String| NetError::Model { path: path.into(), problem };
        let damaged = |error: &dyn std::fmt::Display| {
            fail(format!("not a whole safetensors file ({error}): save or copy it again"))
        };
        let header = header(&bytes).ok_or_else(|| damaged(&"its header does not fit the file"))?;
        duplicates::check(header).map_err(|error| damaged(&error))?;
        let (_, read) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error))?;
        SafeTensors::deserialize(&bytes).map_err(|error| damaged(&error))?;
        let metadata = read.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        checksum::verify(&bytes, header.len(), &metadata).map_err(fail)?;
        Ok(Self { bytes, metadata })
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("deserialized when it was read")
    }

    /// Whether the file holds just these tensors, those that are only for a checkpoint left aside.
    pub(crate) fn check(&self, wanted: Vec<TensorSpec>) -> Result<(), String> {
        let tensors = self.tensors();
        let mut problems = Vec::new();
        for spec in &wanted {
            match tensors.tensor(&spec.name) {
                Err(_) => problems.push(format!("{} {} is missing", spec.name, dims(&spec.shape))),
                Ok(found) if found.shape() != spec.shape => {
                    let (got, wants) = (dims(found.shape()), dims(&spec.shape));
                    problems.push(format!("{} is {got} in the file, {wants} in the network", spec.name));
                }
                Ok(found) if !matches!(found.dtype(), Dtype::F32 | Dtype::F64 | Dtype::I64) => {
                    problems.push(format!("{} holds {:?}; only F32, F64 and I64 are read", spec.name, found.dtype()));
                }
                Ok(_) => {}
            }
        }
        let known: HashSet<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        let mut names = tensors.names();
        names.sort_unstable();
        let unknown = names.iter().filter(|&&name| !known.contains(name) && !name.starts_with(BESIDE));
        problems.extend(unknown.map(|name| format!("{} is not in the network", printable(name))));
        match problems.len() {
            0 => Ok(()),
            n => {
                let more = if n > 8 { format!("; and {} more", n - 8) } else { String::new() };
                problems.truncate(8);
                Err(format!("it does not fit the network: {}{more}", problems.join("; ")))
            }
        }
    }

    /// Fills a network that [`check`](Self::check) has passed; changes nothing when a value is not finite.
    fn fill<T: Scalar>(&self, net: &mut Sequential<T>) -> Result<(), String> {
        let (mut params, mut buffers) = (net.params.clone(), net.buffers.clone());
        for arena in [&mut params, &mut buffers] {
            self.fill_arena(arena, "")?;
            check_finite(arena)?;
        }
        (net.params, net.buffers) = (params, buffers);
        let notes =
            self.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(NOTE)?.to_string(), value.clone())));
        net.metadata.extend(notes);
        Ok(())
    }

    /// A text that was [encoded](encode).
    pub(crate) fn text(&self, name: &str) -> Result<&str, String> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|error| error.to_string())?;
        let tensor = tensors.tensor(name).map_err(|error| format!("{name}: {error}"))?;
        std::str::from_utf8(tensor.data()).map_err(|error| format!("{name}: {error}"))
    }

    /// Fills an arena from tensors whose names begin with `prefix`.
    pub(crate) fn fill_arena<T: Scalar>(&self, arena: &mut Arena<T>, prefix: &str) -> Result<(), String> {
        let (tensors, layout) = (self.tensors(), Arc::clone(arena.layout()));
        for (spec, range) in layout.iter() {
            let name = format!("{prefix}{}", spec.name);
            let tensor = tensors.tensor(&name).map_err(|error| format!("{name}: {error}"))?;
            let values = &mut arena.values_mut()[range];
            match tensor.dtype() {
                Dtype::F32 => copy(values, tensor.data(), |bytes| f64::from(f32::from_le_bytes(bytes))),
                Dtype::F64 => copy(values, tensor.data(), f64::from_le_bytes),
                _ => copy(values, tensor.data(), |bytes| i64::from_le_bytes(bytes) as f64),
            }
        }
        Ok(())
    }
}

fn check_finite<T: Scalar>(arena: &Arena<T>) -> Result<(), String> {
    for tensor in arena.tensors() {
        if let Some(index) = tensor.values.iter().position(|value| !value.is_finite()) {
            let (name, value) = (&tensor.spec.name, tensor.values[index]);
            return Err(format!("{name} holds {value} at index {index}: a network with it would answer NaN"));
        }
    }
    Ok(())
}

fn copy<T: Scalar, const N: usize>(values: &mut [T], bytes: &[u8], number: impl Fn([u8; N]) -> f64) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = T::of(number(*bytes));
    }
}

/// The JSON header: its length stands in the first 8 bytes.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let len = u64::from_le_bytes(*len);
    if len > MAX_HEADER { None } else { rest.get(..usize::try_from(len).ok()?) }
}

/// The same file with a header in alphabetical order: the same network gives the same bytes. `None` if it cannot be had.
fn sorted(file: &[u8]) -> Option<Vec<u8>> {
    let old = header(file)?;
    // serde_json's maps are sorted
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(old).ok()?;
    let mut new = serde_json::to_vec(&value).ok()?;
    // values begin at a multiple of 8 bytes
    new.resize(new.len().next_multiple_of(8), b' ');
    let values = &file[8 + old.len()..];
    Some([&(new.len() as u64).to_le_bytes(), new.as_slice(), values].concat())
}

/// A name from a file, fit for a terminal.
fn printable(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    let dots = if short.len() < name.len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}

pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL[0]).suffix(PARTIAL[1]);
    #[cfg(unix)]
    {
        // as other programs make files: readable as the umask says, not by the owner alone
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // so that the new name survives a power cut; not every system can sync a folder
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The format forbids a name twice; its parser keeps the last one silently.
mod duplicates {
    use std::{collections::HashSet, fmt};

    use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

    pub(super) fn check(header: &[u8]) -> Result<(), serde_json::Error> {
        serde_json::from_slice::<Unique>(header).map(|_| ())
    }

    struct Unique;

    impl<'de> Deserialize<'de> for Unique {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Names)
        }
    }

    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Unique;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object of tensors")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
            let mut seen = HashSet::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(twice) = seen.replace(name) {
                    return Err(A::Error::custom(format!("the tensor {} is there twice", super::printable(&twice))));
                }
            }
            Ok(Unique)
        }
    }
}

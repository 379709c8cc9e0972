use super::*;
use crate::write_idx_to;
use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::Array1;
use sha2::{Digest, Sha256};
use std::io::BufRead;
use std::net::TcpListener;
use std::thread;

const NAME: &str = "small-idx1-ubyte.gz";

/// What a server answers: a path and the whole response.
type Page = (&'static str, Vec<u8>);

/// Serves `pages` on the loopback until the test ends; returns the base address.
fn serve(pages: Vec<Page>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            // The rest of the request must be read, or closing would reset the connection.
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = request.split(' ').nth(1).unwrap();
            let page = pages.iter().find(|(start, _)| path.starts_with(start));
            let missing = response("404 Not Found", b"nothing here");
            // A client that has seen enough may hang up before the end.
            let _ = stream.write_all(page.map_or(&missing, |(_, page)| page));
        }
    });
    base
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn idx() -> Vec<u8> {
    let mut file = Vec::new();
    write_idx_to(&mut file, &Array1::from_iter(0..200_u8)).unwrap();
    file
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Fetches the small file into a new folder from the given pages of one server, in order.
fn outcome(pages: Vec<Page>, order: &[&str]) -> (tempfile::TempDir, Result<(), DownloadError>, Vec<String>) {
    let base = serve(pages);
    let mirrors: Vec<String> = order.iter().map(|path| format!("{base}{path}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let sum = crate::text::hex(&Sha256::digest(idx()));
    let wanted = Wanted { name: NAME.to_owned(), length: idx().len() as u64, sum: &sum };
    let mut events = Vec::new();
    let result = fetch(&agent(), &mirrors, &wanted, dir.path(), &mut |event| {
        events.push(match event {
            DownloadEvent::Started { .. } => "started".to_owned(),
            DownloadEvent::Progress { .. } => "progress".to_owned(),
            DownloadEvent::MirrorFailed { reason, .. } => format!("failed: {reason}"),
            DownloadEvent::Finished { .. } => "finished".to_owned(),
        });
    });
    events.dedup();
    (dir, result, events)
}

fn files_in(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_good_file_is_stored_as_it_came() {
    let good = gz(&idx());
    let (dir, result, events) = outcome(vec![("/good/", response("200 OK", &good))], &["/good/"]);
    result.unwrap();
    assert_eq!(events, ["started", "progress", "finished"]);
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), good);
    assert_eq!(files_in(dir.path()), 1);
}

#[test]
fn a_bad_mirror_is_passed_over() {
    let pages = vec![("/good/", response("200 OK", &gz(&idx())))];
    let (dir, result, events) = outcome(pages, &["/missing/", "/good/"]);
    result.unwrap();
    assert_eq!(events, ["started", "failed: the server answers 404", "started", "progress", "finished"]);
    assert_eq!(files_in(dir.path()), 1);
}

#[test]
fn everything_else_is_refused_and_leaves_nothing_behind() {
    let good = gz(&idx());
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let mut other = idx();
    other[20] ^= 1;
    let cut_in_transit = {
        let mut whole = response("200 OK", &good);
        whole.truncate(whole.len() - 30);
        whole
    };
    let mut elsewhere = b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n".to_vec();
    elsewhere.extend_from_slice(b"Content-Length: 0\r\nConnection: close\r\n\r\n");
    for (page, expected) in [
        (
            response("200 OK", b"<html><body>503 Service Unavailable</body></html>"),
            "sends something that is not gzip (it looks like an HTML page)",
        ),
        (response("200 OK", b""), "sends something that is not gzip"),
        (response("503 Service Unavailable", b"<html>"), "the server answers 503"),
        (response("200 OK", &good[..good.len() - 30]), "sends damaged gzip data: "),
        (response("200 OK", &flipped), "sends damaged gzip data: "),
        (cut_in_transit, ""),
        (response("200 OK", &[good.as_slice(), b"more"].concat()), "sends damaged gzip data: "),
        (response("200 OK", &gz(&other)), "sends other data: sha256 is "),
        (response("200 OK", &gz(&[0; 100_000])), "sends more than the 208 bytes of the file"),
        (elsewhere, ""),
        (b"not HTTP at all\r\n\r\n".to_vec(), ""),
    ] {
        let (dir, result, _) = outcome(vec![("/bad/", page)], &["/bad/"]);
        let Err(DownloadError::AllMirrors { attempts }) = result else {
            panic!("accepted, but {expected} was expected");
        };
        assert_eq!(attempts.len(), 1);
        assert!(attempts[0].1.starts_with(expected), "{} is not {expected}", attempts[0].1);
        assert_eq!(files_in(dir.path()), 0);
    }
}

#[test]
fn a_flood_is_cut_off() {
    let flood = response("200 OK", &vec![0x1f; usize::try_from(MAX_DOWNLOAD).unwrap() + 1]);
    let (_, result, _) = outcome(vec![("/flood/", flood)], &["/flood/"]);
    assert!(result.unwrap_err().to_string().ends_with("sends more than 16,777,216 bytes"));
}

#[test]
fn no_file_that_is_there_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    fs::write(&path, b"mine").unwrap();
    let mut temporary = atomic::temporary_beside(&path).unwrap();
    temporary.write_all(b"theirs").unwrap();
    atomic::keep_existing(temporary, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(files_in(dir.path()), 1);

    let silent: Vec<String> = vec!["http://127.0.0.1:9/".to_owned()];
    fetch_missing(dir.path(), Some(silent), |_| true, &mut |_| panic!("nothing is missing")).unwrap();
}

#[test]
fn the_mirrors_are_https_and_the_sums_are_those_of_mnist() {
    assert!(MIRRORS.iter().all(|mirror| mirror.starts_with("https://") && mirror.ends_with('/')));
    assert_eq!(LENGTHS, [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = fetch_missing(&file.join("below"), Some(vec![]), |_| false, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("file/below: cannot be written to: "), "{error}");
}

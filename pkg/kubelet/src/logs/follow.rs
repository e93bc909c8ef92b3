//! Reading a log as `kubectl logs` asks for it: the last lines, since a time, and on as it grows (told by inotify).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::{parse, rotate};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub follow: bool,
    pub tail_lines: Option<usize>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
    /// `Some(true)` for standard error only.
    pub only_stderr: Option<bool>,
}

/// Data that waits for a slow reader.
pub const QUEUE: usize = 16;
const CHUNK: usize = 64 * 1024;
/// After a container has ended, its last lines may still be on their way to the file.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Sends the log in pieces until its end, or, following, until `ended` says that the container has ended.
pub async fn stream(
    path: PathBuf,
    options: Options,
    mut ended: watch::Receiver<bool>,
    out: mpsc::Sender<Result<Bytes, io::Error>>,
) {
    if let Err(error) = stream_inner(&path, &options, &mut ended, &out).await {
        let _ = out.send(Err(error)).await;
    }
}

async fn stream_inner(
    path: &Path,
    options: &Options,
    ended: &mut watch::Receiver<bool>,
    out: &mpsc::Sender<Result<Bytes, io::Error>>,
) -> io::Result<()> {
    let mut writer = Writer { options, left: options.limit_bytes, out };
    let watcher = if options.follow { Some(Watcher::new(path)?) } else { None };
    let mut part = Part::open(path, options.tail_lines)?;
    // Lines of rotated parts come first, unless only the end is wanted.
    if options.tail_lines.is_none() {
        for part in rotate::parts(path) {
            if !writer.whole_part(&part).await? {
                return Ok(());
            }
        }
    }
    let mut pending: Vec<u8> = Vec::new();
    let Some(watcher) = &watcher else {
        return read_on(&mut part.until_now(), &mut pending, &mut writer).await.map(drop);
    };
    let mut file = part.file;
    loop {
        if !read_on(&mut file, &mut pending, &mut writer).await? {
            return Ok(());
        }
        if moved(&file, path) {
            // Rotated: what came before the rename was read above; go on in the new file.
            read_on(&mut file, &mut pending, &mut writer).await?;
            file = open(path)?;
            continue;
        }
        let over = *ended.borrow();
        tokio::select! {
            changed = watcher.changed() => changed?,
            _ = ended.changed(), if !over => {}
            () = tokio::time::sleep(LAST_LINES), if over => {
                read_on(&mut file, &mut pending, &mut writer).await?;
                return Ok(());
            }
            () = out.closed() => return Ok(()),
        }
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

/// The log as it was when it was asked for: what a container writes meanwhile is read only by those who follow.
struct Part {
    /// At the first line that is wanted.
    file: fs::File,
    /// So many bytes were there.
    length: u64,
}

impl Part {
    fn open(path: &Path, tail_lines: Option<usize>) -> io::Result<Self> {
        let mut file = open(path)?;
        let end = file.metadata()?.len();
        let start = tail_lines.map_or(Ok(0), |lines| tail_offset(&mut file, end, lines))?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, length: end - start })
    }

    fn until_now(&mut self) -> impl io::Read {
        (&mut self.file).take(self.length)
    }
}

fn moved(file: &fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() != named.ino(),
        _ => false,
    }
}

/// Reads to the end of the file and sends whole lines. False when the reader has had enough.
async fn read_on(file: &mut impl io::Read, pending: &mut Vec<u8>, writer: &mut Writer<'_>) -> io::Result<bool> {
    let mut chunk = vec![0u8; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(true);
        }
        pending.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let end = pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = pending.drain(..end).collect();
        if !writer.lines(&lines).await? {
            return Ok(false);
        }
    }
}

struct Writer<'a> {
    options: &'a Options,
    left: Option<u64>,
    out: &'a mpsc::Sender<Result<Bytes, io::Error>>,
}

impl Writer<'_> {
    async fn whole_part(&mut self, path: &Path) -> io::Result<bool> {
        let file = fs::File::open(path)?;
        let mut text = Vec::new();
        let bounded = rotate_bound();
        if path.extension().is_some_and(|e| e == "gz") {
            flate2::read::MultiGzDecoder::new(file).take(bounded).read_to_end(&mut text)?;
        } else {
            file.take(bounded).read_to_end(&mut text)?;
        }
        self.lines(&text).await
    }

    /// Sends what is wanted of these lines. False when there is no one left to send to, or nothing left to send.
    async fn lines(&mut self, raw: &[u8]) -> io::Result<bool> {
        let mut out = Vec::with_capacity(raw.len());
        for line in raw.split_inclusive(|b| *b == b'\n') {
            let Some(entry) = parse::line(line) else { continue };
            if self.options.only_stderr.is_some_and(|stderr| stderr != entry.stderr) {
                continue;
            }
            if let Some(since) = self.options.since
                && entry.timestamp().is_some_and(|at| at < since)
            {
                continue;
            }
            if self.options.timestamps {
                out.extend_from_slice(entry.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(entry.text);
            if !entry.partial {
                out.push(b'\n');
            }
        }
        if let Some(left) = &mut self.left {
            let keep = usize::try_from(*left).unwrap_or(usize::MAX).min(out.len());
            out.truncate(keep);
            *left -= keep as u64;
        }
        if !out.is_empty() && self.out.send(Ok(Bytes::from(out))).await.is_err() {
            return Ok(false);
        }
        Ok(self.left != Some(0))
    }
}

/// A rotated part is at most a little over the size at which it was rotated.
fn rotate_bound() -> u64 {
    256 << 20
}

/// Where the last `lines` lines before `end` begin. One that is not whole yet is none.
fn tail_offset(file: &mut fs::File, end: u64, lines: usize) -> io::Result<u64> {
    let (mut position, mut found) = (end, 0usize);
    let mut chunk = vec![0u8; CHUNK];
    while position > 0 {
        let size = CHUNK.min(usize::try_from(position).unwrap_or(CHUNK));
        position -= size as u64;
        file.seek(SeekFrom::Start(position))?;
        let part = chunk.get_mut(..size).unwrap_or_default();
        file.read_exact(part)?;
        for (at, _) in part.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            // The first newline from the end closes the last line, the next begins it.
            if found == lines {
                return Ok(position + at as u64 + 1);
            }
            found += 1;
        }
    }
    Ok(0)
}

/// Tells when a file, or the folder it is in, changes.
struct Watcher {
    queue: AsyncFd<OwnedFd>,
}

impl Watcher {
    // `new` is the safe constructor: an owned descriptor stays open as long as its owner, which is all that is asked.
    #[allow(deprecated)]
    fn new(path: &Path) -> io::Result<Self> {
        let queue = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let folder = path.parent().map(Path::as_os_str).unwrap_or(OsStr::new("/"));
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&queue, folder, events)?;
        Ok(Self { queue: AsyncFd::new(queue)? })
    }

    async fn changed(&self) -> io::Result<()> {
        let mut ready = self.queue.readable().await?;
        let mut buffer = [0u8; 4096];
        // All events mean the same: look again. They are only drained.
        while let Ok(count) = rustix::io::read(&self.queue, &mut buffer) {
            if count == 0 {
                break;
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: usize) -> String {
        (0..lines).map(|n| format!("2026-01-01T00:00:{n:02}.000000000Z stdout F line{n}\n")).collect()
    }

    async fn read(path: &Path, options: Options) -> String {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let (_ended, watch) = watch::channel(true);
        let task = tokio::spawn(stream(path.to_owned(), options, watch, sender));
        let mut text = String::new();
        while let Some(piece) = receiver.recv().await {
            text.push_str(&String::from_utf8_lossy(&piece.expect("read")));
        }
        task.await.expect("ended");
        text
    }

    #[tokio::test]
    async fn tail_since_limit_and_timestamps() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        fs::write(&path, log(5)).expect("written");
        fs::write(folder.path().join("0.log.20250101-000000"), "2025-01-01T00:00:00Z stderr F old\n").expect("written");
        let base = Options::default();
        assert_eq!(read(&path, base.clone()).await, "old\nline0\nline1\nline2\nline3\nline4\n");
        assert_eq!(read(&path, Options { tail_lines: Some(2), ..base.clone() }).await, "line3\nline4\n");
        assert_eq!(read(&path, Options { tail_lines: Some(0), ..base.clone() }).await, "");
        assert_eq!(
            read(&path, Options { tail_lines: Some(9), limit_bytes: Some(8), ..base.clone() }).await,
            "line0\nli"
        );
        let since = "2026-01-01T00:00:04Z".parse().ok();
        let since = Options { since, timestamps: true, ..base.clone() };
        assert_eq!(read(&path, since).await, "2026-01-01T00:00:04.000000000Z line4\n");
        assert_eq!(read(&path, Options { only_stderr: Some(true), ..base }).await, "old\n");
    }

    #[tokio::test]
    async fn the_end_is_where_it_was_when_it_was_asked_for() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        fs::write(&path, log(3)).expect("written");
        let mut grows = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        for (tail_lines, want) in
            [(Some(1), "line2\n"), (Some(2), "line1\nline2\n"), (Some(9), "line0\nline1\nline2\n"), (Some(0), "")]
        {
            let mut part = Part::open(&path, tail_lines).expect("opened");
            let before = fs::metadata(&path).expect("there").len();
            grows.write_all(b"2026-01-01T00:01:00Z stdout F more\n").expect("written");
            let (out, mut receiver) = mpsc::channel(QUEUE);
            let options = Options { tail_lines, ..Options::default() };
            let mut writer = Writer { options: &options, left: None, out: &out };
            read_on(&mut part.until_now(), &mut Vec::new(), &mut writer).await.expect("read");
            drop(out);
            let mut text = Vec::new();
            while let Some(piece) = receiver.recv().await {
                text.extend(piece.expect("read"));
            }
            assert_eq!(String::from_utf8_lossy(&text), want, "{tail_lines:?}");
            grows.set_len(before).expect("cut");
        }
        grows.write_all(b"2026-01-01T00:01:00Z stdout F half a li").expect("written");
        let last = Options { tail_lines: Some(1), ..Options::default() };
        assert_eq!(read(&path, last).await, "line2\n", "a line that is not whole yet does not count");
    }

    #[tokio::test]
    async fn following_sees_new_lines_and_rotation() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        fs::write(&path, log(1)).expect("written");
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let (ended, watch) = watch::channel(false);
        let options = Options { follow: true, ..Options::default() };
        let task = tokio::spawn(stream(path.clone(), options, watch, sender));
        let mut next = async || {
            let piece = tokio::time::timeout(Duration::from_secs(5), receiver.recv()).await.expect("in time");
            piece.map(|p| String::from_utf8_lossy(&p.expect("read")).into_owned())
        };
        assert_eq!(next().await.as_deref(), Some("line0\n"));
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"2026-01-01T00:01:00Z stdout F more\n").expect("written");
        assert_eq!(next().await.as_deref(), Some("more\n"));
        fs::rename(&path, folder.path().join("0.log.20260101-000000")).expect("moved");
        fs::write(&path, b"2026-01-01T00:02:00Z stdout P ne").expect("written");
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"w\n").expect("written");
        assert_eq!(next().await.as_deref(), Some("new"));
        ended.send(true).expect("sent");
        assert_eq!(next().await, None);
        task.await.expect("ended");
    }
}

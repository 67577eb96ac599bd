//! Packs that cost their sender little and git much: they are refused or taken, and git on the host stays within its
//! memory.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::faults::push_head;
use crate::stage::Stage;

/// Most memory of the git processes of one container on the host, in KiB.
const CEILING: u64 = 512 * 1024;
const MIB: usize = 1 << 20;

const BLOB: u8 = 3;
const COMMIT: u8 = 1;
const DELTA: u8 = 7;

/// An object of a pack: its kind, its size once unpacked, and what is deflated; a delta names its base before that.
fn object(kind: u8, size: usize, base: &[u8], content: impl FnOnce(&mut dyn Write)) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut byte, mut rest) = ((kind << 4) | (size & 15) as u8, size >> 4);
    while rest > 0 {
        out.push(byte | 0x80);
        (byte, rest) = ((rest & 127) as u8, rest >> 7);
    }
    out.push(byte);
    out.extend_from_slice(base);
    let mut deflate = flate2::write::ZlibEncoder::new(out, flate2::Compression::fast());
    content(&mut deflate);
    deflate.finish().unwrap()
}

fn zeros(to: &mut dyn Write, count: usize) {
    let piece = vec![0; MIB];
    (0..count / MIB).for_each(|_| to.write_all(&piece).unwrap());
}

fn pack(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"PACK\0\0\0\x02".to_vec();
    out.extend_from_slice(&(objects.len() as u32).to_be_bytes());
    objects.iter().for_each(|object| out.extend_from_slice(object));
    let sum = filtered("sha1sum", &[], &out);
    out.extend(unhex(std::str::from_utf8(&sum[..40]).unwrap()));
    out
}

fn filtered(program: &str, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Sends a pack as a push of `branch` at `tip`; the answer.
fn push(stage: &Stage, branch: &str, tip: &str, pack: &[u8]) -> String {
    let line = format!("{} {tip} refs/heads/{branch}\0 report-status side-band-64k", "0".repeat(40));
    let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    body.extend_from_slice(pack);
    let head = format!("{}Connection: close\r\nContent-Length: {}\r\n\r\n", push_head(), body.len());
    stage.raw(&[head.as_bytes(), &body].concat())
}

/// Runs `work`; the most memory, in KiB, that git processes of the repository had together.
fn peak(repository: &Path, work: impl FnOnce()) -> u64 {
    let here = repository.canonicalize().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(resident(&here));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        work();
        done.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    })
}

/// The sum of what each process that works there now has had at most.
fn resident(here: &Path) -> u64 {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let working = processes.filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd == here));
    let status = working.filter_map(|p| std::fs::read_to_string(p.path().join("status")).ok());
    let fields = status.filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    fields.sum()
}

/// The id of an object of `size` zeros.
fn id_of_zeros(kind: &str, size: usize) -> String {
    let mut child = Command::new("sha1sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{kind} {size}\0").as_bytes()).unwrap();
    zeros(&mut stdin, size);
    drop(stdin);
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..40].to_owned()
}

/// A size in the form that deltas use.
fn varint(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 127 {
        out.push((number & 127) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

// holds: git-memory-is-bounded
#[test]
fn large_files_of_zeros_pass_in_pieces() {
    let stage = Stage::seeded();
    let work = stage.work();
    std::fs::File::create(work.join("zeros")).unwrap().set_len(500 << 20).unwrap();
    stage.run_at(&work, &["-c", "core.bigFileThreshold=1m", "-c", "core.compression=1", "add", "zeros"]);
    stage.run_at(&work, &["commit", "-q", "-m", "zeros"]);
    let tip = stage.tip(&work, "HEAD");
    let packing = ["-C", crate::stage::path(&work), "pack-objects", "-q", "--stdout", "--revs"];
    let pack = filtered("git", &packing, format!("{tip}\n^{tip}^\n").as_bytes());
    assert!(pack.len() < 4 * MIB);
    let most = peak(&stage.repository(), || {
        std::thread::scope(|scope| {
            for branch in ["a", "b"] {
                let (stage, pack, tip) = (&stage, &pack, &tip);
                scope.spawn(move || {
                    let answer = push(stage, branch, tip, pack);
                    assert!(answer.contains(&format!("ok refs/heads/{branch}")), "{answer}");
                });
            }
        });
    });
    assert!(most > 0 && most < CEILING, "{most} KiB");
}

// holds: git-ends-with-trees-of-trees
#[test]
fn trees_of_trees_cost_little_whatever_the_filter() {
    let stage = Stage::seeded();
    let work = stage.work();
    let make = |words: &[&str], input: &str| {
        let words = [&["-C", crate::stage::path(&work)], words].concat();
        String::from_utf8(filtered("git", &words, input.as_bytes())).unwrap().trim().to_owned()
    };
    let ten = |kind: &str, id: &str| (0..10).map(|n| format!("{kind} {id}\t{n}\n")).collect::<String>();
    let mut tree = make(&["mktree"], &ten("100644 blob", &make(&["hash-object", "-w", "--stdin"], "x")));
    for _ in 0..7 {
        tree = make(&["mktree"], &ten("040000 tree", &tree));
    }
    let bomb = stage.run_at(&work, &["commit-tree", "-m", "bomb", &tree]);
    stage.run_at(&work, &["push", "-q", "origin", &format!("{}:refs/heads/bomb", bomb.trim())]);
    let clone = |number: usize, filter: &str| {
        let target = stage.dir.path().join(format!("bomb-{number}"));
        let words = ["clone", "-q", "--bare", filter, &stage.url(), crate::stage::path(&target)];
        stage.git(&words).output().unwrap()
    };
    for (number, filter) in ["--filter=blob:none", "--filter=tree:5", "--filter=blob:limit=9"].iter().enumerate() {
        crate::stage::ok(clone(number, filter));
    }
    let refused = clone(9, "--filter=combine:tree:5+blob:limit=3");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("filter 'combine' not supported"), "{said}");
}

// holds: git-memory-is-bounded
#[test]
fn objects_that_cannot_be_passed_on_in_pieces_are_refused() {
    let stage = Stage::seeded();
    let tip = stage.tip(&stage.work(), "HEAD");
    let base = 16 * MIB - MIB;
    let id = unhex(&id_of_zeros("blob", base));
    // Each command copies the whole base: 7 bytes that stand for 15 MiB.
    let copies = 30;
    let copy = [0xf0, (base & 255) as u8, (base >> 8) as u8, (base >> 16) as u8];
    let delta = [varint(base), varint(copies * base), copy.repeat(copies)].concat();
    let deltas = pack(&[
        object(BLOB, base, b"", |out| zeros(out, base)),
        object(DELTA, delta.len(), &id, |out| out.write_all(&delta).unwrap()),
    ]);
    let commit = pack(&[object(COMMIT, 200 * MIB, b"", |out| zeros(out, 200 * MIB))]);
    let most = peak(&stage.repository(), || {
        for pack in [deltas, commit] {
            let answer = push(&stage, "x", &tip, &pack);
            assert!(answer.contains("ng refs/heads/x") && answer.contains("emory"), "{answer}");
        }
    });
    assert!(most > 0 && most < CEILING, "{most} KiB");
    stage.assert_intact();
}

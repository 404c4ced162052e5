//! A Debian in a folder, a fresh one for each test: what is changed in it is gone with its value.
//!
//! The one that all start from is made once, by `scripts/machine --root`, and never changed: a test sees it through an overlay,
//! or where the kernel refuses that, gets a copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::daemon::{BINARY, text};

/// A Debian in a folder.
pub struct Root {
    /// Holds `root`, and what overlayfs needs.
    place: PathBuf,
    is_overlay: bool,
}

impl Root {
    /// A fresh one, or `None` where none can be made. Where all tests are to run, that is a failure.
    pub fn new() -> Option<Root> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let base = base()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Beside the base, on the same disk: not in memory.
        let place = base.with_file_name(format!("run-{}-{number}", std::process::id()));
        for folder in ["root", "upper", "work"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            place.join("upper").display(),
            place.join("work").display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "trackport-machine", "-o", &layers]);
        let mut root = Root {
            is_overlay: true,
            place,
        };
        if !run(mount.arg(root.path("/"))).status.success() {
            root.is_overlay = false;
            let whole = base.join(".");
            must(Command::new("cp").arg("-a").arg(whole).arg(root.path("/")));
        }
        Some(root)
    }

    /// Where a file of it lies; `inside` is its absolute path there.
    pub fn path(&self, inside: &str) -> PathBuf {
        let inside = inside.strip_prefix('/').expect("an absolute path");
        self.place.join("root").join(inside)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, inside: &str, text: impl AsRef<[u8]>) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a file of this machine into it, with this mode.
    pub fn install(&self, from: impl AsRef<Path>, inside: &str, mode: u32) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A program that runs cannot be overwritten; its name can be given to another file, as packages do.
        let new = path.with_extension("new");
        fs::copy(from, &new).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// What a file of it holds.
    #[track_caller]
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
    }

    /// Runs a command in it that is not booted: by chroot, with processes of its own. What the command leaves behind ends with it.
    pub fn run(&self, args: &[&str]) -> Output {
        let root = self.path("/").display().to_string();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .arg(format!("--mount-proc={root}proc"))
            .args(["chroot", &root, "/usr/bin/env", "-i", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(args);
        run(&mut command)
    }

    /// The same, and it must do it; returns what it printed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        said(args, &self.run(args))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        remove(&self.place, self.is_overlay);
    }
}

fn remove(place: &Path, is_overlay: bool) {
    if is_overlay
        && !run(Command::new("umount").arg("-l").arg(place.join("root")))
            .status
            .success()
    {
        // Better left there than removed through a mount.
        return;
    }
    let _ = run(Command::new("rm")
        .args(["-rf", "--one-file-system"])
        .arg(place));
}

/// The Debian that all start from.
fn base() -> Option<&'static Path> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BASE.get_or_init(make_base) {
        Ok(base) => Some(base),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED, NOTHING IS PROVED: {why}");
            None
        }
    }
}

fn make_base() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/machine");
    let output = run(Command::new(script).arg("--root"));
    if !output.status.success() {
        return Err(text(&output.stderr));
    }
    let base = PathBuf::from(text(&output.stdout).trim());
    sweep(base.parent().expect("a folder"));
    Ok(base)
}

/// Removes what test programs that were killed have left.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("run-")
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            let is_overlay = mounts.contains(&format!("{} ", entry.path().join("root").display()));
            remove(&entry.path(), is_overlay);
        }
    }
}

/// Runs a command of this machine to its end.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The same, and it must do it.
#[track_caller]
pub fn must(command: &mut Command) -> String {
    let output = run(command);
    said(&[&format!("{command:?}")], &output)
}

/// What a command printed that must have done what it should.
#[track_caller]
pub fn said(args: &[&str], output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{args:?}: {}\n{out}{err}",
        output.status
    );
    out
}

#[test]
fn each_test_has_a_debian_of_its_own() {
    let (Some(one), Some(other)) = (Root::new(), Root::new()) else {
        return;
    };
    one.write("/etc/motd", "changed\n");
    assert_eq!(one.must(&["cat", "/etc/motd"]), "changed\n");
    assert_ne!(other.must(&["cat", "/etc/motd"]), "changed\n");
    assert_eq!(
        one.must(&["sh", "-c", "echo $$"]).trim(),
        "1",
        "processes of its own"
    );
    one.install(BINARY, "/usr/bin/trackport", 0o755);
    let version = one.must(&["trackport", "--version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let place = one.place.clone();
    drop(one);
    assert!(!place.exists(), "nothing is left behind");
}

//! The packages as `scripts/package` makes them: of this version, and of an older one with another conf file.
//!
//! Built once in a run of the tests. The older one is made from a copy of the project with a lower version and the same binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::root::{must, run};

/// The version of the older packages.
pub const OLD: &str = "0.0.9";
/// The version of the newer ones.
pub const NEW: &str = env!("CARGO_PKG_VERSION");

/// The packages of one version.
pub struct Packages {
    folder: PathBuf,
    version: &'static str,
}

impl Packages {
    /// Those of this version; `None` where they cannot be made.
    pub fn new() -> Option<&'static Packages> {
        static MADE: OnceLock<Option<Packages>> = OnceLock::new();
        MADE.get_or_init(make_new).as_ref()
    }

    /// Those of an older version.
    pub fn old() -> Option<&'static Packages> {
        static MADE: OnceLock<Option<Packages>> = OnceLock::new();
        MADE.get_or_init(|| {
            let folder = target("packages-old");
            Packages::new()?;
            let copy = Copy::new("old");
            copy.replace("Cargo.toml", &version_line(NEW), &version_line(OLD));
            let locked = |version| format!("name = \"trackport\"\n{}", version_line(version));
            copy.replace("Cargo.lock", &locked(NEW), &locked(OLD));
            copy.replace(
                "conf/trackport.toml",
                "# The conf file",
                "# The first conf file",
            );
            copy.package(&folder);
            Some(Packages {
                folder,
                version: OLD,
            })
        })
        .as_ref()
    }

    /// The rpm of the server.
    pub fn rpm(&self) -> PathBuf {
        let machine = std::env::consts::ARCH;
        self.folder
            .join(format!("trackport-{}-1.el9.{machine}.rpm", self.version))
    }

    /// The rpm with the source lines.
    pub fn debuginfo(&self) -> PathBuf {
        let machine = std::env::consts::ARCH;
        self.folder.join(format!(
            "trackport-debuginfo-{}-1.el9.{machine}.rpm",
            self.version
        ))
    }

    /// The deb of the server.
    pub fn deb(&self) -> PathBuf {
        self.folder.join(format!(
            "trackport_{}-1_{}.deb",
            self.version,
            debian_machine()
        ))
    }

    /// The deb with the source lines.
    pub fn dbgsym(&self) -> PathBuf {
        self.folder.join(format!(
            "trackport-dbgsym_{}-1_{}.deb",
            self.version,
            debian_machine()
        ))
    }

    /// What `SHA256SUMS` says of them.
    pub fn sums(&self) -> String {
        fs::read_to_string(self.folder.join("SHA256SUMS")).unwrap()
    }
}

fn debian_machine() -> String {
    must(Command::new("dpkg").arg("--print-architecture"))
        .trim()
        .to_owned()
}

fn version_line(version: &str) -> String {
    format!("version = \"{version}\"")
}

fn make_new() -> Option<Packages> {
    let folder = target("packages");
    let script = "source scripts/lib.sh; root=$PWD; need_package_tools";
    let project = env!("CARGO_MANIFEST_DIR");
    let tools = run(Command::new("bash")
        .args(["-ec", script])
        .current_dir(project));
    if !tools.status.success() {
        let why = String::from_utf8_lossy(&tools.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("SKIPPED, NOTHING IS PROVED: {why}");
        return None;
    }
    must(package(Path::new(project)).arg("--to").arg(&folder));
    Some(Packages {
        folder,
        version: NEW,
    })
}

fn package(project: &Path) -> Command {
    let mut command = Command::new(project.join("scripts/package"));
    command.arg("--all");
    // Also where the copies lie outside of the history, by which it would be found.
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

/// A folder below target/ for what is made here.
fn target(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The binary that the packages were made of, as the linker left it.
fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/package/build/release/trackport")
}

/// A copy of what packages are made of, at another place.
pub struct Copy(PathBuf);

impl Copy {
    /// Makes it.
    pub fn new(name: &str) -> Copy {
        let place = target(&format!("project-{name}"));
        must(Command::new("rm").arg("-rf").arg(&place));
        fs::create_dir_all(place.join("tests")).unwrap();
        let parts = [
            "Cargo.toml",
            "Cargo.lock",
            "README.md",
            "CHANGELOG.md",
            "LICENSE",
            "conf",
            "scripts",
            "src",
        ];
        for part in parts {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
            must(Command::new("cp").arg("-r").arg(from).arg(&place));
        }
        let frames = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
        must(
            Command::new("cp")
                .arg("-r")
                .arg(frames)
                .arg(place.join("tests")),
        );
        Copy(place)
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        let file = self.0.join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old} in {}", file.display());
        fs::write(&file, text.replacen(old, new, 1)).unwrap();
    }

    /// Makes its packages, of the same binary; returns what `SHA256SUMS` says of them.
    pub fn package(&self, to: &Path) -> String {
        must(
            package(&self.0)
                .arg("--binary")
                .arg(built())
                .arg("--to")
                .arg(to),
        );
        fs::read_to_string(to.join("SHA256SUMS")).unwrap()
    }

    /// A folder for its packages.
    pub fn to(&self) -> PathBuf {
        self.0.join("made")
    }
}

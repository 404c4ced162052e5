//! What must hold over the life of the rpm: installed, upgraded and removed it keeps what is the operator's, by rpm and by dnf.
//!
//! EL9 itself cannot be had here. The rpms go into a Debian by the same rpm and dnf, and what they ask EL9 for is provided by a
//! stand-in that has what EL9 has, and nothing newer.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{NEW, OLD, Packages};
use crate::root::{Root, must};

const CONF: &str = "/etc/trackport/trackport.toml";
const DATA: &str = "/var/lib/trackport/spool/segment";
/// What an operator has written.
const EDIT: &str = "# Edited by hand.\n";

/// A root with an empty database of packages.
fn root() -> Option<(Root, &'static Packages, &'static Packages)> {
    let (old, new) = (Packages::old()?, Packages::new()?);
    Some((Root::new()?, old, new))
}

/// Runs rpm on a root. Nothing it needs is an rpm there.
#[track_caller]
fn rpm(root: &Root, args: &[&str], package: &Path) -> String {
    let mut command = Command::new("rpm");
    command.arg("--root").arg(root.path("/"));
    command.args(["--nosignature", "--force-debian", "--nodeps"]);
    must(command.args(args).arg(package))
}

fn edit(root: &Root) {
    let conf = root.read(CONF);
    fs::write(root.path(CONF), conf + EDIT).unwrap();
    root.write(DATA, "acknowledged");
}

fn owner(root: &Root, file: &str) -> String {
    root.must(&["stat", "--format=%A %U %G", file])
        .trim()
        .to_owned()
}

#[track_caller]
fn check_installed(root: &Root) {
    assert_eq!(owner(root, "/etc/trackport"), "drwxr-x--- root trackport");
    assert_eq!(owner(root, CONF), "-rw-r----- root trackport");
    assert_eq!(
        owner(root, "/var/lib/trackport"),
        "drwxr-x--- trackport trackport"
    );
    let user = root.must(&["getent", "passwd", "trackport"]);
    assert!(
        user.ends_with(":/var/lib/trackport:/sbin/nologin\n"),
        "{user}"
    );
    // It runs there, and reads its conf as the user who runs it.
    let as_user = ["runuser", "-u", "trackport", "--"];
    let check = [&as_user[..], &["trackport", "check", "--conf-only"]].concat();
    root.must(&check);
}

#[track_caller]
fn check_upgraded(root: &Root) {
    assert!(root.read(CONF).ends_with(EDIT), "the edited conf is kept");
    assert!(root.read(CONF).starts_with("# The first conf file"));
    let new = root.read(&format!("{CONF}.rpmnew"));
    assert!(
        new.starts_with("# The conf file"),
        "the new one lies beside it"
    );
}

#[track_caller]
fn check_removed(root: &Root) {
    assert!(!root.path("/usr/bin/trackport").exists());
    assert!(!root.path(CONF).exists());
    assert!(root.read(&format!("{CONF}.rpmsave")).ends_with(EDIT));
    assert_eq!(root.read(DATA), "acknowledged");
    root.must(&["getent", "passwd", "trackport"]);
    let left = root.must(&["find", "/usr", "/etc", "-name", "*trackport*"]);
    let left: Vec<&str> = left.lines().collect();
    assert_eq!(
        left.len(),
        3,
        "the folder, and the two conf files in it: {left:?}"
    );
}

#[test]
fn rpm_keeps_an_edited_conf_and_all_data_through_upgrade_and_removal() {
    let Some((root, old, new)) = root() else {
        return;
    };
    rpm(&root, &["--install"], &old.rpm());
    check_installed(&root);
    let changed = rpm(&root, &["--verify"], Path::new("trackport"));
    assert_eq!(changed, "", "everything is as the package has it");
    edit(&root);
    rpm(&root, &["--upgrade"], &new.rpm());
    check_installed(&root);
    check_upgraded(&root);
    rpm(&root, &["--erase"], Path::new("trackport"));
    check_removed(&root);
}

#[test]
fn rpm_replaces_a_conf_that_nobody_edited() {
    let Some((root, old, new)) = root() else {
        return;
    };
    rpm(&root, &["--install"], &old.rpm());
    rpm(&root, &["--upgrade"], &new.rpm());
    assert!(root.read(CONF).starts_with("# The conf file"));
    assert!(!root.path(&format!("{CONF}.rpmnew")).exists());
    rpm(&root, &["--erase"], Path::new("trackport"));
    assert!(!root.path("/etc/trackport").exists(), "nothing is left");
    assert!(
        !root.path("/var/lib/trackport").exists(),
        "there was no data"
    );
}

#[test]
fn dnf_installs_upgrades_and_removes_it_with_what_el9_has() {
    let Some((root, old, new)) = root() else {
        return;
    };
    let repository = Repository::new();
    repository.stand_in();
    repository.add(&old.rpm());
    let told = repository.dnf(&root, "install");
    assert!(told.contains(OLD), "{told}");
    check_installed(&root);
    edit(&root);
    repository.add(&new.rpm());
    repository.add(&new.debuginfo());
    let told = repository.dnf(&root, "upgrade");
    assert!(told.contains("Upgraded") && told.contains(NEW), "{told}");
    check_installed(&root);
    check_upgraded(&root);
    repository.dnf(&root, "remove");
    check_removed(&root);
}

/// A folder of rpms as dnf reads it.
struct Repository(PathBuf);

impl Repository {
    fn new() -> Repository {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("repository");
        must(Command::new("rm").arg("-rf").arg(&folder));
        fs::create_dir_all(folder.join("rpms")).unwrap();
        Repository(folder)
    }

    fn add(&self, package: &Path) {
        fs::copy(
            package,
            self.0.join("rpms").join(package.file_name().unwrap()),
        )
        .unwrap();
        must(
            Command::new("createrepo_c")
                .arg("--quiet")
                .arg(self.0.join("rpms")),
        );
    }

    /// A package that provides what EL9's own provide, and is empty.
    fn stand_in(&self) {
        let mut spec = String::from(
            "Name: el9-stand-in\nVersion: 9\nRelease: 1\nSummary: What EL9 provides\nLicense: MIT\n\
             Provides: systemd shadow-utils /bin/sh rtld(GNU_HASH)\n\
             Provides: libc.so.6()(64bit) libm.so.6()(64bit) libgcc_s.so.1()(64bit) ld-linux-x86-64.so.2()(64bit)\n",
        );
        let glibc = ["2.2.5", "2.3", "2.3.2", "2.3.3", "2.3.4"].map(str::to_owned);
        for version in glibc
            .into_iter()
            .chain((4..=34).map(|minor| format!("2.{minor}")))
        {
            for library in ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"] {
                let _ = writeln!(spec, "Provides: {library}(GLIBC_{version})(64bit)");
            }
        }
        for version in [
            "3.0", "3.3", "3.3.1", "3.4", "4.0.0", "4.2.0", "4.3.0", "4.8.0", "7.0.0",
        ] {
            let _ = writeln!(spec, "Provides: libgcc_s.so.1(GCC_{version})(64bit)");
        }
        spec.push_str("%description\nStands in for EL9's packages.\n%files\n");
        let file = self.0.join("stand-in.spec");
        fs::write(&file, spec).unwrap();
        let define = |name, folder: &Path| format!("{name} {}", folder.display());
        must(
            Command::new("rpmbuild")
                .args([
                    "-bb",
                    "--quiet",
                    "--define",
                    &define("_topdir", &self.0.join("top")),
                ])
                .args(["--define", &define("_rpmdir", &self.0.join("rpms"))])
                .arg(file),
        );
    }

    #[track_caller]
    fn dnf(&self, root: &Root, what: &str) -> String {
        // Of a repository that changes within the second dnf believes its copy, whatever `metadata_expire` says.
        must(
            Command::new("rm")
                .arg("-rf")
                .arg(root.path("/var/cache/dnf")),
        );
        let rpms = self.0.join("rpms").display().to_string();
        let mut dnf = Command::new("dnf");
        dnf.arg("--installroot").arg(root.path("/"));
        dnf.args([
            "-y",
            "--releasever=9",
            "--repo=here",
            "--setopt=here.gpgcheck=0",
            "--setopt=metadata_expire=0",
        ]);
        dnf.arg(format!("--repofrompath=here,{rpms}"));
        must(dnf.args([what, "trackport"]))
    }
}

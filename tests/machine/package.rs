//! What must hold of the packages themselves: every file with its mode and owner, nothing that EL9 lacks, nothing of the machine that
//! built them, the same packages from the same source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{Copy, Packages};
use crate::root::{must, run};

/// Every file of the rpm but manual pages and examples: path, mode, owner, group, and whether it is conf (c), noreplace (n),
/// documentation (d) or a licence (l).
const FILES: &[&str] = &[
    "/etc/trackport drwxr-x--- root trackport",
    "/etc/trackport/trackport.toml -rw-r----- root trackport cn",
    "/usr/bin/trackport -rwxr-xr-x root root",
    "/usr/lib/firewalld drwxr-xr-x root root",
    "/usr/lib/firewalld/services drwxr-xr-x root root",
    "/usr/lib/firewalld/services/trackport.xml -rw-r--r-- root root",
    "/usr/lib/systemd/system/trackport.service -rw-r--r-- root root",
    "/usr/lib/sysusers.d/trackport.conf -rw-r--r-- root root",
    "/usr/lib/tmpfiles.d/trackport.conf -rw-r--r-- root root",
    "/usr/share/bash-completion drwxr-xr-x root root",
    "/usr/share/bash-completion/completions drwxr-xr-x root root",
    "/usr/share/bash-completion/completions/trackport -rw-r--r-- root root",
    "/usr/share/doc/trackport drwxr-xr-x root root",
    "/usr/share/doc/trackport/CHANGELOG.md -rw-r--r-- root root d",
    "/usr/share/doc/trackport/README.md -rw-r--r-- root root d",
    "/usr/share/doc/trackport/examples drwxr-xr-x root root",
    "/usr/share/fish drwxr-xr-x root root",
    "/usr/share/fish/vendor_completions.d drwxr-xr-x root root",
    "/usr/share/fish/vendor_completions.d/trackport.fish -rw-r--r-- root root",
    "/usr/share/licenses/trackport drwxr-xr-x root root",
    "/usr/share/licenses/trackport/LICENSE -rw-r--r-- root root l",
    "/usr/share/licenses/trackport/crates.txt.gz -rw-r--r-- root root l",
    "/usr/share/zsh drwxr-xr-x root root",
    "/usr/share/zsh/site-functions drwxr-xr-x root root",
    "/usr/share/zsh/site-functions/_trackport -rw-r--r-- root root",
    "/var/lib/trackport drwxr-x--- trackport trackport",
];

/// The newest glibc that EL9 has.
const GLIBC: (u32, u32) = (2, 34);

#[test]
fn the_rpm_has_every_file_with_its_mode_and_owner_and_no_other() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let mut found = Vec::new();
    let format =
        "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]";
    for line in query(&["--queryformat", format], &packages.rpm()).lines() {
        let line = line.trim_end();
        // One page for each command, a folder of examples that grows: all alike.
        if let Some(page) = line.strip_prefix("/usr/share/man/") {
            assert!(page.ends_with(".gz -rw-r--r-- root root d"), "{line}");
        } else if let Some(example) = line.strip_prefix("/usr/share/doc/trackport/examples/") {
            assert!(example.ends_with(" -rw-r--r-- root root d"), "{line}");
        } else {
            found.push(line.to_owned());
        }
    }
    found.sort();
    assert_eq!(found, FILES);
    let files = query(&["--list"], &packages.rpm());
    let pages = [
        "man5/trackport.toml.5.gz",
        "man8/trackport.8.gz",
        "man8/trackport-check.8.gz",
    ];
    for page in pages {
        assert!(
            files.contains(&format!("/usr/share/man/{page}\n")),
            "{page}"
        );
    }
}

#[test]
fn the_deb_has_the_same_files_where_debian_wants_them() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let rpm = query(&["--list"], &packages.rpm());
    let mut expected: Vec<String> = rpm
        .lines()
        .map(|file| {
            match file {
                "/usr/share/licenses/trackport/LICENSE" => "/usr/share/doc/trackport/copyright",
                "/usr/share/licenses/trackport/crates.txt.gz" => {
                    "/usr/share/doc/trackport/crates.txt.gz"
                }
                "/usr/share/doc/trackport/CHANGELOG.md" => "/usr/share/doc/trackport/changelog.gz",
                "/usr/share/licenses/trackport" => "/usr/share/doc/trackport/changelog.Debian.gz",
                "/usr/share/zsh/site-functions" => "/usr/share/zsh/vendor-completions",
                "/usr/share/zsh/site-functions/_trackport" => {
                    "/usr/share/zsh/vendor-completions/_trackport"
                }
                file => file,
            }
            .to_owned()
        })
        .collect();
    expected.sort();
    let tree = tree(&packages.deb(), "deb");
    let mut found = Vec::new();
    let listing = must(
        Command::new("dpkg-deb")
            .arg("--contents")
            .arg(packages.deb()),
    );
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner, path) = (words[0], words[1], words[5]);
        let path = path.trim_start_matches('.').trim_end_matches('/');
        assert_eq!(owner, "root/root", "{line}");
        // The folders above are everybody's.
        if expected.iter().any(|file| file == path) {
            found.push(path.to_owned());
        } else {
            assert!(
                mode.starts_with('d') && tree.join(&path[path.len().min(1)..]).is_dir(),
                "a foreign file: {line}"
            );
        }
        if !mode.starts_with('d') {
            let private = path == "/etc/trackport/trackport.toml";
            let wanted = match path {
                "/usr/bin/trackport" => "-rwxr-xr-x",
                _ if private => "-rw-r-----",
                _ => "-rw-r--r--",
            };
            assert_eq!(mode, wanted, "{line}");
        }
    }
    found.sort();
    assert_eq!(found, expected);
    let conffiles = must(
        Command::new("dpkg-deb")
            .arg("--info")
            .arg(packages.deb())
            .arg("conffiles"),
    );
    assert_eq!(conffiles, "/etc/trackport/trackport.toml\n");
}

#[test]
fn the_rpm_asks_for_nothing_that_el9_lacks() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let mut n_glibc = 0;
    for line in query(&["--requires"], &packages.rpm()).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if let Some((_, version)) = name.split_once("(GLIBC_") {
            let version = version.trim_end_matches("(64bit)").trim_end_matches(')');
            let mut numbers = version.split('.').map(|number| number.parse().unwrap());
            let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
            assert!(version <= GLIBC, "{line} is newer than EL9");
            n_glibc += 1;
            continue;
        }
        let library = name.split('(').next().unwrap_or_default();
        let known = [
            "libc.so.6",
            "libm.so.6",
            "libgcc_s.so.1",
            "ld-linux-x86-64.so.2",
            "ld-linux-aarch64.so.1",
            "rtld",
        ];
        let others = ["/bin/sh", "shadow-utils", "systemd", "config", "rpmlib"];
        assert!(
            known.contains(&library) || others.contains(&library),
            "EL9 may not have {line}"
        );
    }
    assert!(n_glibc > 0, "it asks for a C library");
}

#[test]
fn the_binary_names_no_folder_of_the_machine_that_built_it() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let tree = tree(&packages.deb(), "strings");
    let binary = fs::read(tree.join("usr/bin/trackport")).unwrap();
    let text = String::from_utf8_lossy(&binary);
    let project = env!("CARGO_MANIFEST_DIR");
    for folder in [project, "/.cargo/registry"] {
        assert!(!text.contains(folder), "{folder} is in the binary");
    }
    // So that a panic in the field still tells where.
    assert!(
        text.contains("/usr/src/cargo/registry/"),
        "no place of a crate is in it"
    );
    assert!(
        text.contains(".gnu_debuglink"),
        "debuggers do not find its source lines"
    );
}

#[test]
fn the_same_source_at_another_place_gives_the_same_packages() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let copy = Copy::new("again");
    assert_eq!(copy.package(&copy.to()), packages.sums());
}

#[test]
fn the_source_lines_are_found_by_the_build_id_of_the_binary() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let binary = tree(&packages.deb(), "id").join("usr/bin/trackport");
    let notes = must(Command::new("readelf").arg("--notes").arg(binary));
    let id = notes
        .split("Build ID: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let file = format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
    assert!(tree(&packages.dbgsym(), "dbgsym").join(&file).is_file());
    assert_eq!(
        query(&["--list"], &packages.debuginfo()).trim(),
        format!("/{file}")
    );
}

#[test]
fn manual_pages_render_without_a_warning() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let pages = tree(&packages.deb(), "pages").join("usr/share/man");
    let mut n_pages = 0;
    for section in ["man5", "man8"] {
        for page in fs::read_dir(pages.join(section)).unwrap() {
            let page = page.unwrap().path();
            must(Command::new("gunzip").arg(&page));
            let page = page.with_extension("");
            let complaints = run(Command::new("mandoc")
                .args(["-T", "lint", "-W", "warning"])
                .arg(&page));
            let told = String::from_utf8_lossy(&complaints.stdout);
            assert!(complaints.status.success(), "{told}");
            n_pages += 1;
        }
    }
    assert!(n_pages >= 14, "{n_pages} pages");
}

#[test]
fn firewalld_understands_its_service() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let services = tree(&packages.deb(), "firewalld").join("usr/lib/firewalld/services");
    // The code that firewalld itself reads such files with.
    let script = "import sys; from firewall.core.io.service import service_reader
service = service_reader('trackport.xml', sys.argv[1])
print(service.short, service.ports)";
    let told = must(
        Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(services),
    );
    assert_eq!(told.trim(), "trackport [('5027', 'tcp')]");
}

#[test]
fn the_packages_checkers_find_nothing_that_is_not_explained() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine");
    let rpm = run(Command::new("rpmlint")
        .arg("--config")
        .arg(here.join("rpmlint.toml"))
        .args([packages.rpm(), packages.debuginfo()]));
    let told = String::from_utf8_lossy(&rpm.stdout);
    assert!(told.contains(" 0 errors, 0 warnings"), "{told}");
    let suppressed: BTreeMap<&str, &str> = LINTIAN.iter().copied().collect();
    let tags = suppressed.keys().copied().collect::<Vec<_>>().join(",");
    let deb = run(Command::new("lintian")
        .args([
            "--allow-root",
            "--fail-on",
            "error,warning",
            "--suppress-tags",
            &tags,
        ])
        .arg(packages.deb()));
    let told = String::from_utf8_lossy(&deb.stdout);
    assert!(deb.status.success() && told.is_empty(), "{told}");
}

#[test]
fn installing_by_hand_keeps_an_edited_conf() {
    let Some(packages) = Packages::new() else {
        return;
    };
    let binary = tree(&packages.deb(), "by-hand").join("usr/bin/trackport");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("by-hand");
    must(Command::new("rm").arg("-rf").arg(&to));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install-files");
    let install = || must(Command::new(&script).arg(&binary).arg(&to));
    install();
    let conf = to.join("etc/trackport/trackport.toml");
    let as_installed = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, "# Edited by hand.\n").unwrap();
    install();
    assert_eq!(fs::read_to_string(&conf).unwrap(), "# Edited by hand.\n");
    let beside = conf.with_extension("toml.new");
    assert_eq!(fs::read_to_string(beside).unwrap(), as_installed);
}

/// What lintian says of the deb and is meant so, with the reason.
const LINTIAN: &[(&str, &str)] = &[
    (
        "bogus-mail-host",
        "who publishes the package sets TRACKPORT_PACKAGER",
    ),
    ("bogus-mail-host-in-debian-changelog", "the same"),
    (
        "initial-upload-closes-no-bugs",
        "it is not for Debian's archive",
    ),
    (
        "copyright-file-contains-full-apache-2-license",
        "the project's LICENSE as it is",
    ),
    ("copyright-not-using-common-license-for-apache2", "the same"),
    (
        "unstripped-binary-or-object",
        "names of functions stay, for the backtrace of a panic",
    ),
    (
        "non-standard-dir-perm",
        "conf and data are not for everybody",
    ),
    ("non-standard-file-perm", "the same"),
];

/// What rpm says of a package file.
fn query(args: &[&str], package: &Path) -> String {
    must(
        Command::new("rpm")
            .args(["--query", "--nosignature", "--package"])
            .args(args)
            .arg(package),
    )
}

/// The files of a deb, unpacked in a folder of this test.
fn tree(deb: &Path, test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tree-{test}"));
    must(Command::new("rm").arg("-rf").arg(&folder));
    must(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(deb)
            .arg(&folder),
    );
    folder
}

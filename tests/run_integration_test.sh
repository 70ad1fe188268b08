#!/usr/bin/env bash
# End to end through the containers, on any machine with Docker; the job "container" of CI runs the same.
#
#   tests/run_integration_test.sh [--without-monitoring]
#
# Builds the image from this checkout, starts it with the settings of example.env, uploads the recordings of test_data, and
# removes everything at the end. A project, ports, volumes and an image of its own keep it apart from what runs here
# already. Needs bash and Docker with Compose 2.24 or newer, nothing else. COMPOSE names another command than "docker
# compose", COMPOSE_EXTRA_FILE a file that compose reads beside docker-compose.yml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

monitoring=yes
case "${1:-}" in
    "") ;;
    --without-monitoring) monitoring= ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'; exit 2 ;;
esac
read -r -a compose <<<"${COMPOSE:-docker compose}"
"${compose[@]}" version >/dev/null || { echo "Docker with Compose 2.24 or newer is needed: ${compose[*]} does not run."; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/cefmp4-integration.XXXXXX")
export COMPOSE_PROJECT_NAME=cefmp4-integration-$$
export COMPOSE_FILE=docker-compose.yml${COMPOSE_EXTRA_FILE:+:$(realpath "$COMPOSE_EXTRA_FILE")}
# Any free port; an image of its own. The environment wins over .env.
export S3_PORT=0 S3_WEBUI_PORT=0 REDIS_PUBLISH_PORT=0 PROM_PORT=0 PROMETHEUS_PORT=0 GRAFANA_PORT=0
export CEFMP4_VERSION=integration-$$

finish() {
    local status=$?
    trap - EXIT
    if ((status)); then
        echo "== failed; what they said:"
        "${compose[@]}" --profile monitoring logs --no-color --tail 100 || :
    fi
    "${compose[@]}" --profile monitoring down --volumes --remove-orphans >/dev/null 2>&1 || :
    docker image rm "cefmp4_stream_processor:$CEFMP4_VERSION" >/dev/null 2>&1 || :
    cd / && rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { echo "== $*"; }

# until_it_is SECONDS COMMAND…: tries it once a second.
until_it_is() {
    local left=$1
    shift
    until "$@"; do
        ((left-- > 0)) || { echo "== not so in time: $*"; return 1; }
        sleep 1
    done
}

# get SERVICE PORT PATH [HEADER]: the page at the port that is published on this machine.
get() {
    local address
    address=$("${compose[@]}" port "$1" "$2")
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || return
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n' "$3" "${4:+$4$'\r\n'}" >&3
    cat <&3
    exec 3>&-
}

# shows TEXT SERVICE PORT PATH [HEADER]
shows() { get "${@:2}" | grep -- "$1" >/dev/null; }

step "A copy of this checkout, with the settings as they are delivered"
tree() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . \( -path ./.venv -o -path ./.tools -o -path ./data -o -path ./.env \) -prune -o -type f -print0
    fi
}
# Without those that git knows and nobody has any longer.
tree | while IFS= read -r -d '' name; do if [ -e "$name" ]; then printf '%s\0' "$name"; fi; done |
    tar -cf - --null -T - | tar -xf - -C "$work"
films=("$PWD"/test_data/*.mp4)
cd "$work"
mkdir -p local_watch_dir && chmod a+rx . local_watch_dir
cp example.env .env

step "Build and start"
"${compose[@]}" config --quiet
"${compose[@]}" up --build --wait --wait-timeout 600

step "The image is what it says"
image=$("${compose[@]}" images --quiet app)
test "$(docker image inspect --format '{{.Config.User}}' "$image")" = 1001:1001
test "$("${compose[@]}" exec -T app id -u)" = 1001
"${compose[@]}" exec -T app ffprobe -version >/dev/null

step "It is ready, and its metrics are published on this machine"
until_it_is 60 shows '"ready": true' app 8000 /-/ready
until_it_is 10 shows '^cefmp4_ready 1' app 8000 /metrics

step "Recordings arrive, byte for byte, with their descriptions"
cp "${films[@]}" local_watch_dir/
chmod a+r local_watch_dir/*.mp4
bucket=/data/objects/video-streams
for film in "${films[@]}"; do
    name=$(basename "$film")
    until_it_is 180 "${compose[@]}" exec -T minio test -s "$bucket/$name.metadata.json"
    "${compose[@]}" exec -T minio cat "$bucket/$name" | cmp - "$film"
    "${compose[@]}" exec -T minio cat "$bucket/$name.metadata.json" | grep '"duration_seconds": [0-9]' >/dev/null
    echo "$name: $(wc -c <"$film") bytes, equal"
done

completed() { test "$("${compose[@]}" exec -T redis redis-cli scard streams:completed)" = "${#films[@]}"; }
idle() { test "$("${compose[@]}" exec -T redis redis-cli exists streams:active streams:pending_completion)" = 0; }

step "Redis knows that they are done"
until_it_is 60 completed
until_it_is 60 idle

if [ -n "$monitoring" ]; then
    step "Prometheus knows the daemon and its rules, Grafana the dashboard"
    "${compose[@]}" --profile monitoring up --detach --wait --wait-timeout 300
    shows Cefmp4StoreAway prometheus 9090 /api/v1/rules
    until_it_is 60 shows '"health":"up"' prometheus 9090 /api/v1/targets
    login="Authorization: Basic $(printf admin:cefmp4-local-only | base64)"
    shows '"provisioned":true' grafana 3000 /api/dashboards/uid/cefmp4 "$login"
    shows '"status":"OK"' grafana 3000 /api/datasources/uid/cefmp4-prometheus/health "$login"
fi

step "It stops in time, by itself"
"${compose[@]}" stop app
test "$("${compose[@]}" ps --all --format '{{.ExitCode}}' app)" = 0
echo "== all as it should be"

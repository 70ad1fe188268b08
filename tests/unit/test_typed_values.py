"""Every mistake that is typed by hand is refused with what to type instead, and no secret is told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config import Settings, load_settings
from src.domain import moments
from src.exceptions import ConfigurationError
from src.logging_config import configure_logging
from src.metrics import Metrics
from src.watcher import Globs
from tests.harness import canary


def refusal(name: str, value: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({name: value})
    (sentence,) = refused.value.problems
    assert sentence.startswith(f"{name} is ")
    return sentence


# ---- shell syntax ----

SHELL = {
    '"/rec"': "write /rec without them",
    "'/rec'": "write /rec without them",
    "\u201c/rec\u201d": "write /rec without them",
    '"/rec': "it has a quotation mark at one end only",
    "/rec'": "it has a quotation mark at one end only",
    "~/rec": "write the absolute path, which begins with /",
    "~": "write the absolute path, which begins with /",
    "~anna/rec": "write the absolute path, which begins with /",
    "$HOME/rec": "$HOME is not expanded: write the value itself",
    "${HOME}/rec": "${HOME} is not expanded: write the value itself",
    "$(pwd)/rec": "$( is not expanded: write the value itself",
    "`pwd`/rec": "write the value itself",
    "/rec # comment": "write /rec alone, and the comment on a line of its own",
    "WATCH_DIR=/rec": "write /rec alone",
    "export WATCH_DIR=/rec": "write /rec alone",
    "<your folder>": "write your own value, without the angle brackets",
    "/my\\ rec": "write the space alone",
    "C:\\rec": "write the path on this machine, which begins with /",
    "D:/rec": "write the path on this machine, which begins with /",
    "\\\\nas\\rec": "write the path on this machine, which begins with /",
    "%USERPROFILE%\\rec": "write the path itself",
    "file:///rec": "write a path, such as /srv/recordings",
    "smb://nas/rec": "write a path, such as /srv/recordings",
    "s3://bucket": "it is a URL: write a path, such as /srv/recordings",
    "nas:/export": "it is the address of a network share: mount the share",
    "anna@nas.lan:/export/rec": "it is the address of a network share: mount the share",
    "/rec:/more": "a daemon watches one folder",
    "/rec,/more": "a daemon watches one folder",
}


@pytest.mark.parametrize("value", SHELL)
def test_shell_syntax_in_a_folder_is_refused_with_what_to_type(value: str) -> None:
    assert SHELL[value] in refusal("WATCH_DIR", value)


@pytest.mark.parametrize(
    "name",
    [
        *("LOG_LEVEL", "PROM_PORT", "PROM_HOST", "STREAM_TIMEOUT_SECONDS", "S3_BUCKET_NAME", "S3_REGION_NAME"),
        *("S3_KEY_PREFIX", "REDIS_KEY_PREFIX", "FFPROBE_PATH", "EMBEDDED_DATA_DIR", "S3_CHECKSUM"),
    ],
)
@pytest.mark.parametrize("value", ['"x"', "x # remark", "$X", "<x>"])
def test_every_text_is_looked_at(name: str, value: str) -> None:
    assert "write " in refusal(name, value)


def test_quotation_marks_that_an_env_file_takes_away_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WATCH_DIR='/my rec'  # here\nS3_BUCKET_NAME=\"clips\"\n")
    settings = load_settings({}, tmp_path / ".env").settings
    assert (str(settings.watch_dir), settings.s3_bucket_name) == ("/my rec", "clips")


@pytest.mark.parametrize(
    "value", ["/rec#1", "/my rec", "/a$1", "./~", "/it's", "/50%", "/a:b", "rec, old", 'say "hi" now', "/x/~y"]
)
def test_an_odd_folder_is_no_slip(value: str) -> None:
    assert str(load_settings({"WATCH_DIR": value}).settings.watch_dir) == str(Path(value))


@pytest.mark.parametrize(
    "secret", ["a$b", "a${b}$c", "$(x)", "a'b", "~x", "#x", "x#y", "a/b+c=", "%41", "C:\\x", "a b"]
)
def test_a_secret_may_hold_anything_that_no_shell_would_have_taken(secret: str) -> None:
    settings = load_settings({"S3_ACCESS_KEY_ID": "k", "S3_SECRET_ACCESS_KEY": secret}).settings
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == secret


# ---- patterns ----

PATTERNS = {
    '["*.{mp4,mov}"]': '["*.mp4", "*.mov"]',
    "*.{mp4,mov}": '["*.mp4", "*.mov"]',
    '[".mp4"]': '["*.mp4"]',
    ".mp4": '["*.mp4"]',
    '["mp4"]': '["*.mp4"]',
    '["*.mp4 "]': '["*.mp4"]',
    '[" *.mp4"]': '["*.mp4"]',
    '"*.mp4 "': '["*.mp4"]',
    "*.mp4": '["*.mp4"]',
    "*.mp4,*.MP4": '["*.mp4", "*.MP4"]',
    "*.mp4 *.MP4": '["*.mp4", "*.MP4"]',
    '["*.mp4,*.mov"]': '["*.mp4", "*.mov"]',
    '["*.mp4;*.mov"]': '["*.mp4", "*.mov"]',
    '["*.mp4|*.mov"]': '["*.mp4", "*.mov"]',
    "['*.mp4']": '["*.mp4"]',
    "'[\"*.mp4\"]'": '["*.mp4"]',
    "[*.mp4]": '["*.mp4"]',
    '["*.mp4",]': '["*.mp4"]',
    "[\"'*.mp4'\"]": '["*.mp4"]',
    '["/rec/*.mp4"]': '["*.mp4"]',
    '["./*.mp4"]': '["*.mp4"]',
    '["../*.mp4"]': '["*.mp4"]',
    '["cam/"]': '["cam/*"]',
    '["cam\\\\*.mp4"]': '["cam/*.mp4"]',
    r'[".*\\.mp4$"]': '["*.mp4"]',
    r'["^.*\\.mp4"]': '["*.mp4"]',
    '["!old.mp4"]': "WATCH_EXCLUDE_GLOBS",
    '[""]': '["*.mp4"]',
    "[]": '["*.mp4"]',
    "mp4": '["*.mp4"]',
    '["*.mp4" "*.mov"]': '["*.mp4", "*.mov"]',
    '["*.mp4 *.mov"]': '["*.mp4", "*.mov"]',
    '["~/rec/*.mp4"]': '["*.mp4"]',
    '["$HOME/rec/*.mp4"]': '["*.mp4"]',
    '["*.(mp4|mov)"]': '["*.mp4", "*.mov"]',
    '["+(*.mp4|*.mov)"]': '["*.mp4", "*.mov"]',
    '["@(*.mp4|*.mov)"]': '["*.mp4", "*.mov"]',
    '["C:\\\\rec\\\\*.mp4"]': '["*.mp4"]',
    '{"a":1}': '["*.mp4"]',
    "null": '["*.mp4"]',
    "true": '["*.mp4"]',
    "5": '["*.mp4"]',
}


@pytest.mark.parametrize("value", PATTERNS)
def test_a_pattern_that_matches_nothing_is_refused_with_the_one_that_was_meant(value: str) -> None:
    sentence = refusal("WATCH_FILTER_GLOBS", value)
    assert sentence.endswith(f"write {PATTERNS[value]}.") or f"into {PATTERNS[value]}." in sentence
    if PATTERNS[value].startswith("["):  # what is to be typed is taken
        load_settings({"WATCH_FILTER_GLOBS": PATTERNS[value]})


@pytest.mark.parametrize(
    "value", ['["*"]', '["**/*.mp4"]', '["cam?.mp4"]', '["clip.mp4"]', '["[ab].mp4"]', '["a, b*.mp4"]', '["cam 1/*"]']
)
def test_a_pattern_that_can_match_is_taken_as_it_is(value: str) -> None:
    assert load_settings({"WATCH_FILTER_GLOBS": value}).settings.watch_filter_globs == tuple(json.loads(value))


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("old", '["old"]'),
        ('["old/"]', '["old"]'),
        ("old,@eaDir", '["old", "@eaDir"]'),
        ('["*.{a,b}"]', '["*.a", "*.b"]'),
    ],
)
def test_what_is_left_out_is_a_list_of_patterns_too(value: str, right: str) -> None:
    assert refusal("WATCH_EXCLUDE_GLOBS", value).endswith(f"write {right}.")
    assert load_settings({"WATCH_EXCLUDE_GLOBS": right}).settings.watch_exclude_globs == tuple(json.loads(right))


def test_nothing_need_be_left_out() -> None:
    assert load_settings({"WATCH_EXCLUDE_GLOBS": "[]"}).settings.watch_exclude_globs == ()


@pytest.mark.parametrize(
    ("taken", "left_out"),
    [
        *((["*.mp4"], [every]) for every in ("*", "**", "**/*", "*.mp4", "*.*", "*4")),
        (["*.mp4", "cam/*.mov"], ["*.mov", "cam/*.mov", "*.mp4"]),
        (["cam/*"], ["*"]),
        (["cam?.mp4"], ["cam*.mp4"]),
    ],
)
def test_leaving_out_all_that_is_taken_is_refused(taken: list[str], left_out: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"WATCH_FILTER_GLOBS": json.dumps(taken), "WATCH_EXCLUDE_GLOBS": json.dumps(left_out)})
    (problem,) = refused.value.problems
    assert problem.startswith("WATCH_EXCLUDE_GLOBS excludes everything that WATCH_FILTER_GLOBS includes: ")
    assert not Globs(taken, left_out).match("cam1.mp4")


@pytest.mark.parametrize(
    ("taken", "left_out", "path"),
    [
        (["*.mp4", "*.mov"], ["*.mp4"], "x.mov"),
        (["*.mp4"], ["?.mp4"], "xy.mp4"),
        (["*.mp4"], ["*/*"], "x.mp4"),
        (["*.mp4"], ["[*].mp4"], "x.mp4"),
        (["x[ab].mp4"], ["*a*"], "xb.mp4"),
        (["*.mp4"], ["old*"], "x.mp4"),
    ],
)
def test_what_leaves_out_a_part_is_taken(taken: list[str], left_out: list[str], path: str) -> None:
    load_settings({"WATCH_FILTER_GLOBS": json.dumps(taken), "WATCH_EXCLUDE_GLOBS": json.dumps(left_out)})
    assert Globs(taken, left_out).match(path)


# ---- addresses ----

ADDRESSES = [
    ("REDIS_URL", "redis://:p@ss#1@host", "write @ as %40, # as %23"),
    ("REDIS_URL", "redis://:pa/ss@host:6379/0", "/ as %2F"),
    ("REDIS_URL", "redis://:pa?ss@host", "? as %3F"),
    ("REDIS_URL", "redis://:p@ss@host", "write @ as %40"),
    ("REDIS_URL", "redis://host:6379/0#1", "# as %23"),
    ("REDIS_URL", "redis://password@host", "redis://:password@host:6379/0"),
    ("REDIS_URL", "redis://:password", "redis://:password@host:6379/0"),
    ("REDIS_URL", "redis://user:password", "redis://:password@host:6379/0"),
    ("REDIS_URL", "redis://host:6379/cache", "write redis://host:6379/0"),
    ("REDIS_URL", "localhost", "redis://host:6379/0"),
    ("REDIS_URL", "localhost:6379", "redis://host:6379/0"),
    ("REDIS_URL", "redis:localhost", "redis://host:6379/0"),
    ("REDIS_URL", "http://localhost:6379", "such as redis://localhost:6379/0"),
    ("REDIS_URL", '"redis://host"', "quotation marks"),
    ("REDIS_URL", "redis://host:6379/0?socket_timeout=x", "write redis://host:6379/0 alone"),
    ("REDIS_URL", "redis://host:6379/0?db=x", "write redis://host:6379/0 alone"),
    ("REDIS_URL", "redis://host:6379/0?colour=red", "write redis://host:6379/0 alone"),
    ("REDIS_URL", "redis://host:6379/0?db=1&retries=3", "write redis://host:6379/0 alone"),
    ("REDIS_URL", "rediss://host:6380/0?ssl_cert_reqs=perhaps", "an option after the question mark"),
    ("REDIS_URL", "redis://host:6379/0?ssl_ca_certs=/etc/ca.pem", "begin the URL with rediss://"),
    ("REDIS_URL", "unix:///run/redis.sock?db=x", "an option after the question mark"),
    ("S3_ENDPOINT_URL", "http://store:9000/video-streams", "it contains the bucket name"),
    ("S3_ENDPOINT_URL", "https://video-streams.s3.eu-central-1.amazonaws.com", "it contains the bucket name"),
    ("S3_ENDPOINT_URL", "localhost:9000", "such as http://localhost:9000"),
    ("S3_ENDPOINT_URL", "s3://clips", "S3_BUCKET_NAME"),
    ("S3_ENDPOINT_URL", "http://key:secret@store:9000", "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"),
    ("S3_ENDPOINT_URL", "http://key:sec/ret@store:9000", "/ as %2F"),
    ("S3_ENDPOINT_URL", "http://store:9000?region=x", "it contains a query string"),
    ("S3_ENDPOINT_URL", "http://store:9000/#x", "# as %23"),
    ("S3_BUCKET_NAME", "s3://clips/cam-7", "write clips, and S3_KEY_PREFIX=cam-7/"),
    ("S3_BUCKET_NAME", "clips/cam-7", "write clips, and S3_KEY_PREFIX=cam-7/"),
    ("S3_BUCKET_NAME", "arn:aws:s3:::clips", "write clips"),
]


@pytest.mark.parametrize(("name", "value", "told"), ADDRESSES)
def test_an_address_that_is_not_what_it_seems_is_refused_with_what_to_type(name: str, value: str, told: str) -> None:
    assert told in refusal(name, value)


@pytest.mark.parametrize(
    "address", ["http://store:9000/clips", "https://clips.s3.eu-central-1.amazonaws.com", "http://s/x/clips/"]
)
def test_the_bucket_in_the_address_of_the_store_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="it contains the bucket name"):
        load_settings({"S3_ENDPOINT_URL": address, "S3_BUCKET_NAME": "clips"})
    load_settings({"S3_ENDPOINT_URL": address, "S3_BUCKET_NAME": "other"})


@pytest.mark.parametrize(
    "address",
    [
        "redis://:p%40ss%231@host",
        "redis://user:@host",
        "rediss://u:p@[::1]:6380/1?ssl_ca_certs=/etc/ca.pem",
        "redis://h/",
        "redis://h:6379?db=2&socket_timeout=1.5&socket_keepalive=yes&client_name=x&protocol=3",
        "rediss://h:6380/0?ssl_cert_reqs=none&ssl_check_hostname=false",
        "unix:///run/redis.sock?db=1&password=x%2Fy",
    ],
)
def test_an_address_that_is_right_is_taken(address: str) -> None:
    assert load_settings({"REDIS_URL": address}).settings.redis_url == address


# ---- what belongs to REDIS_HOST ----


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({"REDIS_PASSWORD": "p@ss#1/"}, "redis://:p%40ss%231%2F@cache:6379/0"),
        ({"REDIS_DB": "3"}, "redis://cache:6379/3"),
        ({"REDIS_USERNAME": "anna", "REDIS_PASSWORD": "x"}, "redis://anna:x@cache:6379/0"),
        ({"REDIS_PASSWORD": "x", "REDIS_DB": "2", "REDIS_PORT": "7000"}, "redis://:x@cache:7000/2"),
    ],
)
def test_password_and_database_belong_to_the_host(more: dict[str, str], url: str) -> None:
    settings = load_settings({"REDIS_HOST": "cache", **more}).settings
    assert settings.redis_url == url
    assert "REDIS_PASSWORD" not in more or more["REDIS_PASSWORD"] in settings.secrets()


def test_beside_an_address_they_are_ignored_with_one_line() -> None:
    more = {"REDIS_PASSWORD": canary.secret(), "REDIS_DB": "4"}
    loaded = load_settings({"REDIS_URL": "redis://cache:6379/0", **more})
    assert loaded.settings.redis_url == "redis://cache:6379/0"
    assert loaded.notices == ("REDIS_PASSWORD and REDIS_DB are ignored, because REDIS_URL is set.",)
    assert load_settings({**more}).notices == (
        "REDIS_PASSWORD and REDIS_DB are ignored, because REDIS_HOST is not set.",
    )
    alone = load_settings({"REDIS_PASSWORD": canary.secret()})
    assert alone.notices == ("REDIS_PASSWORD is ignored, because REDIS_HOST is not set.",)
    assert not load_settings({**more}).settings.redis_url_given


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"REDIS_HOST": "redis://cache"}, "REDIS_HOST is set, but it is a URL: write it into REDIS_URL."),
        ({"REDIS_HOST": "cache:6379"}, "REDIS_HOST is set, but it contains a port"),
        ({"REDIS_HOST": '"cache"'}, "REDIS_HOST is set, but quotation marks"),
        ({"REDIS_HOST": "cache", "REDIS_DB": "main"}, "REDIS_DB is set, but must be a whole number, such as 0."),
        ({"REDIS_HOST": "cache", "REDIS_PASSWORD": "'x'"}, "REDIS_PASSWORD is set, but quotation marks"),
    ],
)
def test_their_own_slips_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(given)
    (problem,) = refused.value.problems
    assert problem.startswith(told)


# ---- secrets ----

_SPECIAL = [
    "",
    "@",
    "#",
    "/",
    "?",
    ":",
    "%",
    "[",
    "]",
    "\\",
    '"',
    "'",
    "$",
    "${x}",
    "`",
    "{",
    "<",
    " ",
    " # ",
    "\u00e9",
]
#: ``{}`` is where the secret stands.
_REDIS = [
    *("redis://:{}@host:6379/0", "rediss://user:{}@host", "redis://{}@host", "redis://:{}", "redis://user:{}"),
    *(
        "redis://:{}@",
        "redis://host:{}",
        "redis://host:6379/{}",
        "redis://host#{}",
        "redis:/:{}@host",
        "redis//:{}@host",
    ),
    *(
        "redis:{}@host",
        "{}",
        "{}@host:6379",
        ":{}@host",
        "http://:{}@host",
        "redis://:{}@host:port",
        "redis://[{}@host",
    ),
    *("redis://:{}@host:99999/0", "redis://:{}@host/zero", '"redis://:{}@host"', "'redis://:{}@host", "<{}>"),
    *(
        "redis://:{}@host # remark",
        "redis://host # {}",
        "REDIS_URL=redis://:{}@host",
        "redis://:{}@ho st",
        "unix://:{}@",
    ),
    *("redis://:{}@host?x=1", "redis://host:6379/0?password={}", "redis://:{}\x07@host", "redis://:{}\udcff@host"),
]
_STORE = [
    *(
        "http://key:{}@store:9000",
        "http://{}@store",
        "{}",
        "http://store#{}",
        "http://store?key={}",
        "s3://k:{}@bucket",
    ),
    *("http:/k:{}@store", "http//k:{}@store", "k:{}@store", "http://k:{}", "ftp://k:{}@store", '"http://k:{}@store"'),
    *("http://k:{}@store:port", "http://[k:{}@store", "http://store # {}", "http://k:{}\x07@store", "<{}>"),
]
_TEXT = [
    *(
        "{}",
        '"{}"',
        "'{}'",
        "'{}",
        "{}'",
        "{} # remark",
        "<{}>",
        "S3_SECRET_ACCESS_KEY={}",
        "{}\x07x",
        "{}\udcff",
        "\u201c{}\u201d",
    ),
    "{}\nx",
]


def _malformed() -> Iterator[tuple[str, str]]:
    """Every setting that can hold a secret, and every way to get its value wrong."""
    ways = {
        "REDIS_URL": _REDIS,
        "S3_ENDPOINT_URL": _STORE,
        **dict.fromkeys(("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "REDIS_PASSWORD", "REDIS_USERNAME"), _TEXT),
        "S3_ACCESS_KEY_ID_FILE": [*_TEXT, "/{}", "/{}/x", "./{}"],
        "S3_SECRET_ACCESS_KEY_FILE": [*_TEXT, "/{}", "/{}/x", "./{}"],
        # A secret by itself may be the name of a host.
        "REDIS_HOST": [*(form for form in _REDIS if form != "{}"), *_TEXT[1:]],
        "REDIS_DB": _TEXT,
    }
    for name, forms in ways.items():
        yield from ((name, form) for form in forms)


#: With an @ in the secret what follows it is a host like any other.
_WITHOUT_A_HOST = {"redis://:{}", "redis://user:{}", "redis://host:{}"}


@pytest.mark.parametrize(("name", "form"), list(_malformed()))
def test_a_secret_is_in_no_output_however_its_setting_is_malformed(name: str, form: str, tmp_path: Path) -> None:
    """The sentences of a refusal; else the first line of the log, what is told of older names, and every way to print
    the settings. What services answer is tried with the whole daemon, in e2e/test_secrets.py."""
    for special in _SPECIAL:
        if special == "@" and form in _WITHOUT_A_HOST:
            continue
        secret = f"{canary.CANARY}{special}{canary.CANARY}"
        environ = {"REDIS_HOST": "cache", "S3_ACCESS_KEY_ID": "k", "S3_SECRET_ACCESS_KEY": "s"}
        if name.startswith("S3_") and name.endswith("_FILE"):
            del environ[name.removesuffix("_FILE")]
        environ[name] = form.format(secret) if "{}" in form else form
        if name == "REDIS_URL":
            del environ["REDIS_HOST"]
        told = _told(environ)
        assert not canary.is_told(told), (environ[name], told)
        (tmp_path / ".env").write_text(f'{name}="{environ[name]}\n{name} {secret}\n', "utf-8", "surrogateescape")
        told = _told({}, tmp_path / ".env")
        assert not canary.is_told(told), told


def _told(environ: dict[str, str], env_file: Path | None = None) -> str:
    try:
        loaded = load_settings(environ, env_file)
    except ConfigurationError as refused:
        return f"{refused}\n" + "\n".join(refused.problems)
    settings = loaded.settings
    lines = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        configure_logging("production", "DEBUG", settings.secrets(), stream=lines)
        metrics = Metrics(version="test")
        metrics.emit(moments.DaemonStarted("test", None, settings.summary()))
        for notice in loaded.notices:
            metrics.emit(moments.SettingsNotice(notice))
        logging.getLogger("redis").warning("connecting to %s", settings.redis_url)
    finally:
        logging.getLogger().handlers[:] = before
    return f"{lines.getvalue()}{settings!r}{settings}{settings.summary()}{loaded!r}"


def test_the_right_settings_are_found_in_the_line_that_is_searched() -> None:
    """Else nothing could be found there."""
    told = _told({"REDIS_URL": "redis://:pass@cache:7000/1", "S3_BUCKET_NAME": "clips"})
    assert '"redis_url": "redis://cache:7000/1"' in told
    assert "connecting to redis://***@cache:7000/1" in told
    assert Settings().s3_bucket_name in _told({})

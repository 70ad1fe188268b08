"""Trial mode: services that the settings do not define are started beside the daemon, and end with it.

Only this module and ``main`` read settings: the addresses of the embedded services become settings, so that everything
else is built as usual.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from .config import Settings
from .embedded import AWS_CONFIG_NAME, embedded_redis, embedded_s3, find_versitygw
from .settings import without_user_info

_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Place:
    """The settings, including the embedded services, and what to print about them."""

    settings: Settings
    copies: str
    browse: str | None
    notice: str | None = None


async def start_what_is_missing(settings: Settings, stack: AsyncExitStack) -> Place:
    """Start services that are not set, if enabled; the resulting settings contain them."""
    place = Place(settings, copies=_where_copies_are(settings), browse=None)
    if settings.embedded_services != "auto":
        return place
    data = settings.embedded_data_dir.absolute()
    persistent = True
    if not settings.s3_endpoint_url_given:
        place, persistent = await _embed_s3(place, data, stack)
    if not settings.redis_url_given:
        redis = await stack.enter_async_context(embedded_redis(data, persistent=persistent))
        place = replace(place, settings=place.settings.model_copy(update={"redis_url": redis.url}))
    return place


def _where_copies_are(settings: Settings) -> str:
    where = f"bucket {settings.s3_bucket_name}"
    return f"{where} at {without_user_info(settings.s3_endpoint_url)}" if settings.s3_endpoint_url else where


async def _embed_s3(place: Place, data: Path, stack: AsyncExitStack) -> tuple[Place, bool]:
    s3 = await stack.enter_async_context(embedded_s3(data, versitygw=find_versitygw(_CHECKOUT)))
    settings = place.settings
    # Built again rather than copied, so that the secret becomes a secret.
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    given |= {
        "s3_endpoint_url": s3.endpoint_url,
        "s3_access_key_id": s3.access_key_id,
        "s3_secret_access_key": s3.secret_access_key,
        "s3_region_name": s3.region,
    }
    notice = None
    if s3.objects_dir is None:
        notice = "VersityGW is not installed: objects are in memory only (moto) and are lost at the end."
    copies = str(s3.objects_dir / settings.s3_bucket_name) if s3.objects_dir else f"memory, at {s3.endpoint_url}"
    browse = f"{s3.browse_url}  (keys: {data / AWS_CONFIG_NAME})" if s3.browse_url else None
    return Place(Settings(**given), copies, browse, notice), s3.objects_dir is not None


def say_where_all_is(place: Place, port: int, *, has_page: bool) -> None:
    """Print the lines that a trial user needs. ``has_page``: the status page is served."""
    settings = place.settings
    if settings.embedded_services != "auto":
        return
    if has_page:
        print(f"Status page            http://{_reachable(settings.prom_host)}:{port}/")
    if place.notice:
        print(place.notice)
    print(f"Drop recordings into   {settings.watch_dir.absolute()}")
    print(f"Objects are stored in  {place.copies}")
    print(f"Browse the bucket at   {place.browse or 'the web page of the store, if it has one'}")
    print(f"Metrics                http://{settings.prom_host}:{port}/metrics", flush=True)


def _reachable(host: str) -> str:
    """An address for a browser on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host

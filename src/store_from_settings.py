"""How the store is reached, according to the settings; for the daemon and for the commands."""

from __future__ import annotations

from .config import Settings
from .s3_client import Choice, KeySettings, StoreSettings


def store_settings(settings: Settings) -> StoreSettings:
    """The settings of the store for ``s3_client``."""
    checksum = {"auto": Choice.AUTO, "crc64nvme": Choice.ON, "none": Choice.OFF}[settings.s3_checksum]
    secret = settings.s3_secret_access_key
    return StoreSettings(
        bucket=settings.s3_bucket_name,
        endpoint_url=settings.s3_endpoint_url,
        keys=KeySettings(
            access_key_id=settings.s3_access_key_id,
            secret_access_key=secret.get_secret_value() if secret else None,
            access_key_id_file=settings.s3_access_key_id_file,
            secret_access_key_file=settings.s3_secret_access_key_file,
        ),
        region=settings.s3_region_name,
        key_prefix=settings.s3_key_prefix,
        addressing_style=settings.s3_addressing_style,
        checksum=checksum,
        conditional_writes=Choice(settings.s3_conditional_writes),
        part_copy=Choice(settings.s3_part_copy),
        equal_parts=Choice(settings.s3_equal_parts),
        max_parts=settings.s3_max_parts,
        payload_signing=Choice(settings.s3_payload_signing),
        # In addition to those for turns: small requests that hang, and completions, keep theirs for long.
        connections=settings.max_concurrent_streams * settings.parts_in_flight + 1_000,
    )

"""Reading and validating settings of any kind; ``config`` defines which settings exist.

Sources, older names, types and error messages. An error message repeats what the operator typed and says what to type
instead. The definitions of the settings are passed in as an argument.
"""

from .addresses import url_secrets, without_user_info
from .allowed_values import (
    LOWER,
    BucketName,
    Duration,
    Folder,
    Host,
    HostNames,
    HttpUrl,
    KeyPrefix,
    LogLevel,
    OnOff,
    Patterns,
    RedisUrl,
    Seconds,
    SecondsOrOff,
    ZeroOrASecond,
    seconds_of,
)
from .complaints import CREDENTIALS, sentence, slip, unusable
from .env_files import filled, read_env_file
from .example import example_text, written_defaults
from .findings import Findings, Given
from .key_files import check_key_pair, check_password_file
from .near_names import misspelt
from .older_names import OLD_NAMES, take_older_spellings
from .typed_values import leaves_out_all

__all__ = [
    "CREDENTIALS",
    "LOWER",
    "OLD_NAMES",
    "BucketName",
    "Duration",
    "Findings",
    "Folder",
    "Given",
    "Host",
    "HostNames",
    "HttpUrl",
    "KeyPrefix",
    "LogLevel",
    "OnOff",
    "Patterns",
    "RedisUrl",
    "Seconds",
    "SecondsOrOff",
    "ZeroOrASecond",
    "check_key_pair",
    "check_password_file",
    "example_text",
    "filled",
    "leaves_out_all",
    "misspelt",
    "read_env_file",
    "seconds_of",
    "sentence",
    "slip",
    "take_older_spellings",
    "unusable",
    "url_secrets",
    "without_user_info",
    "written_defaults",
]

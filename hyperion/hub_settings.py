"""The settings of the Hub as a store, and where their numbers come from.

The Hub allows about 128 commits an hour and repository, and advises 50 to 100 files each; a commit
may take it two minutes.
"""

from dataclasses import dataclass, field

from hyperion import environ as read

HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """With a token and a repository photos go there instead of into a folder."""

    hf_token: str = field(
        default="",
        repr=False,
        metadata={"name": "HF_TOKEN", "parse": read.text, "doc": "token that may write to the photos' repository"},
    )
    hf_repo_id: str = read.setting(
        "HF_REPO_ID", read.repository, "", "dataset on the Hugging Face Hub that keeps the photos, as owner/name"
    )
    hf_endpoint: str = read.setting("HF_ENDPOINT", read.http_url, HUB, "address of the Hub")
    hub_private: bool = read.setting(
        "HYPERION_HUB_PRIVATE", read.yes_or_no, True, "whether the repository is private; it must be what this says"
    )
    hub_xet: bool = read.setting(
        "HYPERION_HUB_XET", read.yes_or_no, True, "whether photos are sent by xet; else by plain Git LFS"
    )
    hub_most_files: int = read.setting(
        "HYPERION_HUB_MOST_FILES", read.whole(1, 1000), 250, "most photos in one commit while commits are scarce"
    )
    hub_batch_bytes: int = read.setting(
        "HYPERION_HUB_BATCH_BYTES", read.whole(1 << 20, 1 << 36), 100_000_000, "size at which a commit is full"
    )
    hub_spool_bytes: int = read.setting(
        "HYPERION_HUB_SPOOL_BYTES",
        read.whole(1 << 20, 1 << 36),
        1_000_000_000,
        "the same while commits are scarce, and what a batch may take on disk",
    )
    hub_linger_s: float = read.setting(
        "HYPERION_HUB_LINGER_S", read.seconds(0, 600), 2.0, "time that a commit waits for more photos"
    )
    hub_commits_per_hour: int = read.setting(
        "HYPERION_HUB_COMMITS_PER_HOUR", read.whole(1, 100_000), 120, "commits an hour; each gives one back"
    )
    hub_burst: int = read.setting(
        "HYPERION_HUB_BURST", read.whole(1, 1000), 8, "commits that may be saved up and made at once"
    )
    hub_connect_timeout_s: float = read.setting(
        "HYPERION_HUB_CONNECT_TIMEOUT_S", read.seconds(0.1, 600), 10.0, "time the Hub has to accept a connection"
    )
    hub_timeout_s: float = read.setting(
        "HYPERION_HUB_TIMEOUT_S", read.seconds(0.1, 3600), 150.0, "time the Hub has to say something"
    )
    hub_stop_s: float = read.setting(
        "HYPERION_HUB_STOP_S", read.seconds(0, 600), 3.0, "time a stopping archiver waits for a commit under way"
    )
    hub_first_pause_s: float = read.setting(
        "HYPERION_HUB_FIRST_PAUSE_S", read.seconds(0.01, 3600), 2.0, "pause after a first failure, then doubling"
    )
    hub_last_pause_s: float = read.setting(
        "HYPERION_HUB_LAST_PAUSE_S", read.seconds(0.01, 86400), 300.0, "longest such pause"
    )
    hub_refused_pause_s: float = read.setting(
        "HYPERION_HUB_REFUSED_PAUSE_S", read.seconds(0.01, 86400), 300.0, "pause after the Hub refused the token"
    )
    hub_longest_wait_s: float = read.setting(
        "HYPERION_HUB_LONGEST_WAIT_S", read.seconds(1, 86400), 7200.0, "longest wait that the Hub may ask for"
    )
    hub_late_s: float = read.setting(
        "HYPERION_HUB_LATE_S",
        read.seconds(0, 86400),
        300.0,
        "time in which a commit may still happen of which the end is unknown",
    )
    hub_paths_at_once: int = read.setting(
        "HYPERION_HUB_PATHS_AT_ONCE", read.whole(1, 1000), 500, "most files that are asked about in one request"
    )

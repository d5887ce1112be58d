"""The Hub's own client library, blocking: one commit, with nothing in it that retries or waits by itself."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion import logs
from hyperion.errors import StorePaused
from hyperion.media.store.hub_faults import HubUnreachable
from hyperion.media.store.interface import Item

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import CommitOperationAdd, HfApi

log = logs.get_logger()

BRANCH = "main"
UPLOADS_AT_ONCE = 4
UPLOAD_BYTES = 16_000_000
_REPEATED = (408, 429)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Which repository, how to reach it, and how long to wait for it."""

    id: str
    endpoint: str
    token: str
    is_private: bool
    use_xet: bool
    connect_timeout_s: float
    timeout_s: float
    paths_at_once: int
    cache: Path


class HubClient:
    """Every method must be called in one and the same thread.

    They raise whatever the library raises; `hub_faults.fault_of` tells what it means. The library
    is imported by the first call, as it takes 30 MB and reads its settings then.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._api: HfApi | None = None

    def commit(
        self, puts: Sequence[Item], deletes: Sequence[str], *, summary: str, description: str, is_doubtful: bool
    ) -> None:
        """Put and delete in one commit, or in none where nothing is left to do.

        The operations are made anew for each attempt: only then does the library ask what is there
        already and leave it out. While an earlier attempt may still be under way (`is_doubtful`),
        the commit is tied to the head as it was before that question, so that of the two one fails.
        Raises StorePaused where others can see what they must not.
        """
        if self._api is None:
            self._api = self._import()
        api = self._api
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415

        head = self._head(api)
        adds = [CommitOperationAdd(item.path, item.source) for item in puts]
        gone = [CommitOperationDelete(path, is_folder=False) for path in self._existing(api, deletes)]
        if adds or gone:
            self._upload(api, adds)
            api.create_commit(
                self._repository.id,
                [*adds, *gone],
                commit_message=summary,
                commit_description=description,
                repo_type="dataset",
                revision=BRANCH,
                parent_commit=head if is_doubtful else None,
                num_threads=UPLOADS_AT_ONCE,
            )

    def _upload(self, api: "HfApi", adds: "Sequence[CommitOperationAdd]") -> None:
        """Send the contents, a few at a time: xet keeps in memory, several times over, what it is given at once."""
        some: list[CommitOperationAdd] = []
        for number, add in enumerate(adds, start=1):
            some.append(add)
            if number == len(adds) or sum(each.upload_info.size for each in some) >= UPLOAD_BYTES:
                api.preupload_lfs_files(
                    self._repository.id,
                    some,
                    repo_type="dataset",
                    revision=BRANCH,
                    num_threads=UPLOADS_AT_ONCE,
                    free_memory=False,
                )
                some = []

    def _existing(self, api: "HfApi", paths: Sequence[str]) -> list[str]:
        """Return those that are there: one that is not would fail the whole commit."""
        at_once = self._repository.paths_at_once
        found: set[str] = set()
        for start in range(0, len(paths), at_once):
            some = list(paths[start : start + at_once])
            found |= {info.path for info in api.get_paths_info(self._repository.id, some, repo_type="dataset")}
        return [path for path in paths if path in found]

    def _head(self, api: "HfApi") -> str | None:
        """Return the commit that the branch is at; make the repository if it is absent (None).

        Asked anew for each commit: its owner may delete it at any time, or let everybody see it.
        """
        from huggingface_hub.errors import RepositoryNotFoundError  # noqa: PLC0415

        wanted = self._repository.is_private
        try:
            info = api.repo_info(self._repository.id, repo_type="dataset")
        except RepositoryNotFoundError as error:
            if error.response.status_code != 404:
                raise
            api.create_repo(self._repository.id, repo_type="dataset", private=wanted, exist_ok=True)
            log.info("store.created", repository=self._repository.id, private=wanted)
            return None
        if bool(info.private) != wanted:
            is_, should = ("private", "public") if info.private else ("public", "private")
            raise StorePaused(
                "refused",
                f"the repository {self._repository.id} is {is_} and HYPERION_HUB_PRIVATE says {should}: change one",
            )
        return info.sha

    def _import(self) -> "HfApi":
        cache = str(self._repository.cache)
        os.environ |= {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_VERBOSITY": "error",
        }
        os.environ.setdefault("HF_HOME", cache)
        # Its own patience is ours to have: it would sleep where nobody sees it.
        os.environ.setdefault("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
        os.environ.setdefault("HF_XET_CLIENT_READ_TIMEOUT", f"{self._repository.timeout_s:g}s")
        os.environ.setdefault("HF_XET_CLIENT_CONNECT_TIMEOUT", f"{self._repository.connect_timeout_s:g}s")
        # With four files at once, its default, and batches of 1 GB it took 540 MB.
        os.environ.setdefault("HF_XET_DATA_MAX_CONCURRENT_FILE_INGESTION", "1")
        import huggingface_hub  # noqa: PLC0415
        from huggingface_hub import constants  # noqa: PLC0415

        for name in ("httpx2", "huggingface_hub"):
            logging.getLogger(name).setLevel(logging.ERROR)
        constants.HF_HUB_DISABLE_XET = not self._repository.use_xet
        huggingface_hub.set_client_factory(self._make_client)
        return huggingface_hub.HfApi(endpoint=self._repository.endpoint, token=self._repository.token)

    def _make_client(self) -> "httpx2.Client":
        """Return a client with timeouts, from which failures come out at once.

        The library would repeat most requests five times, and after a 429 sleep in here for as long
        as it is told to.
        """
        import httpx2  # noqa: PLC0415
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # noqa: PLC0415
            hf_raise_for_status,
        )

        class Transport(httpx2.HTTPTransport):
            def handle_request(self, request: httpx2.Request) -> httpx2.Response:
                try:
                    return super().handle_request(request)
                except httpx2.TransportError as error:
                    raise HubUnreachable(f"{type(error).__name__}: {error} ({request.url.host})") from error

        def raise_for_status(response: httpx2.Response) -> None:
            if response.status_code in _REPEATED or response.status_code >= 500:
                response.read()
                hf_raise_for_status(response)

        timeouts = httpx2.Timeout(self._repository.timeout_s, connect=self._repository.connect_timeout_s)
        return httpx2.Client(
            transport=Transport(),
            event_hooks={"response": [raise_for_status]},
            follow_redirects=True,
            timeout=timeouts,
        )

"""aiohttp-session's storage in Postgres: rows that tell which sessions there are and when they were seen."""

from aiohttp import web
from aiohttp_session import AbstractStorage, Session

from hyperion.web import sessions
from hyperion.web.presence import Presence


class PostgresStorage(AbstractStorage):
    """Keeps sessions in the table `web_session`, behind the requests.

    A session is named by the access token that carries it, so there is no cookie of its own. Loading
    one notes that it was seen, saving an invalidated one that it is over; the rows are written by the
    flusher, each at most every 30 s. A session holds nothing but its user's id: what else a request
    wants to know of its user is read fresh.
    """

    def __init__(self, presence: Presence) -> None:
        super().__init__()
        self._presence = presence

    async def load_session(self, request: web.Request) -> Session:
        """Return the session of the request's token; a new and empty one without a valid token."""
        claims = sessions.claimed(request)
        if claims is None:
            return Session(None, data=None, new=True)
        self._presence.saw(claims.session_id, claims.user_id)
        return Session(claims.session_id, data={"session": {"user_id": claims.user_id}}, new=False)

    async def save_session(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        """Note that an invalidated session is over; nothing else of a session can change."""
        if session.empty and session.identity:
            self._presence.ended(session.identity)

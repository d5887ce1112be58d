"""Who the fuzzer is: signed in as one user or as nobody, from ever other addresses."""

import os
import random
from typing import Any

import schemathesis

from hyperion.web.tokens import Tokens

Case = schemathesis.Case[Any]

# A signed-in run; without it there are no tokens at all.
USER_ID = os.environ.get("FUZZ_USER_ID")
# Whose photos may be deleted all at once, so that the other one keeps some.
CLEANER_ID = os.environ.get("FUZZ_CLEANER_ID", "")
TOKENS = Tokens(os.environ["SECRET_KEY"])


class FreshToken:
    """A new token for each request, since logging out and refreshing end the one they come with."""

    def get(self, case: Case, _context: object) -> str:
        user_id = CLEANER_ID if case.path == "/api/vault/all" else USER_ID
        return TOKENS.issue(str(user_id))

    def set(self, case: Case, token: str, _context: object) -> None:
        case.headers["Authorization"] = f"Bearer {token}"


if USER_ID:
    schemathesis.auth(refresh_interval=None)(FreshToken)  # none is kept


@schemathesis.hook
def before_call(_context: object, case: Case, _options: object) -> None:
    """Come from another address each time: the throttle of failed logins is tested elsewhere."""
    address = ".".join(str(random.randrange(1, 255)) for _ in range(4))
    case.headers["X-Forwarded-For"] = address

"""The least that can be compared with: an aiohttp handler that checks a token and makes one prepared query.

Usage: python -m benchmarks.http.bare PORT DATABASE_URL SECRET_KEY
"""

import sys

import asyncpg
import jwt
import uvloop
from aiohttp import web

POOL = web.AppKey("pool", asyncpg.Pool)
QUERY = "SELECT id, email, full_name, language FROM app_user WHERE id = $1"


def make_app(url: str, secret_key: str) -> web.Application:
    """Return an application of one route, written the way aiohttp's and asyncpg's manuals do it."""

    async def show_me(request: web.Request) -> web.Response:
        try:
            claims = jwt.decode(request.cookies["access_token"], secret_key, algorithms=["HS256"])
        except (KeyError, jwt.InvalidTokenError):
            raise web.HTTPUnauthorized from None
        async with request.app[POOL].acquire() as connection:
            row = await connection.fetchrow(QUERY, claims["sub"])
        if row is None:
            raise web.HTTPUnauthorized
        return web.json_response(dict(row))

    async def connect(app: web.Application):
        async with asyncpg.create_pool(url, min_size=16, max_size=16) as pool:
            app[POOL] = pool
            yield

    app = web.Application()
    app.cleanup_ctx.append(connect)
    app.router.add_get("/api/auth/me", show_me)
    return app


def main() -> None:
    """Serve until killed."""
    port, url, secret_key = sys.argv[1:]
    uvloop.install()
    web.run_app(make_app(url, secret_key), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()

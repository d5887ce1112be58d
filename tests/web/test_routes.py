"""The routes as data: what they declare is complete, and ids are what they should be."""

import pytest
from msgspec import json as msgspec_json

from hyperion.web.ids import Uuid7, nanoid
from hyperion.web.route import Route
from hyperion.web.routes import ROUTES


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_declares_types_from_which_a_schema_can_be_made(route: Route) -> None:
    kinds = [route.takes[name] for name in ("query", "body") if name in route.takes]
    kinds += [route.answers.kind] if route.answers.kind is not None else []

    msgspec_json.schema_components(kinds)

    assert route.handler.__doc__


def test_ids_of_photos_are_of_version_7_and_grow_even_within_a_millisecond() -> None:
    uuid7 = Uuid7()

    ids = [uuid7() for _ in range(10_000)]

    assert ids == sorted(set(ids))
    assert {(media_id.version, media_id.variant) for media_id in ids} == {(7, "specified in RFC 4122")}


def test_ids_of_users_have_21_url_safe_characters() -> None:
    ids = {nanoid() for _ in range(1000)}

    assert len(ids) == 1000
    assert {len(user_id) for user_id in ids} == {21}
    assert all(user_id.replace("-", "").replace("_", "").isalnum() for user_id in ids)

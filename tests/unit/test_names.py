"""What a stranger calls a file is shown as harmless text, and stored under a safe name."""

import re
import unicodedata
from datetime import date
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hyperion.media import names

TRICKY = st.text(st.characters() | st.sampled_from("./\\.\0\r\n\"'\u202e\u2066é ①"), max_size=300)


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("beach.jpg", "beach.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\beach.jpg", "beach.jpg"),
        ("be\0a\r\nch.jpg", "beach.jpg"),
        ("gpj.\u202ehcaeb", "gpj.hcaeb"),
        ('say "cheese".jpg', 'say "cheese".jpg'),
        ("cafe\u0301.jpg", "café.jpg"),
        ("海滩.jpg", "海滩.jpg"),
        ("x" * 5000 + ".jpeg", "x" * 250 + ".jpeg"),
        ("", "photo"),
        ("..", "photo"),
        ("a/", "photo"),
    ],
)
def test_a_name_is_shown_as_harmless_text(given_name: str, shown: str) -> None:
    assert names.display_name(given_name) == shown


@given(TRICKY)
def test_a_shown_name_is_one_short_visible_component(name: str) -> None:
    shown = names.display_name(name)

    assert 1 <= len(shown) <= 255
    assert not re.search(r"[/\\\0\r\n\u202a-\u202e\u2066-\u2069]", shown)
    assert unicodedata.is_normalized("NFC", shown)
    assert names.display_name(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("beach.jpg", "beach.jpg"),
        ("../../x", "x"),
        ("café au lait.JPG", "cafe_au_lait.JPG"),
        ("海滩.jpg", "photo.jpg"),
        (".htaccess", "htaccess"),
        ('a"; rm -rf "b.jpg', "a_rm_-rf_b.jpg"),
        ("x" * 5000 + ".jpg", "x" * 96 + ".jpg"),
        ("", "photo"),
        ("a℀b.jpg", "aa_cb.jpg"),
    ],
)
def test_a_stored_name_keeps_what_is_safe(given_name: str, stored: str) -> None:
    assert names.store_name(given_name) == stored


@given(TRICKY)
@example("." * 300)
@example("a" * 98 + ".....jpg")
def test_a_stored_name_is_a_safe_component(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", names.store_name(name))


def test_a_store_path_names_user_day_and_photo() -> None:
    media_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

    path = names.store_path("V1StGXR8_Z5jdHi6B-myT", media_id, "../x y.jpg", date(2026, 5, 1))

    assert path == f"media/V1StGXR8_Z5jdHi6B-myT/2026-05-01/{media_id}_x_y.jpg"


@pytest.mark.parametrize("user_id", ["", "..", "a/b", "a\n"])
def test_a_store_path_refuses_an_odd_user(user_id: str) -> None:
    with pytest.raises(ValueError, match="user id"):
        names.store_path(user_id, UUID(int=0), "a.jpg", date(2026, 5, 1))

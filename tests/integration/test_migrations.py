"""What migrations make of the rows that are there already."""

import psycopg

from hyperion.db.migrations import FOLDER

PHOTO = """
    INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)
    VALUES (gen_random_uuid(), %s, 'photo.jpg', 'image/jpeg', %s, 4, 3, 'PENDING', 'somewhere')
"""
USER = """
    INSERT INTO app_user (id, email, full_name, language, password_hash, created_at)
    VALUES (%s, %s, 'Ada', 'en', '', now() + make_interval(secs => %s))
"""


def text_of(name: str) -> bytes:
    return (FOLDER / f"{name}.sql").read_bytes()


def test_what_a_user_keeps_is_counted_anew_and_then_by_every_change(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(text_of("0011_one_truth.rollback"))
        for number, user in enumerate(("ada", "bob")):
            connection.execute(USER, (user, f"{user}@example.org", number))
        for size_bytes in (10, 20):
            connection.execute(PHOTO, ("ada", size_bytes))
        connection.execute("INSERT INTO feed (user_id, kept_files, kept_bytes) VALUES ('bob', 3, 7)")

        connection.execute(text_of("0011_one_truth"))
        connection.execute(PHOTO, ("bob", 5))
        connection.execute("DELETE FROM media WHERE size_bytes = 20")

        counted = connection.execute("SELECT user_id, photos, kept_bytes FROM feed ORDER BY user_id").fetchall()
    assert counted == [("ada", 1, 10), ("bob", 1, 5)]


def test_addresses_get_their_one_spelling_unless_it_is_somebody_elses(database_url: str) -> None:
    given = {
        "composed": "cafe\u0301@example.org",
        "taken": "\ufb01na@example.org",
        "taker": "Fina@example.org",
        "first": "\uff41da@example.org",
        "second": "\uff41\uff44a@example.org",
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(text_of("0011_one_truth.rollback"))
        for number, (user, email) in enumerate(given.items()):
            connection.execute(USER, (user, email, number))

        connection.execute(text_of("0011_one_truth"))

        emails: dict[str, str] = dict(connection.execute("SELECT id, email FROM app_user").fetchall())
    assert emails == given | {"composed": "caf\u00e9@example.org", "first": "ada@example.org"}

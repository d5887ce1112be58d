"""Users with very many photos, made by the database itself, for tests and benchmarks of reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

WINDOW = 0.1  # degrees; a reader's photos lie in windows of 500


@dataclass(frozen=True)
class Window:
    """A part of the map, in degrees."""

    min_lat: float
    max_lat: float
    min_lng: float
    max_lng: float

    @property
    def query(self) -> str:
        """The window as a query string."""
        return "&".join(f"{name}={value!r}" for name, value in vars(self).items())


def add_user(connection: psycopg.Connection[Any], user_id: str) -> None:
    """Add a user who can be known by a token alone."""
    connection.execute(
        "INSERT INTO app_user (id, email, full_name, language, password_hash) VALUES (%s, %s, 'Many Photos', 'en', '')",
        (user_id, f"{user_id}@example.org"),
    )


def window(number: int) -> Window:
    """Return the reader's window with this number, 0 to 199 for 100,000 photos; 500 photos lie in each."""
    lat, lng = round(10 + number % 20 * WINDOW, 1), round(20 + number // 20 * WINDOW, 1)
    return Window(lat, round(lat + WINDOW / 2, 2), lng, round(lng + WINDOW / 2, 2))


def add_reader(connection: psycopg.Connection[Any], user_id: str, *, photos: int) -> None:
    """Add a user with so many finished photos in windows of 500; every second one shows litter, one thing each."""
    add_user(connection, user_id)
    _add_media(
        connection,
        """
        SELECT n, 10 + n / 500 %% 20 * 0.1 + random() * 0.0499, 20 + n / 10000 * 0.1 + random() * 0.0499, n %% 2 = 0,
            50 + random() * 50, CASE n %% 2 WHEN 0 THEN ARRAY['bottle'] ELSE '{}' END
        FROM generate_series(0, %(photos)s - 1) AS n
        """,
        {"user": user_id, "photos": photos},
    )
    with _no_triggers(connection):
        connection.execute(
            """
            INSERT INTO detection (media_id, label, confidence, x, y, w, h)
            SELECT id, label, 0.8, 0.1, 0.2, 0.3, 0.4
            FROM media
            CROSS JOIN LATERAL unnest(labels) AS label
            WHERE user_id = %s
            """,
            (user_id,),
        )
        connection.execute(
            "INSERT INTO media_thumbnail (media_id, content) SELECT id, '' FROM media WHERE user_id = %s", (user_id,)
        )


SURVEYED = Window(40.0, 40.5, -4.0, -3.5)


def add_surveyor(connection: psycopg.Connection[Any], user_id: str, *, per_cell: int) -> None:
    """Add a user with so many photos of litter in each of the 10,000 cells of SURVEYED."""
    add_user(connection, user_id)
    _add_media(
        connection,
        """
        SELECT n, (8000.1 + n / %(per_cell)s / 100 + n %% 9 * 0.1) * 0.005,
            (-799.9 + n / %(per_cell)s %% 100 + n %% 8 * 0.1) * 0.005, true,
            50 + n %% 50, ARRAY[(ARRAY['bag', 'bottle', 'can'])[1 + n %% 3]]
        FROM generate_series(0, 10000 * %(per_cell)s - 1) AS n
        """,
        {"user": user_id, "per_cell": per_cell},
    )


def _add_media(connection: psycopg.Connection[Any], rows: str, values: dict[str, object]) -> None:
    """Add photos of (number, lat, lng, has trash, confidence, labels), without the triggers.

    For a million in one statement those need many times as long; what they count is counted at the end.
    """
    with _no_triggers(connection):
        connection.execute(
            f"""
            INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path,
                stored_at, assigned_worker, created_at, lat, lng, has_trash, confidence, labels)
            SELECT (substr(md5(%(user)s), 1, 24) || lpad(to_hex(n), 8, '0'))::uuid, %(user)s, 'photo ' || n || '.jpg',
                'image/jpeg', 2000000, 4000, 3000, 'READY', 'media/' || n, now(), 'Helios',
                now() - make_interval(secs => n), lat, lng, has_trash, confidence, labels
            FROM ({rows}) AS made (n, lat, lng, has_trash, confidence, labels)
            """.encode(),
            values,
        )
    connection.execute(
        """
        INSERT INTO feed (user_id, photos, version)
        SELECT user_id, count(*), 1 FROM media WHERE user_id = %(user)s GROUP BY user_id
        """,
        values,
    )
    connection.execute(
        """
        INSERT INTO map_cell (user_id, lat_cell, lng_cell, photos, rated, confidence)
        SELECT user_id, map_cell_of(lat), map_cell_of(lng), count(*), count(confidence), sum(confidence::numeric)
        FROM media
        WHERE user_id = %(user)s AND has_trash
        GROUP BY 1, 2, 3
        """,
        values,
    )
    connection.execute(
        """
        INSERT INTO map_label (user_id, lat_cell, lng_cell, label, things)
        SELECT user_id, map_cell_of(lat), map_cell_of(lng), label, count(*)
        FROM media
        CROSS JOIN LATERAL unnest(labels) AS label
        WHERE user_id = %(user)s AND has_trash
        GROUP BY 1, 2, 3, 4
        """,
        values,
    )


@contextmanager
def _no_triggers(connection: psycopg.Connection[Any]) -> Iterator[None]:
    connection.execute("SET session_replication_role = replica")
    yield
    connection.execute("SET session_replication_role = DEFAULT")


def add_fleet(connection: psycopg.Connection[Any], *, waiting: int) -> None:
    """Add ten workers that beat a moment ago, and so many tasks that wait for one."""
    connection.execute(
        """
        INSERT INTO actor (node, name, label, kind, boot, pid, state)
        SELECT 'elsewhere', 'Titan ' || n, 'Titan ' || n || '@elsewhere', 'worker', n, n, 'ready'
        FROM generate_series(1, 10) AS n
        """
    )
    connection.execute(
        """
        INSERT INTO actor_day (label, day, done)
        SELECT label, (now() AT TIME ZONE 'UTC')::date, 100 FROM actor WHERE kind = 'worker'
        """
    )
    connection.execute(
        """
        WITH added AS (
            INSERT INTO task (lane, kind, payload)
            SELECT 'analyse', 'simulate', '{}' FROM generate_series(1, %s)
            RETURNING id
        )
        INSERT INTO task_ready (lane, seq, task_id) SELECT 'analyse', nextval('task_seq'), id FROM added
        """,
        (waiting,),
    )

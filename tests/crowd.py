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
    connection.execute(
        """
        INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path,
            stored_at, assigned_worker, lat, lng, has_trash, confidence, labels, created_at)
        SELECT gen_random_uuid(), %(user)s, 'photo ' || n || '.jpg', 'image/jpeg', 2000000, 4000, 3000, 'READY',
            'media/' || n, now(), 'Helios', 10 + w %% 20 * 0.1 + random() * 0.0499,
            20 + w / 20 * 0.1 + random() * 0.0499, n %% 2 = 0, 50 + random() * 50,
            CASE n %% 2 WHEN 0 THEN ARRAY['bottle'] ELSE '{}' END, now() - make_interval(secs => n)
        FROM (SELECT n, n / 500 AS w FROM generate_series(0, %(photos)s - 1) AS n) AS numbered
        """,
        {"user": user_id, "photos": photos},
    )
    _add_detections(connection, user_id)
    connection.execute(
        "INSERT INTO media_thumbnail (media_id, content) SELECT id, '' FROM media WHERE user_id = %s", (user_id,)
    )


SURVEYED = Window(40.0, 40.5, -4.0, -3.5)


def add_surveyor(connection: psycopg.Connection[Any], user_id: str, *, per_cell: int) -> None:
    """Add a user with so many photos of litter in each of the 10,000 cells of SURVEYED.

    Without the triggers, which need many times as long for a million in one statement; what they count
    is written straight away.
    """
    add_user(connection, user_id)
    values = {"user": user_id, "per_cell": per_cell}
    with _no_triggers(connection):
        connection.execute(
            """
            INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path,
                stored_at, lat, lng, has_trash, confidence, labels)
            SELECT lpad(to_hex(n), 32, '0')::uuid, %(user)s, n || '.jpg', 'image/jpeg', 2000000, 4000, 3000, 'READY',
                'media/' || n, now(), (8000.1 + cell / 100 + place %% 9 * 0.1) * 0.005,
                (-799.9 + cell %% 100 + place %% 8 * 0.1) * 0.005, true, 50 + place %% 50,
                ARRAY[(ARRAY['bag', 'bottle', 'can'])[1 + place %% 3]]
            FROM (
                SELECT n, n / %(per_cell)s AS cell, n %% %(per_cell)s AS place
                FROM generate_series(0, 10000 * %(per_cell)s - 1) AS n
            ) AS numbered
            """,
            values,
        )
    connection.execute("INSERT INTO feed (user_id, photos, version) VALUES (%(user)s, 10000 * %(per_cell)s, 1)", values)
    connection.execute(
        """
        INSERT INTO map_cell (user_id, lat_cell, lng_cell, photos, rated, confidence)
        SELECT %(user)s, 8000 + cell / 100, -800 + cell %% 100, %(per_cell)s, %(per_cell)s,
            (SELECT sum(50 + place %% 50) FROM generate_series(0, %(per_cell)s - 1) AS place)
        FROM generate_series(0, 9999) AS cell
        """,
        values,
    )
    connection.execute(
        """
        INSERT INTO map_label (user_id, lat_cell, lng_cell, label, things)
        SELECT
            %(user)s,
            8000 + cell / 100,
            -800 + cell %% 100,
            (ARRAY['bag', 'bottle', 'can'])[1 + place %% 3],
            count(*)
        FROM generate_series(0, 9999) AS cell, generate_series(0, %(per_cell)s - 1) AS place
        GROUP BY 2, 3, 4
        """,
        values,
    )


@contextmanager
def _no_triggers(connection: psycopg.Connection[Any]) -> Iterator[None]:
    connection.execute("SET session_replication_role = replica")
    yield
    connection.execute("SET session_replication_role = DEFAULT")


def _add_detections(connection: psycopg.Connection[Any], user_id: str) -> None:
    """Add what the photos' labels say, without the triggers, which would write the labels once more."""
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

"""Users with very many photos, made by the database itself, for tests and benchmarks of reading."""

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
            stored_at, assigned_worker, lat, lng, has_trash, confidence, created_at)
        SELECT gen_random_uuid(), %(user)s, 'photo ' || n || '.jpg', 'image/jpeg', 2000000, 4000, 3000, 'READY',
            'media/' || n, now(), 'Helios', 10 + w %% 20 * 0.1 + random() * 0.0499,
            20 + w / 20 * 0.1 + random() * 0.0499, n %% 2 = 0, 50 + random() * 50, now() - make_interval(secs => n)
        FROM (SELECT n, n / 500 AS w FROM generate_series(0, %(photos)s - 1) AS n) AS numbered
        """,
        {"user": user_id, "photos": photos},
    )
    connection.execute(
        """
        INSERT INTO detection (media_id, label, confidence, x, y, w, h, area_sqm)
        SELECT id, (ARRAY['bottle', 'can', 'bag'])[1 + (random() * 2)::int], 0.8, 0.1, 0.2, 0.3, 0.4, 0.5
        FROM media
        WHERE user_id = %s AND has_trash
        """,
        (user_id,),
    )
    connection.execute(
        "INSERT INTO media_thumbnail (media_id, content) SELECT id, '' FROM media WHERE user_id = %s", (user_id,)
    )


SURVEYED = Window(40.0, 40.5, -4.0, -3.5)


def add_surveyor(connection: psycopg.Connection[Any], user_id: str, *, photos: int) -> None:
    """Add a user with so many photos of litter, evenly over SURVEYED: 10,000 cells of 0.005 degrees."""
    add_user(connection, user_id)
    connection.execute(
        """
        INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path,
            stored_at, lat, lng, has_trash, confidence)
        SELECT gen_random_uuid(), %(user)s, n || '.jpg', 'image/jpeg', 2000000, 4000, 3000, 'READY', 'media/' || n,
            now(), 40 + random() * 0.5, -4 + random() * 0.5, true, 50 + random() * 50
        FROM generate_series(1, %(photos)s) AS n
        """,
        {"user": user_id, "photos": photos},
    )
    connection.execute(
        """
        INSERT INTO detection (media_id, label, confidence, x, y, w, h)
        SELECT id, (ARRAY['bottle', 'can', 'bag'])[1 + (random() * 2)::int], 0.8, 0.1, 0.2, 0.3, 0.4
        FROM media
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

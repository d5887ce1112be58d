"""What gathers in memory before it is written: requests, sessions, histograms."""

import time

from hyperion import histogram
from hyperion.web.presence import MOST_SESSIONS, Presence
from hyperion.web.traffic import LOOK_BACK_S, SLOT_S, Traffic

KEY = ("/api/auth/me", "GET", 200)


def test_a_value_on_a_bound_belongs_below_it() -> None:
    found = histogram.counts((1.0, 2.0), 1.0, 3)

    assert found == [3, 0, 0]
    assert histogram.cumulative((1.0, 2.0), [1, 0, 2]) == [("1.0", 1), ("2.0", 1), ("+Inf", 3)]


def test_requests_of_one_route_gather_in_one_count() -> None:
    traffic = Traffic()
    for began_s in range(100):
        traffic.count(KEY, began_s=began_s, ended_s=began_s + 0.02)

    timing = traffic.take().timings[KEY]

    assert (timing.requests, round(timing.duration_s, 6), timing.buckets[2]) == (100, 2.0, 100)
    assert traffic.take().is_empty()


def test_while_nobody_takes_them_slots_do_not_pile_up() -> None:
    traffic = Traffic()
    for ended_s in range(0, 100_000, 5):
        traffic.count(KEY, began_s=ended_s, ended_s=ended_s)

    counted = traffic.take()

    assert len(counted.slots) <= LOOK_BACK_S / SLOT_S + 1
    assert counted.timings[KEY].requests == 20_000


def test_a_session_is_handed_over_at_most_every_30_seconds_and_never_lost() -> None:
    presence = Presence()
    began_s = time.monotonic()

    presence.saw("s", "ada")
    first, _ = presence.take(began_s)
    presence.saw("s", "ada")
    too_soon, _ = presence.take(began_s + 29)
    later, _ = presence.take(began_s + 31)
    quiet, _ = presence.take(began_s + 62)

    assert [len(taken) for taken in (first, too_soon, later, quiet)] == [1, 0, 1, 0]
    assert later[0].first_s >= first[0].last_s


def test_a_session_with_an_open_socket_is_seen_for_as_long_as_that_is_open() -> None:
    presence = Presence()
    began_s = time.monotonic()

    presence.connect("s", "ada")
    presence.connect("s", "ada")
    presence.disconnect("s", "ada")
    taken = [len(presence.take(began_s + after_s)[0]) for after_s in (0, 31, 62)]
    presence.disconnect("s", "ada")

    assert taken == [1, 1, 1]
    assert presence.take(began_s + 93) == ([], {})


def test_sessions_beyond_what_is_remembered_push_out_the_oldest() -> None:
    presence = Presence()

    for number in range(MOST_SESSIONS + 5):
        presence.saw(f"s{number}", "ada")
        presence.ended(f"s{number}")
    seen, ended = presence.take(time.monotonic())

    assert (len(seen), len(ended)) == (MOST_SESSIONS, MOST_SESSIONS)
    assert seen[0].session_id == "s5"

"""Places are named from the gazetteer on disk."""

import multiprocessing
from pathlib import Path

import pytest

from hyperion.media.address import Gazetteer, build
from tests.places import gazetteer_folder


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return Gazetteer(gazetteer_folder())


@pytest.mark.parametrize(
    ("lat", "lng", "name"),
    [
        (52.52, 13.405, "Berlin, Germany"),
        (52.50, 13.40, "Berlin, Germany"),
        (52.40, 13.06, "Potsdam, Germany"),
        (40.706, -74.009, "New York City, United States"),
        (39.9156, 116.3908, "Beijing, China"),
        (59.3326, 18.0649, "Stockholm, Sweden"),
        (-33.8688, 151.2093, "Sydney, Australia"),
        (78.2232, 15.6267, "Longyearbyen, Svalbard and Jan Mayen"),
    ],
)
def test_a_place_is_called_by_its_city_and_country(gazetteer: Gazetteer, lat: float, lng: float, name: str) -> None:
    assert gazetteer.address(lat, lng) == name


@pytest.mark.parametrize(("lat", "lng"), [(0.0, -150.0), (90.0, 0.0), (-90.0, 180.0), (45.0, -180.0)])
def test_far_from_any_place_there_is_no_address(gazetteer: Gazetteer, lat: float, lng: float) -> None:
    assert gazetteer.address(lat, lng) is None


def test_the_line_where_the_date_changes_parts_no_place_from_its_surroundings(gazetteer: Gazetteer) -> None:
    east, west = gazetteer.address(66.32, 179.9), gazetteer.address(66.32, -179.2)

    assert (east, west) == ("Egvekinot, Russian Federation",) * 2


def test_a_photo_without_a_position_has_no_address(gazetteer: Gazetteer) -> None:
    assert gazetteer.address(None, None) is None


def test_workers_that_make_the_file_at_once_get_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "places"
    context = multiprocessing.get_context("spawn")
    builders = [context.Process(target=build, args=(target,)) for _ in range(2)]

    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    assert [builder.exitcode for builder in builders] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["places", "places.lock"]


def test_a_gazetteer_that_cannot_be_made_costs_the_address_alone() -> None:
    gazetteer = Gazetteer(Path("/proc/nowhere"))

    assert gazetteer.address(52.5, 13.4) is None
    assert gazetteer.address(52.5, 13.4) is None

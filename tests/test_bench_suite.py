"""What the benchmark's report makes of results that are fixed here. Nothing is measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench.report import svg
from tests.bench.report.page import filled, parts, write
from tests.bench.report.plots import plots
from tests.bench.report.results import Failure, Measured, Results, Sample, load, save
from tests.bench.report.summary import Spread, cpu, ratio, spread
from tests.bench.report.tables import counts, environment, family_table, overview, table

if TYPE_CHECKING:
    from collections.abc import Mapping

TITLES = {"asgiserve-trio": "asgiserve, trio", "uvicorn": "uvicorn, httptools, uvloop", "daphne": "daphne, asyncio"}


def _sample(cpu_us: float, connection_kib: float | None = None) -> Sample:
    user, system = cpu_us * 0.75, cpu_us * 0.25
    return Sample(user_us=user, system_us=system, rss_mib=40.0, rate=10_000.0, connection_kib=connection_kib)


def _measured(name: str = "bare", **more: object) -> Measured:
    """Ours 10, 20, 12; uvicorn 20, 20, 40; daphne does not run in the second round."""
    rounds: list[Mapping[str, Sample | Failure]] = [
        {"asgiserve-trio": _sample(10), "uvicorn": _sample(20), "daphne": _sample(100)},
        {"asgiserve-trio": _sample(20), "uvicorn": _sample(20), "daphne": Failure("did not listen | within 20 s")},
        {"asgiserve-trio": _sample(12), "uvicorn": _sample(40), "daphne": _sample(300)},
    ]
    words: dict[str, object] = {"title": "Bare GET", "group": "get", "unit": "request", "titles": TITLES, **more}
    return Measured(name=name, **{"rounds": rounds, **words})  # type: ignore[arg-type]


def _growing(size: int, *costs: float) -> Measured:
    rounds = [{"asgiserve-trio": _sample(cost), "uvicorn": _sample(2 * cost)} for cost in costs]
    return _measured(f"growth-{size}", group="growth", family="growth", size=size, rounds=rounds)


def _idle() -> Measured:
    rounds = [{name: _sample(20, kib) for name, kib in (("asgiserve-trio", 8.0), ("uvicorn", 7.5))}]
    return _measured("idle", group="idle", kind="idle", size=10_000, rounds=rounds)


def _start() -> Measured:
    rounds = [{"asgiserve-trio": Sample(user_us=200_000, system_us=50_000, rss_mib=30.0, first_ms=410.0)}]
    return _measured("start", group="start", kind="start", unit="start", rounds=rounds)


def _results(*scenarios: Measured) -> Results:
    return Results(
        taken="2026-11-21",
        machine={"system": "Linux"},
        versions={"uvicorn": "0.54.0"},
        left_out={"nginx, no application": "nginx is not installed"},
        scenarios=list(scenarios),
    )


EVERYTHING = _results(_measured(), _idle(), _growing(1, 10, 11), _growing(10_000, 12, 15), _start())


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _row(markdown: str, server: str) -> dict[str, str]:
    rows = markdown.splitlines()
    found = next(row for row in rows if row.startswith(f"| {server} |"))
    return dict(zip(_cells(rows[0]), _cells(found), strict=True))


# --- statistics ---------------------------------------------------------------------------------------


def test_a_spread_is_the_median_with_the_lowest_and_the_highest() -> None:
    assert spread([3.0, 1.0, None, 20.0]) == Spread(median=3.0, low=1.0, high=20.0)
    assert spread([None]) is None


def test_cpu_is_user_and_system_time_together() -> None:
    assert cpu(_measured(), "asgiserve-trio") == Spread(12.0, 10.0, 20.0)


def test_a_ratio_is_taken_in_each_round_and_not_of_the_medians() -> None:
    assert ratio(_measured(), "asgiserve-trio") == Spread(0.5, 0.3, 1.0)  # of the medians: 12 / 20


def test_a_round_in_which_a_server_failed_counts_for_nothing() -> None:
    assert cpu(_measured(), "daphne") == Spread(200.0, 100.0, 300.0)
    assert ratio(_measured(), "daphne") == Spread(6.25, 5.0, 7.5)


def test_there_is_no_ratio_without_the_reference() -> None:
    assert ratio(_measured(rounds=[{"asgiserve-trio": _sample(10)}]), "asgiserve-trio") is None


# --- the file -----------------------------------------------------------------------------------------


def test_results_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    save(EVERYTHING, tmp_path / "deep" / "results.json")
    assert load(tmp_path / "deep" / "results.json") == EVERYTHING


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 99}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match="is not a file of results"):
        load(tmp_path / "results.json")


# --- tables -------------------------------------------------------------------------------------------


def test_a_row_has_the_median_the_range_and_the_ratio() -> None:
    row = _row(table(_measured()), "asgiserve, trio")
    assert (row["CPU µs per request"], row["lowest to highest"]) == ("12.0", "10.0 to 20.0")
    assert (row["of it system"], row["CPU to uvicorn[standard]"], row["requests/s"]) == ("3.0", "0.50", "10,000")
    assert row["errors"] == "none"


def test_a_server_that_failed_has_a_row_that_says_so() -> None:
    row = _row(table(_measured()), "daphne, asyncio")
    assert row["errors"] == "1 x did not listen / within 20 s"
    nothing = table(_measured(rounds=[{"uvicorn": Failure("ended at once")}]))
    assert _row(nothing, "uvicorn, httptools, uvloop")["CPU µs per request"] == "-"


def test_errors_of_the_load_are_summed_over_the_rounds() -> None:
    rounds = [{"uvicorn": Sample(user_us=1, system_us=1, rss_mib=1, errors={"read": count})} for count in (2, 3)]
    assert _row(table(_measured(rounds=rounds)), "uvicorn, httptools, uvloop")["errors"] == "5 x read"


def test_idle_connections_and_starts_have_columns_of_their_own() -> None:
    assert _row(table(_idle()), "asgiserve, trio")["KiB per idle connection"] == "8.0"
    start = _row(table(_start()), "asgiserve, trio")
    assert (start["ms to the first answer"], start["CPU ms"]) == ("410.0", "250.0")


def test_a_family_shares_a_table_that_says_what_the_largest_costs_to_the_cheapest() -> None:
    members = [_growing(10_000, 12, 16, 20), _growing(1, 30, 10, 11), _growing(100, 8, 8, 8)]
    row = _row(family_table(members), "asgiserve, trio")
    assert row["CPU µs, 1"] == "11.0 (10.0 to 30.0)"
    assert row["CPU µs, 10,000"] == "16.0 (12.0 to 20.0)"
    assert row["10,000 to cheapest"] == "2.00"


def test_the_overview_has_the_scenarios_that_are_loads_and_no_families() -> None:
    text = overview(EVERYTHING)
    assert "Bare GET, per request | - | - | 12.0 (0.50) | 20.0 (1.00) | - |" in text
    assert len(text.splitlines()) == 3
    assert overview(_results(_idle())) == ""


def test_instructions_are_in_thousands_with_their_ratio_to_the_last_server() -> None:
    text = counts(("asgiserve-trio", "uvicorn"), {"Bare GET": (76_250.0, 100_000.0), "TLS": (None, 1_234_567.0)})
    assert text.splitlines() == [
        "| thousands of instructions | asgiserve-trio | uvicorn |",
        "| --- | --: | --: |",
        "| Bare GET | 76.2 (0.76) | 100.0 (1.00) |",
        "| TLS | - | 1,234.6 (1.00) |",
    ]


def test_without_the_last_server_there_is_no_ratio() -> None:
    assert counts(("asgiserve-trio", "uvicorn"), {"Bare GET": (76_000.0, None)}).endswith("| Bare GET | 76.0 | - |")


def test_the_environment_names_what_was_left_out_and_why() -> None:
    assert "- nginx, no application: left out, nginx is not installed" in environment(EVERYTHING).splitlines()


# --- plots --------------------------------------------------------------------------------------------


def _elements(text: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def test_every_plot_that_there_are_numbers_for_is_drawn_and_is_xml() -> None:
    drawn = plots(EVERYTHING)
    assert set(drawn) == {"overview", "bare", "growth", "idle", "start"}
    for text in drawn.values():
        assert _elements(text, "text")
    assert plots(_results()) == {}


def test_a_bar_is_as_long_as_its_value() -> None:
    text = svg.bars("T", "s", [("a", Spread(10, 9, 11), 0), ("b", Spread(20, 20, 20), 1)])
    widths = [float(one.get("width", 0)) for one in _elements(text, "rect") if (one.get("class") or "").startswith("s")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_on_the_scale_of_ratios_a_half_is_as_far_from_one_as_a_double() -> None:
    text = svg.dots("T", "s", ["x", "y", "z"], [("row", {"x": 0.5, "y": 1.0, "z": 2.0})])
    places = [float(one.get("cx", 0)) for one in _elements(text, "circle")][3:]  # behind the legend's
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)


def test_everything_drawn_is_inside_the_picture() -> None:
    for text in plots(EVERYTHING).values():
        root = ElementTree.fromstring(text)
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        for one in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(one.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(one.get(name, 0)) <= height


def test_names_are_escaped() -> None:
    assert _elements(svg.bars("<T> & U", "s", [("a<b", Spread(1, 1, 1), 0)]), "text")[0].text == "<T> & U"


def test_each_colour_has_a_counterpart_for_dark_mode() -> None:
    light, _, dark = svg.bars("T", "s", [("a", Spread(1, 1, 1), 0)]).partition("prefers-color-scheme: dark")
    colours = {kind: re.search(rf"\.{kind} {{ fill: (#\w+)", light) for kind in ("s0", "s1", "s2", "s3", "s4", "paper")}
    for kind, found in colours.items():
        again = re.search(rf"\.{kind} {{ fill: (#\w+)", dark)
        assert found is not None, kind
        assert again is not None, kind
        assert found[1] != again[1], kind


# --- the page -----------------------------------------------------------------------------------------

PAGE = """# Speed

By hand.

<!-- measured: get -->
old
<!-- end -->

<!-- measured: tls -->
kept
<!-- end -->
"""


def test_a_part_is_replaced_and_what_was_written_by_hand_stays() -> None:
    page = filled(PAGE, {"get": "new"})
    assert page == PAGE.replace("old", "\nnew\n")
    assert filled(page, {"get": "new"}) == page


def test_a_page_is_filled_with_tables_and_has_its_plots_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text(PAGE)
    write(EVERYTHING, page)
    text = page.read_text()
    assert "![CPU per bare GET, by server](speed/bare.svg)" in text
    assert table(_measured()) in text
    assert "kept" in text
    assert (tmp_path / "speed" / "bare.svg").read_text() == plots(EVERYTHING)["bare"]


# The benchmark's own modules are scripts side by side, and not importable from here.
PLAN = """
import json
from scenarios import SCENARIOS
from servers import servers
known = {one.name: one for one in servers("python", "python", ())}
wrong = [f"{name}: {one}" for name, scenario in SCENARIOS.items() for one in scenario.servers
         if one not in known or not known[one].fits(scenario)]
print(json.dumps({"groups": sorted({one.group for one in SCENARIOS.values()}), "wrong": wrong}))
"""


def test_every_scenario_has_a_place_in_the_page_and_servers_that_can_run_it() -> None:
    root = Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", PLAN], cwd=root / "bench", capture_output=True, text=True, check=True)
    plan = json.loads(found.stdout)
    assert plan["wrong"] == []
    places = re.findall(r"<!-- measured: ([\w-]+) -->", (root.parent / "docs/explanation/performance.md").read_text())
    assert set(places) == {*plan["groups"], "environment", "overview", "instructions"}
    assert set(parts(EVERYTHING, "performance")) <= set(places)

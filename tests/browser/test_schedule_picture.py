"""The picture of a schedule, on the host's real front end, drawn in both ways."""

from __future__ import annotations

import re

import pytest
from comfy_page import ComfyPage
from pack.ip_models.weights.schedule import Curve, Ramp
from pack.ip_models.weights.timing import Repeat, Timing
from playwright.sync_api import expect

CONNECT_OTHER = """([from, to]) => {
  const [schedule, apply] = [from, to].map((id) => window.app.canvas.graph.getNodeById(id));
  schedule.connect(1, apply, "block_weights");
}"""


def heights(comfy: ComfyPage, kind: str = "curve") -> list[float]:
    """Values of the line's points; the box is 50 high and holds 0 to 1 at least."""
    points = (
        comfy.shown('[data-ipadapter="schedule"]').locator(f".ipa-{kind}").get_attribute("points")
    )
    assert points is not None
    return [float(point.split(",")[1]) for point in points.split()]


@pytest.mark.parametrize("curve", [curve.value for curve in Curve])
def test_the_line_is_that_of_the_node(comfy: ComfyPage, curve: str) -> None:
    node = comfy.add("IPASchedule", start=0.8, end=0.2)
    comfy.set(node, "curve", curve)
    ramp = Ramp(0.8, 0.2, Curve(curve))
    line = heights(comfy)
    wanted = [50 * (1 - ramp.at(i, len(line))) for i in range(len(line))]
    assert line == pytest.approx(wanted, abs=1e-6)
    told = ", ".join(f"{ramp.at(i, 5):.2f}" for i in range(5))
    picture = comfy.shown('[data-ipadapter="schedule"]')
    expect(picture.get_by_role("img")).to_have_attribute(
        "aria-label", f"{curve}, first to last of the steps: {told}"
    )


def test_a_list_is_drawn_with_its_last_value_going_on(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule")
    comfy.set(node, "values", "1, 0.5, -0.5")
    assert heights(comfy) == pytest.approx([0, 0, 50 / 3, 50 / 3, 50, 50], abs=1e-6)
    assert heights(comfy, "goes-on") == [50, 50]
    comfy.set(node, "over", "frames")
    picture = comfy.shown('[data-ipadapter="schedule"]')
    assert "3 frames, then -0.5 goes on" in picture.inner_text()


def test_places_and_the_other_reference_are_drawn(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule", end=0.0, first_frame=2, last_frame=5)
    comfy.set(node, "over", "frames")
    comfy.set(node, "length", 8)
    comfy.set(node, "repeat", "alternate")
    ramp = Ramp(1.0, 0.0, timing=Timing(2, 5, repeat=Repeat.ALTERNATE, length=8))
    line = heights(comfy)[::2]
    assert line == pytest.approx([50 * (1 - ramp.at(i, len(line))) for i in range(len(line))])
    assert f"{len(line)} frames" in comfy.shown('[data-ipadapter="schedule"]').inner_text()
    apply = comfy.add("IPAApply")
    comfy.page.evaluate(CONNECT_OTHER, [node, apply])
    other = comfy.shown('[data-ipadapter="schedule"]').locator(".ipa-other")
    expect(other).to_have_count(1)
    assert heights(comfy, "other")[::2] == pytest.approx([50 - y for y in line])


def test_values_that_run_would_refuse_have_no_picture(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule")
    comfy.set(node, "values", "1, loud")
    picture = comfy.shown('[data-ipadapter="schedule"]')
    expect(picture.locator(".ipa-curve")).to_have_count(0)
    assert "Run will refuse" in picture.inner_text()


def test_the_picture_stays_until_the_server_answers(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule", end=0.0)
    picture = comfy.shown('[data-ipadapter="schedule"]')
    with comfy.silent_server() as held:
        for end in (0.25, 0.5):
            comfy.set(node, "end", end)
        expect(picture).to_contain_text("the picture is as it was")
        assert heights(comfy)[-1] == 50
        assert len(held) == 1
    assert heights(comfy)[-1] == 25
    assert "0.50" in picture.inner_text()


def test_the_picture_is_right_after_undo_and_after_loading(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule")
    comfy.set(node, "end", 0.0)
    comfy.capture()
    faded = heights(comfy)
    assert faded[-1] == 50
    comfy.page.locator("canvas").first.focus()
    curve = comfy.shown('[data-ipadapter="schedule"]').locator(".ipa-curve")
    comfy.press("Control+z")
    expect(curve).to_have_attribute("points", re.compile(",0$"))
    comfy.press("Control+y")
    expect(curve).to_have_attribute("points", re.compile(",50$"))
    assert heights(comfy) == faded
    saved = comfy.saved()
    assert len(saved["nodes"][0]["widgets_values"]) == 12
    comfy.clear()
    comfy.load(saved)
    assert heights(comfy) == faded
